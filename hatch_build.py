"""What hatch calls before it makes a wheel, an sdist or an editable install: the front end is built."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class FrontEndHook(BuildHookInterface[Any]):
    """Builds ``tiledag_widget/static`` unless it is there and made from the sources that lie beside it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatch; ``version`` is "standard" or "editable"."""
        path = Path(self.root) / "tools" / "frontend.py"
        spec = importlib.util.spec_from_file_location("tiledag_frontend", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{path} is missing: this is not a whole source tree")
        frontend = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(frontend)
        frontend.build(Path(self.root))
