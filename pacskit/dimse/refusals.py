"""Refusals: who was not let in and why. Repeated ones are counted, so that nothing floods log or panel.

A scanner with a wrong certificate tries every few seconds, for weeks; a port scan comes in thousands.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass

KEPT = 100
"""Different refusals; beyond it the longest unrepeated one is forgotten."""
AT_ONCE = 3
"""Times that one and the same is told at once; then its count is told once a minute."""
A_MINUTE = 60.0
MOST_A_MINUTE = 100
"""Refusals of all kinds that are told; whoever changes his name each time stays silent beyond it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One caller and one reason."""

    address: str
    reason: str
    """A sentence without its full stop."""
    calling: str = ""
    """The calling AE title; empty: it came not so far."""
    called: str = ""
    count: int = 1
    first: float = 0.0
    """Unix time in seconds."""
    last: float = 0.0


class Refusals:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str, str], Refusal] = OrderedDict()
        self._told: dict[tuple[str, str, str, str], float] = {}
        self._recently: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def note(self, address: str, reason: str, calling: str = "", called: str = "") -> Refusal | None:
        """Count it. Given back where it is to be told of now, with how often it has come so far."""
        key, now, clock = (address, reason, calling, called), time.time(), time.monotonic()
        with self._lock:
            before = self._known.pop(key, None)
            count, first = (before.count + 1, before.first) if before else (1, now)
            found = self._known[key] = Refusal(address, reason, calling, called, count, first, now)
            if len(self._known) > KEPT:
                forgotten, _ = self._known.popitem(last=False)
                self._told.pop(forgotten, None)
            if count > AT_ONCE and clock < self._told.get(key, 0.0) + A_MINUTE:
                return None
            if len(self._recently) == MOST_A_MINUTE and clock < self._recently[0] + A_MINUTE:
                return None
            self._told[key] = clock
            self._recently.append(clock)
            return found

    def all(self) -> list[Refusal]:
        """The last one first."""
        with self._lock:
            return list(reversed(self._known.values()))
