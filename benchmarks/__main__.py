"""All tables, one after the other: ``python -m benchmarks``; a name picks one: ``python -m benchmarks engine``."""

from __future__ import annotations

import subprocess
import sys

TABLES = ("imports", "engine", "watching", "layout", "server", "view", "batch")


def main() -> int:
    chosen = [name for name in sys.argv[1:] if name in TABLES] or list(TABLES)
    extra = [argument for argument in sys.argv[1:] if argument not in TABLES]
    failed = 0
    for name in chosen:
        print(f"\n=== {name} ===\n", flush=True)
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *extra], check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
