"""Build hook: a wheel carries the quick start notebook, so that an installed `pacskit lab` can open it.

An editable install does not need it (the notebook stands beside the package), nor need it exist yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NOTEBOOK = "notebooks/00-quickstart.ipynb"


class QuickStartInWheel(BuildHookInterface[Any]):  # type: ignore[misc, unused-ignore]
    """Puts the notebook at `pacskit/notebooks/`; raises FileNotFoundError when a real wheel would lack it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        source = Path(self.root, NOTEBOOK)
        if not source.is_file():
            raise FileNotFoundError(f"{NOTEBOOK} is missing: a wheel without the quick start is not built")
        build_data["force_include"][str(source)] = f"pacskit/{NOTEBOOK}"
