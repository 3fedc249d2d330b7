"""Sparklines: the last minutes of a few figures as small inline SVG, each with the same in words.

Time goes in steps of the station's own clock, so that what stays as it is gives the same text, and nothing is
drawn again. Told apart by their titles: colour says nothing that words do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacskit.errors import ServiceError
from pacskit.station import Station
from pacskit.station.metrics import Metrics
from pacskit.widgets import words

STEP = 3.0
STEPS = 100
"""Of STEP seconds: five minutes."""
RECENT = 3
"""Readings whose mean is the rate of now."""
SOON = 30 * 86_400.0
"""Seconds: a disk that will be full by then is told of."""
HEIGHT = 28.0

Array = NDArray[np.float64]


def html(station: Station) -> str:
    """Empty where there is nothing to show: the process that runs the services is gone."""
    try:
        metrics = station.metrics()
    except ServiceError:
        return ""
    plots = "".join(_plots(metrics))
    return f'<div class="pk-plots" role="group" aria-label="The last 5 minutes">{plots}</div>'


def _plots(metrics: Metrics) -> Iterator[str]:
    history, now = metrics.history, metrics.now
    clock = history.seconds + (metrics.readings[-1].clock if metrics.readings else 0.0)
    stored, received = steps(clock, history.stored, np.mean), steps(clock, history.bytes, np.mean)
    yield _plot(
        "Instances", f"{_rate(_recent(history.stored))}/s", f"5-min peak {_rate(_peak(stored))}/s", stored
    )
    speed, fastest = words.size(_recent(history.bytes)), words.size(_peak(received))
    yield _plot("Throughput", f"{speed}/s", f"5-min peak {fastest}/s", received)
    associations = steps(clock, history.associations, np.max)
    yield _plot("Associations", f"{now.open} open", f"5-min peak {_peak(associations):.0f}", associations)
    if now.disk_size is not None and now.disk_free is not None:
        free = steps(clock, history.disk_free, np.min)
        known = now.disk_full_in is not None and now.disk_full_in < SOON
        fate = f"full in {_span(now.disk_full_in or 0)}" if known else f"of {words.size(now.disk_size)}"
        yield _plot("Free disk", words.size(now.disk_free), fate, free, now.disk_size, now.disk_limit)


def steps(clock: Array, values: Array, summary: Callable[[Array], Any]) -> Array:
    """STEPS values, the newest last; nan where nothing was read. `summary`: one figure of those of a step."""
    found = np.full(STEPS, np.nan)
    if len(clock):
        number = np.floor(clock / STEP).astype(int)
        place = number - number[-1] + STEPS - 1
        for step in np.unique(place[place >= 0]):
            found[step] = summary(values[place == step])
    return found


def _plot(
    title: str, value: str, more: str, values: Array, top: float | None = None, limit: float | None = None
) -> str:
    shown = words.text(value)
    label = words.text(f"{title}: {value}, {more}")
    return (
        f'<figure class="pk-plot"><figcaption><span class="pk-quiet">{title}</span> <b>{shown}</b> '
        f'<span class="pk-quiet pk-peak">{words.text(more)}</span></figcaption>'
        f"{spark(values, label, top, limit)}</figure>"
    )


def spark(values: Array, label: str, top: float | None = None, limit: float | None = None) -> str:
    """One SVG. `label`: the same in words, escaped. `top`: the value at its upper edge, else a round one
    that has room for all; `limit`: a value to be marked."""
    scale = (HEIGHT - 2) / (top or _round_up(_peak(values)))
    lines, areas = [], []
    for first, run in _runs(values):
        points = [(float(first + i), HEIGHT - 1 - scale * float(value)) for i, value in enumerate(run)]
        if len(points) == 1:
            points.insert(0, (points[0][0] - 1, points[0][1]))
        line = " ".join(f"{x:g},{y:.1f}" for x, y in _bends(points))
        lines.append(f"M{line}")
        areas.append(f"M{points[0][0]:g},{HEIGHT:g} {line} {points[-1][0]:g},{HEIGHT:g}Z")
    y = HEIGHT - 1 - scale * limit if limit is not None else 0.0
    mark = f'<path class="pk-limit" d="M0,{y:.1f}H{STEPS - 1}"/>' if limit is not None else ""
    return (
        f'<svg class="pk-spark" viewBox="0 0 {STEPS - 1} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}"><path class="pk-area" d="{"".join(areas)}"/>{mark}'
        f'<path class="pk-line" d="{"".join(lines)}"/></svg>'
    )


def _runs(values: Array) -> Iterator[tuple[int, Array]]:
    """Where values are, without the gaps between them."""
    there = np.flatnonzero(~np.isnan(values))
    for run in np.split(there, np.flatnonzero(np.diff(there) > 1) + 1):
        if len(run):
            yield int(run[0]), values[run]


def _bends(points: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Without those between two of the same height."""
    for i, point in enumerate(points):
        inner = 0 < i < len(points) - 1
        if not (inner and f"{points[i - 1][1]:.1f}" == f"{point[1]:.1f}" == f"{points[i + 1][1]:.1f}"):
            yield point


def _peak(values: Array) -> float:
    return float(np.nanmax(values)) if not np.isnan(values).all() else 0.0


def _recent(values: Array) -> float:
    return float(values[-RECENT:].mean()) if len(values) else 0.0


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten, so that the scale seldom changes; at least 1."""
    power = 10.0 ** np.floor(np.log10(max(value, 1.0)))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def _rate(value: float) -> str:
    return f"{value:.1f}" if 0.05 <= value < 9.95 else f"{value:,.0f}".replace(",", " ")


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} min"
