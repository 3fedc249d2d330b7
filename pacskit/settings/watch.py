"""Watch: tells within a second that another process wrote a settings file.

A look at two files' status twice a second costs nothing that can be measured, and works on every file system.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

log = logging.getLogger(__name__)

INTERVAL = 0.3
"""Seconds between looks."""


class Watch:
    """A thread that ends with `close()`, or when the owner of `tell` is garbage."""

    def __init__(self, changed: Callable[[], bool], tell: Callable[[], None]) -> None:
        """`tell` is a bound method, held weakly; called in the thread when `changed` says so."""
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=_run,
            args=(self._end, changed, weakref.WeakMethod(tell)),
            name="pacskit-settings",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _run(
    end: threading.Event, changed: Callable[[], bool], tell: weakref.WeakMethod[Callable[[], None]]
) -> None:
    while not end.wait(INTERVAL):
        if tell() is None:
            return
        try:
            if changed():
                _call(tell)
        except Exception:
            log.exception("the settings files could not be read again")


def _call(reference: weakref.WeakMethod[Callable[[], None]]) -> None:
    """In a frame of its own: a variable of the loop would keep the owner alive until the next change."""
    if (tell := reference()) is not None:
        tell()
