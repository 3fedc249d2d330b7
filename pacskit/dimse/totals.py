"""What a listener has done since it started, counted without a lock for each instance."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from pacskit.dimse.receive import Counters


@dataclass(frozen=True, slots=True)
class Totals:
    """Since `status.since`. What ended without asking for an association is in none of them."""

    associations: int = 0
    """Accepted, those open now included."""
    associations_refused: int = 0
    stored: int = 0
    """Instances; the same again counts again."""
    refused: int = 0
    """Instances."""
    bytes: int = 0

    @classmethod
    def sum(cls, parts: Iterable[Totals]) -> Totals:
        """Of several listeners."""
        found = [dataclasses.astuple(part) for part in parts]
        return cls(*map(sum, zip(*found, strict=True)))


class Tally:
    """The sum over associations, open ones and ended ones. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, Counters] = {}
        self._associations = self._refused = 0
        self._ended = Counters()

    def opened(self, association: int, counters: Counters) -> None:
        with self._lock:
            self._associations += 1
            self._open[association] = counters

    def ended(self, association: int) -> None:
        with self._lock:
            counters, ended = self._open.pop(association), self._ended
            ended.stored += counters.stored
            ended.refused += counters.refused
            ended.bytes += counters.bytes

    def refused(self) -> None:
        with self._lock:
            self._refused += 1

    def totals(self) -> Totals:
        with self._lock:
            all_of = (self._ended, *self._open.values())
            return Totals(
                associations=self._associations,
                associations_refused=self._refused,
                stored=sum(counters.stored for counters in all_of),
                refused=sum(counters.refused for counters in all_of),
                bytes=sum(counters.bytes for counters in all_of),
            )
