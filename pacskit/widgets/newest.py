"""Newest: looks something up in a thread of its own, as a drive may hang; the last wish counts."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from pacskit.widgets.errand import Errand

log = logging.getLogger(__name__)

W = TypeVar("W")
R = TypeVar("R")


class Newest(Generic[W, R]):
    """`ask(wish)` from one thread; `changed()` is called, in another, when an answer has come."""

    def __init__(
        self, look: Callable[[W], R], changed: Callable[[], None], good_for: float = math.inf
    ) -> None:
        """After `good_for` seconds the same wish is looked up again; the old answer stands until then."""
        self._look, self._changed, self._good_for = look, changed, good_for
        self._lock = threading.Lock()
        self._errand = Errand(changed)
        self._wish: W | None = None
        self._answer: tuple[W, R | None, float] | None = None

    def ask(self, wish: W) -> R | None:
        """The answer, where it is known; else it is looked up, and this is None."""
        with self._lock:
            answer = self._answer
        known = answer is not None and answer[0] == wish
        fresh = known and answer is not None and time.monotonic() - answer[2] < self._good_for
        if not fresh and not (self._errand.busy and self._wish == wish):
            if self._errand.busy:  # it hangs, or is no longer wanted
                self._errand = Errand(self._changed)
            self._wish = wish
            self._errand.begin(lambda: self._run(wish))
        return answer[1] if known and answer is not None else None

    def end(self) -> None:
        """Wait until it is over, for some seconds."""
        self._errand.end()

    def _run(self, wish: W) -> None:
        found: R | None = None
        try:
            found = self._look(wish)
        finally:
            with self._lock:
                if self._wish == wish:
                    self._answer = (wish, found, time.monotonic())
