"""Rows of the results, and how they are shown and kept."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

REFERENCE = "storescp"


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    who: str
    median: float
    unit: str
    low: float
    high: float
    ratio: float | None
    """Ours over this one's, medians."""
    goal: str
    met: bool | None = None
    """Whether the goal was reached in this run; None where that is for a person to read."""


def ratios(
    what: str,
    unit: str,
    measured: Mapping[str, Sequence[float]],
    goals: Mapping[str, float] | str = "",
    *,
    compare: bool = True,
) -> list[Row]:
    """A row for each program, the first one ours, with our ratio to it where more is better.

    `goals`: who → the ratio that is wanted; or a sentence, beside storescp.
    """
    ours = statistics.median(next(iter(measured.values())))
    rows: list[Row] = []
    for name, values in measured.items():
        median = statistics.median(values)
        ratio = ours / median if compare and rows and median else None
        if isinstance(goals, str):
            goal = goals if name == REFERENCE else ""
        else:
            goal = f"≥{goals[name]:g}×" if name in goals else ""
        met = None
        if ratio is not None and not isinstance(goals, str) and name in goals:
            met = ratio >= goals[name]
        rows.append(Row(what, name, median, unit, min(values), max(values), ratio, goal, met))
    return rows


def show(rows: Sequence[Row]) -> str:
    """The table people read."""
    lines, what = [], ""
    for row in rows:
        if row.what != what:
            what = row.what
            lines.append(what)
        ratio = f"pacskit is {row.ratio:5.2f}× this" if row.ratio is not None else ""
        goal = f"   goal {row.goal}" if row.goal else ""
        goal += {True: " reached", False: " MISSED", None: ""}[row.met]
        lines.append(
            f"  {row.who:<20}{row.median:10.1f}{row.unit:<6}[{row.low:.1f}-{row.high:.1f}]  {ratio}{goal}"
        )
    return "\n".join(lines)


def goals(rows: Sequence[Row]) -> str:
    """The goals alone: what was reached and what was missed in this run."""
    judged = [row for row in rows if row.goal]
    lines = ["Goals"]
    for row in judged:
        figure = f"{row.ratio:.2f}× {row.who}" if row.ratio is not None else f"{row.median:.1f}{row.unit}"
        met = {True: "reached", False: "MISSED", None: "to be read"}[row.met]
        lines.append(f"  {met:<11}{row.what:<64}{figure:<28}{row.goal}")
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return {
        "processor": _first_line(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": _first_line(Path("/proc/meminfo"), "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version() + ("" if optimised else ", built without --enable-optimizations"),
        "load before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _first_line(path: Path, name: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def keep(rows: Sequence[Row], about: dict[str, object], path: Path) -> None:
    content = {"date": date.today().isoformat(), "machine": about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
