"""The look that all panels share: colours of the notebook's theme, spacing, widths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w

_HERE = Path(__file__).parent
CSS = "".join((_HERE / name).read_text("utf-8") for name in ("look.css", "form.css"))


def styled(children: Sequence[Any], *classes: str) -> Any:
    """A root that carries the look, and counts its views: so the kernel learns that somebody sees it."""
    style = w.HTML(f"<style>{CSS}</style>", layout=w.Layout(display="none"))
    root = w.VBox([style, *children], _view_count=0)
    for name in ("pk-root", *classes):
        root.add_class(name)
    return root
