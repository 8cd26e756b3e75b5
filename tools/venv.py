"""Makes a virtual environment and installs into it, saying little.

``tools/venv.py FOLDER`` makes one, ``tools/venv.py --install FOLDER ARGS`` is ``pip install ARGS`` in it, by way of uv
where that can be had and nothing is configured for pip that uv would not see: it takes a quarter of the time.

Standard library only: it runs before anything is installed. A Python without ``ensurepip`` (Debian's, without its
python3-venv package) is helped along by ``virtualenv``, or by apt where we are root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 10)


def main(words: list[str]) -> None:
    if sys.version_info < OLDEST:
        raise SystemExit(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed; {sys.executable} is {sys.version}")
    if words[0] == "--install":
        install(Path(words[1]), words[2:])
    else:
        create(Path(words[0]))


def create(folder: Path) -> None:
    """Makes the environment unless it is there and has a pip that works."""
    python = folder / "bin" / "python"
    if python.exists() and _works([str(python), "-m", "pip", "--version"]):
        return
    print(f"making {folder} with Python {sys.version.split()[0]}", flush=True)
    ways = [
        [[sys.executable, "-m", "venv", "--clear", str(folder)]],
        [
            [sys.executable, "-m", "pip", "install", "-q", "--target", "build/virtualenv", "virtualenv"],
            [sys.executable, "build/virtualenv/bin/virtualenv", "-q", str(folder)],
        ],
    ]
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        ways.append([["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package], ways[0][0]])
    for way in ways:
        if all(_works(command) for command in way):
            return
    raise SystemExit(f"could not make a virtual environment: {sys.executable} has neither venv nor pip")


def install(folder: Path, what: list[str]) -> None:
    """``pip install`` with its talk kept in ``build/pip-*.log``, shown only when it fails."""
    log = Path("build") / f"pip-{folder.name.lstrip('.')}.log"
    log.parent.mkdir(exist_ok=True)
    print(f"installing {' '.join(what)} into {folder} (log: {log})", flush=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", *what]
    with log.open("w") as file:
        uv = _uv(python)
        ways = [[uv, "pip", "install", "--python", python, *what], pip] if uv else [pip]
        done = any(subprocess.run(way, stdout=file, stderr=subprocess.STDOUT).returncode == 0 for way in ways)
    if not done:
        print(log.read_text()[-6000:])
        raise SystemExit(f"`{' '.join(pip)}` failed")


def _uv(python: str) -> str | None:
    """Path of uv, put beside `python` if need be; None where pip has to do it."""
    asked = [python, "-m", "pip", "config", "get", "global.index-url"]
    if os.environ.get("PIP_INDEX_URL") or os.environ.get("PIP_NO_INDEX") or _works(asked):
        return None  # an index of one's own: only pip knows its address, and what it asks for
    found = next((each for each in (_beside(python), _beside(sys.executable), shutil.which("uv")) if each), None)
    if found is None and _works([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"]):
        found = _beside(python)
    return found


def _beside(python: str) -> str | None:
    return shutil.which("uv", path=str(Path(python).parent))


def _works(command: list[str]) -> bool:
    environment = dict(os.environ, PYTHONPATH="build/virtualenv") if "virtualenv" in command[1] else None
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdout=quiet, stderr=quiet, env=environment).returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])
