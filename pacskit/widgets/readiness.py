"""Readiness: whether a front end draws a panel's carriers; where it does not, core widgets take over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

PATIENCE = 5.0
"""Seconds a front end that shows the panel has to draw its carriers, before core widgets take over."""


class Readiness:
    """Counts views of `root` (made with `_view_count=0`, so that the kernel learns that somebody sees it)."""

    def __init__(self, fall_back: Callable[[], None]) -> None:
        """`fall_back()` is called from a timer's thread when nobody has said `ready` in time."""
        self._fall_back = fall_back
        self._ready = threading.Event()
        self._closed = False

    def watch(self, root: Any) -> None:
        root.observe(self._viewed, "_view_count")

    def ready(self) -> None:
        """A carrier was drawn."""
        self._ready.set()

    def close(self) -> None:
        self._closed = True

    def _viewed(self, change: Mapping[str, Any]) -> None:
        if change["new"] and not self._ready.is_set():
            timer = threading.Timer(PATIENCE, self._late)
            timer.daemon = True
            timer.start()

    def _late(self) -> None:
        if not self._ready.is_set() and not self._closed:
            self._fall_back()
