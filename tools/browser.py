"""Finds a Chromium to drive, and gets one where there is none: ``python -m tools.browser [install]``.

Looked for in this order: ``TILEDAG_BROWSER`` (a path), chromium, chromium-browser, google-chrome and
google-chrome-stable on PATH, the one that playwright keeps. Got by apt-get where we are root on a system that has
it, else by ``playwright install chromium``. Where nothing works, ``install`` says so and ends well: the browser tests
then say that they did not run, and fail if ``CI=true``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium found: put chromium or google-chrome on PATH, name one in TILEDAG_BROWSER, "
    "or run `.venv/bin/playwright install chromium`"
)
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


@lru_cache(maxsize=1)
def find() -> str | None:
    """Path of a browser that starts, or None."""
    return next((path for path in _candidates() if _starts(path)), None)


def is_required() -> bool:
    """True where a missing browser is a failure rather than a skipped test."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


def install() -> str | None:
    """Path of a browser, got if need be, or None if this machine offers none."""
    found = find()
    if found:
        return found
    for commands in _ways():
        for command in commands:
            print("$", " ".join(command), flush=True)
            if subprocess.run(command, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive")).returncode:
                break
        find.cache_clear()
        found = find()
        if found:
            return found
    return None


def _candidates() -> Iterator[str]:
    named = os.environ.get("TILEDAG_BROWSER")
    if named:
        yield named
    yield from (path for name in NAMES if (path := shutil.which(name)))
    yield from _kept_by_playwright()


def _kept_by_playwright() -> Iterator[str]:
    # Asked in a process of its own: the answer needs playwright's driver, and its loop must not stay with us.
    code = "import playwright.sync_api as p\nwith p.sync_playwright() as d: print(d.chromium.executable_path)"
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return
    path = done.stdout.strip()
    if done.returncode == 0 and Path(path).exists():
        yield path


def _starts(path: str) -> bool:
    """False for a stub that only says where to get the real one, or a browser that lacks a library."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"Chrom" in done.stdout


def _ways() -> Iterator[list[list[str]]]:
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        package = ["chromium", "fonts-dejavu-core"]
        yield [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *package]]
    yield [[sys.executable, "-m", "playwright", "install", "chromium"]]


def main(words: list[str]) -> None:
    found = install() if words == ["install"] else find()
    print(f"browser: {found or MISSING}")
    if not found and is_required():
        raise SystemExit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
