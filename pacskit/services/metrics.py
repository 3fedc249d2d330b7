"""Figures of a running station: as Prometheus text, and as a short history for the panels' plots."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure with its samples: labels → value."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: Mapping[tuple[tuple[str, str], ...], float]


def prometheus(metrics: Iterable[Metric]) -> str:
    """The text format 0.0.4 of Prometheus."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.samples.items():
            inside = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            lines.append(f"{metric.name}{f'{{{inside}}}' if inside else ''} {value:.10g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Meter:
    """Rates from a counter that is looked at now and then; any thread."""

    def __init__(self, span: float = 120.0, least: float = 1.0) -> None:
        """Remembers `span` seconds; looks that follow within `least` seconds are taken together."""
        self._span, self._least = span, least
        self._lock = threading.Lock()
        self._looks: deque[tuple[float, float]] = deque()

    def look(self, count: float, now: float | None = None) -> None:
        """The counter stands at `count`. One that went back was started anew."""
        at = time.monotonic() if now is None else now
        with self._lock:
            if self._looks and count < self._looks[-1][1]:
                self._looks.clear()
            if len(self._looks) > 1 and at - self._looks[-2][0] < self._least:
                self._looks.pop()
            self._looks.append((at, count))
            while self._looks[0][0] < at - self._span - self._least:
                self._looks.popleft()

    def rates(self) -> list[tuple[float, float]]:
        """(seconds before the last look, per second) for each interval, oldest first."""
        with self._lock:
            looks = list(self._looks)
        last = looks[-1][0] if looks else 0.0
        pairs = itertools.pairwise(looks)
        return [(last - b[0], (b[1] - a[1]) / (b[0] - a[0])) for a, b in pairs if b[0] > a[0]]
