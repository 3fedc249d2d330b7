"""A small plot of the last two minutes, as SVG in the theme's colours; says its figures in words too."""

from __future__ import annotations

from collections.abc import Sequence

from pacskit.widgets import words

WIDTH, HEIGHT = 120, 22
SPAN = 120.0
"""Seconds from the left edge to the right one."""


def svg(label: str, rates: Sequence[tuple[float, float]], unit: str) -> str:
    """`rates`: (seconds ago, per second), oldest first."""
    now = rates[-1][1] if rates else 0.0
    most = max((rate for _, rate in rates), default=0.0)
    said = f"{label}: {_figure(now)} {unit} now, {_figure(most)} at most in the last two minutes"
    points = [
        (WIDTH * (1 - min(ago, SPAN) / SPAN), HEIGHT - 1 - (HEIGHT - 3) * (rate / most if most else 0))
        for ago, rate in rates
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{points[0][0]:.1f},{HEIGHT - 1} {line} {points[-1][0]:.1f},{HEIGHT - 1}" if points else ""
    return (
        f'<span class="pk-fact pk-spark" title="{words.text(said)}">'
        f'<span class="pk-quiet">{words.text(label)}</span> {_figure(now)} {words.text(unit)} '
        f'<svg role="img" aria-label="{words.text(said)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT - 0.5}" y2="{HEIGHT - 0.5}"/>'
        f'<polygon points="{area}"/><polyline points="{line}"/></svg></span>'
    )


def _figure(rate: float) -> str:
    if rate >= 10:
        return f"{rate:.0f}"
    return f"{rate:.1f}" if rate >= 0.05 else "0"
