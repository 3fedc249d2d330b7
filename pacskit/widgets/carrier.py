"""Carrier: a PrivateHTML with a way out for front ends that cannot draw it."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from pacskit.widgets.private import Heard, PrivateHTML

WHY = (
    "This notebook server does not have anywidget, so this panel is a plain widget that can only be read. "
    "Do not save the widget state: it would hold what is shown here. To mend it: pip install anywidget, "
    "where JupyterLab runs."
)


class Carrier:
    """Shows HTML privately; after `fall_back()` in a core widget, whose state a notebook can save.

    That is the one case where a saved widget state holds what is shown.
    """

    def __init__(self, heard: Heard | None = None, ready: Callable[[], None] | None = None) -> None:
        self.private = PrivateHTML(heard, ready)
        self.fallen = False
        self._core = w.HTML()
        self.widget = w.VBox([self.private])

    @property
    def html(self) -> str:
        return self.private.html

    def show(self, html: str) -> None:
        self.private.show(html)
        if self.fallen:
            self._core.value = html

    def fall_back(self) -> None:
        if not self.fallen:
            self.fallen = True
            self.widget.add_class("pk-fallen")
            self._core.value = self.private.html
            self.widget.children = [self._core]
