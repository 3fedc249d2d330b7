"""Bridge: carries events, and what a person did, to one thread that redraws a dashboard.

The kernel's loop stands still while a cell runs, so widgets are written from a thread of their own.
Events are coalesced: at most 10 redraws a second, and never more than about a fifth of the time.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from pacskit.events import Event, EventBus

log = logging.getLogger(__name__)

INTERVAL = 0.1
"""Seconds between redraws that events ask for."""
SHARE = 4
"""After a redraw that took t seconds, events wait SHARE * t."""

Redraw = Callable[[frozenset[str]], None]
"""Takes the names of the parts that are to be drawn again."""


class Bridge:
    """One thread for one dashboard; ends with `close()`, or when the dashboard is garbage."""

    def __init__(
        self, events: EventBus, parts: Callable[[Event], Iterable[str]], redraw: Redraw, idle: float = 2.0
    ) -> None:
        """`redraw` is a bound method, held weakly. `parts` says what an event changes (called in the
        publisher's thread, so it must be quick). Every `idle` seconds the part "clock" is redrawn."""
        self._parts, self._redraw = parts, weakref.WeakMethod(redraw)
        self._idle = idle
        self._changed = threading.Condition()
        self._asked: set[str] = set()
        self._told: set[str] = set()
        self._working = False
        self._closed = False
        self._subscription = events.subscribe(Event, self._hear)
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(self),), name="pacskit-dashboard", daemon=True
        )
        self._thread.start()

    def ask(self, *parts: str) -> None:
        """A person waits for these: drawn at once."""
        with self._changed:
            self._asked.update(parts)
            self._changed.notify_all()

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until all that was asked or told so far is drawn; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._closed or not (self._asked or self._told or self._working), timeout
            )

    def close(self) -> None:
        self._subscription.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _hear(self, event: Event) -> None:
        parts = tuple(self._parts(event))
        with self._changed:
            if not self._told and parts:
                self._changed.notify_all()
            self._told.update(parts)

    def _wait(self, not_before: float, until: float) -> None:
        """Until something is due (lock held); never long, so that a garbage dashboard is noticed."""
        while not (self._closed or self._asked):
            now = time.monotonic()
            wait = min(until, not_before) - now if self._told else until - now
            if wait <= 0:
                return
            self._changed.wait(wait)

    def _work(self, state: _Pace) -> bool:
        """One turn: wait, then draw. False when it is over."""
        with self._changed:
            self._wait(state.not_before, state.tick)
            now = time.monotonic()
            parts = set(self._asked)
            self._asked.clear()
            if now >= state.not_before:
                parts |= self._told
                self._told.clear()
            if now >= state.tick:
                parts.add("clock")
                state.tick = now + self._idle
            if self._closed:
                return False
            self._working = bool(parts)
        try:
            redraw: Any = self._redraw()
            if redraw is None:
                return False
            if parts:
                redraw(frozenset(parts))
        except Exception:
            log.exception("the dashboard could not be drawn")
        finally:
            if parts:
                done = time.monotonic()
                state.not_before = done + max(INTERVAL, SHARE * (done - now))
            with self._changed:
                self._working = False
                self._changed.notify_all()
        return True


class _Pace:
    """When the thread may draw again for events, and when the clock is next."""

    def __init__(self) -> None:
        self.not_before = 0.0
        self.tick = time.monotonic() + 1.0


def _run(reference: weakref.ref[Bridge]) -> None:
    pace = _Pace()
    while (bridge := reference()) is not None:
        if not bridge._work(pace):
            break
        del bridge
