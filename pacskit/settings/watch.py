"""Watch: looks regularly whether something changed, and tells it.

A look at a few files' status now and then costs nothing that can be measured, and works on every file system.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable

log = logging.getLogger(__name__)

INTERVAL = 0.3
"""Seconds between looks at the settings files: what another process wrote is told within a second."""


class Watch:
    """A thread that ends with `close()`, or when the owner of `tell` is garbage."""

    def __init__(
        self,
        changed: Callable[[], bool],
        tell: Callable[[], None],
        *,
        every: float | None = None,
        of: str = "settings",
    ) -> None:
        """`tell` is a bound method, held weakly; called in the thread when `changed` says so.

        `every`: seconds between looks. `of`: what is looked at, for the thread's name and the log.
        """
        self._end = threading.Event()
        self._thread = threading.Thread(
            target=_run,
            args=(self._end, changed, weakref.WeakMethod(tell), INTERVAL if every is None else every, of),
            name=f"pacskit-{of}",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """No `tell` after this; safe to call twice, and from within `tell`."""
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _run(
    end: threading.Event,
    changed: Callable[[], bool],
    tell: weakref.WeakMethod[Callable[[], None]],
    every: float,
    of: str,
) -> None:
    while not end.wait(every):
        if tell() is None:
            return
        try:
            if changed():
                _call(tell)
        except Exception:
            log.exception("the %s files could not be read again", of)


def _call(reference: weakref.WeakMethod[Callable[[], None]]) -> None:
    """In a frame of its own: a variable of the loop would keep the owner alive until the next change."""
    if (tell := reference()) is not None:
        tell()
