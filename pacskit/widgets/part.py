"""Part: a piece of a service's panel beyond the form's rows: private HTML, and what is clicked in it.

Messages are only noted when they come; `do()` and `draw()` are called by the one thread that writes widgets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w

from pacskit.station import Station
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.form import Form


class Part:
    """Drawn in several carriers, so that a field that is being typed in is not drawn anew."""

    CARRIERS = 1

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        """`touched()` has `do()` and `draw()` called soon."""
        self._station, self._form, self._touched = station, form, touched
        self._heard: deque[Mapping[str, Any]] = deque()
        self._lock = threading.Lock()
        self.carriers = tuple(Carrier(self.heard, ready) for _ in range(self.CARRIERS))
        self.widget = w.VBox([carrier.widget for carrier in self.carriers])
        self.widget.add_class("pk-part")

    def heard(self, message: Mapping[str, Any]) -> None:
        """A view's message; any thread."""
        with self._lock:
            self._heard.append(message)
        self._touched()

    def do(self) -> None:
        """What was clicked and typed."""
        while True:
            with self._lock:
                if not self._heard:
                    return
                message = self._heard.popleft()
            self._hear(message)

    def draw(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """The station closes: nothing runs any more, nothing is shown."""
        for carrier in self.carriers:
            carrier.show("")

    def cancel(self) -> None:
        """The panel's CANCEL."""

    @property
    def pending(self) -> bool:
        """Whether something waits for an OK of its own."""
        return False

    def remarks(self) -> Mapping[str, str]:
        """What should be known though it is allowed, by setting."""
        return {}

    def _hear(self, message: Mapping[str, Any]) -> None:
        """Nothing can be clicked."""
