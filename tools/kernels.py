"""Makes kernels with other versions of ipykernel: ``python -m tools.kernels 7.3.0 6.31.0``.

Each gets an environment of its own, ``.venvs/kernel-<version>``, with this package's dependencies and this source
tree on its path, and a kernel named ``ipykernel-<version>`` under ``.venvs/jupyter/kernels``, which the harness
(``tools/lab.py``) puts on JUPYTER_PATH. Buttons that act while a cell is blocked go different ways in each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tools import venv

ROOT = Path(__file__).resolve().parent.parent
JUPYTER_PATH = ROOT / ".venvs" / "jupyter"
NEWEST = "python3"
"""The kernel of ``.venv``."""


def name_of(version: str) -> str:
    return f"ipykernel-{version}"


def is_installed(name: str) -> bool:
    return name == NEWEST or (JUPYTER_PATH / "kernels" / name / "kernel.json").exists()


def make(version: str) -> None:
    """Makes or renews the kernel of one version of ipykernel."""
    home = ROOT / ".venvs" / f"kernel-{version}"
    venv.create(home)
    needed = [line for line in metadata.requires("tiledag-widget") or [] if "extra ==" not in line]
    # Without --no-compile half the time goes into bytecode that no test reads.
    venv.install(home, ["--no-compile", f"ipykernel=={version}", *needed])
    ask = [str(home / "bin" / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    Path(packages, "tiledag_widget_sources.pth").write_text(f"{ROOT}\n")
    spec = json.loads((home / "share/jupyter/kernels/python3/kernel.json").read_text())
    spec["argv"][0] = str(home / "bin" / "python")
    spec["display_name"] = f"ipykernel {version}"
    described = JUPYTER_PATH / "kernels" / name_of(version)
    described.mkdir(parents=True, exist_ok=True)
    (described / "kernel.json").write_text(json.dumps(spec, indent=1))


if __name__ == "__main__":
    for each in sys.argv[1:]:
        make(each)
