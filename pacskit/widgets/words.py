"""How values are written in tables and panels: escaped, readable, in local time, masked if wanted."""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

import pandas as pd

MASK = "•••"
_DATE = "%Y-%m-%d"
_TIME = "%Y-%m-%d %H:%M:%S"


def text(value: Any) -> str:
    """Escaped for HTML, in text and in attributes; what comes from a DICOM file is never markup."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    return html.escape(str(value), quote=True)


def name(value: Any) -> str:
    """A PN (PS3.5 6.2.1) as people read it: `Family, Given · 山田, 太郎`, escaped."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    groups = []
    for group in str(value).split("="):
        family, _, others = group.partition("^")
        given = " ".join(part for part in others.split("^") if part)
        if whole := ", ".join(part for part in (family, given) if part):
            groups.append(whole)
    return text(" · ".join(groups))


def size(count: Any) -> str:
    """Bytes as `1.4 MB` (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def date(value: Any) -> str:
    return "" if pd.isna(value) else pd.Timestamp(value).strftime(_DATE)


def time_of(value: Any) -> str:
    """An instant (UTC) on the clock of this place; today's without its date."""
    if pd.isna(value):
        return ""
    stamp = pd.Timestamp(value)
    moment = datetime.fromtimestamp(stamp.timestamp())
    return moment.strftime("%H:%M:%S" if moment.date() == datetime.now().date() else _TIME)


def count(number: int, what: str) -> str:
    """`1 image`, `1,200 images`, `3 studies`, `9 days`."""
    several = f"{what[:-1]}ies" if what.endswith("y") and what[-2] not in "aeiou" else f"{what}s"
    return f"{number:,} {what if number == 1 else several}"
