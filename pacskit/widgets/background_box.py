"""Where the services run: "Keep receiving when this notebook closes", what follows from it, and the log."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as w
import pandas as pd

from pacskit.errors import PacskitError
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.carrier import Carrier

LINES = 100
"""Of the log."""
PAUSE = 0.0005
CROWDED = 0.003
"""Seconds a thread waits for the interpreter beside a cell that computes; alone it is some microseconds."""


class BackgroundBox:
    """`ask()` has `draw()` called soon, by the one thread that writes widgets."""

    def __init__(self, station: Station, ask: Callable[[], None], ready: Callable[[], None]) -> None:
        self._station, self._ask = station, ask
        self._lock = threading.Lock()
        self._clicked = False
        self._failure = ""
        self.keep = w.Checkbox(
            description="Keep receiving when this notebook closes",
            tooltip="The services run in a process of their own, which goes on without this notebook",
            indent=False,
        )
        self.keep.value = self._away
        self.keep.observe(self._touched, "value")
        self.show_log = w.ToggleButton(description="▸ Log", tooltip="The last messages of that process")
        self.show_log.observe(lambda _: ask(), "value")
        self.told, self.log = Carrier(ready=ready), Carrier(ready=ready)
        line = w.HBox([self.keep, self.told.widget, self.show_log])
        self.widget = w.VBox([line, self.log.widget])
        for widget, look in (
            (self.keep, "pk-keep"),
            (self.told.widget, "pk-grow"),
            (self.show_log, "pk-more"),
            (line, "pk-background"),
        ):
            widget.add_class(look)

    @property
    def widgets(self) -> list[Any]:
        return [self.keep, self.show_log]

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        return self.told, self.log

    def draw(self) -> None:
        """Do what was clicked, then say how it is."""
        with self._lock:
            clicked, self._clicked = self._clicked, False
        if clicked and self.keep.value != self._away:
            where = "background" if self.keep.value else "kernel"
            try:
                self._failure = ""
                self._station.apply({"station": {"run_in": where, "keep_running": True}}, save=True)
            except PacskitError as error:
                self._failure = str(error)
        if self.keep.value != self._away:
            self.keep.value = self._away
        self.told.show(self._state())
        background = self._station.background
        (self.show_log.remove_class if background.log else self.show_log.add_class)("pk-hidden")
        open_now = bool(self.show_log.value) and background.log is not None
        self.show_log.description = f"{'▾' if open_now else '▸'} Log"
        self.log.show(self._lines() if open_now else "")

    def close(self) -> None:
        for carrier in self.carriers:
            carrier.show("")
        for widget in self.widgets:
            widget.disabled = True

    @property
    def _away(self) -> bool:
        return self._station.background.run_in == "background"

    def _touched(self, _: object) -> None:
        with self._lock:
            self._clicked = True
        self._ask()

    def _state(self) -> str:
        background = self._station.background
        if self._failure or background.lost:
            return (
                f'<span class="pk-error" role="alert">▲ {words.text(self._failure or background.lost)}</span>'
            )
        if background.attached:
            since = words.time_of(pd.Timestamp(background.since, unit="s", tz="UTC"))
            who = "Another notebook" if background.run_in == "kernel" else "A process of its own"
            text = f"{who} runs the services ({background.pid}, since {since})."
        elif self._station.listener.associations() and crowded():
            text = "A cell is computing beside the services and slows receiving down: this box ends that."
        else:
            text = "The services run in this notebook, and end with it."
        return f'<span class="pk-quiet">{words.text(text)}</span>'

    def _lines(self) -> str:
        lines = "\n".join(self._station.log_lines(LINES))
        return f'<pre class="pk-log" tabindex="0" aria-label="Log">{words.text(lines) or "(empty)"}</pre>'


def crowded() -> bool:
    """Whether a thread has to wait for the interpreter, since a cell computes in pure Python."""
    waits = []
    for _ in range(5):
        began = time.perf_counter()
        time.sleep(PAUSE)  # long enough for the cell to take the interpreter
        waits.append(time.perf_counter() - began - PAUSE)
    return statistics.median(waits) > CROWDED
