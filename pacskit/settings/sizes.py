"""Room on a disk as a person writes it: `20 GB`, `500 MB`, `5 %`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_ROOM = re.compile(r"(\d+(?:\.\d+)?)\s*(%|[KMGT]B)", re.IGNORECASE)


def check_room(value: str) -> str:
    """The usual spelling, `20 GB` or `5 %`. Raises ValueError with a sentence."""
    found = _ROOM.fullmatch(value.strip())
    if found is None:
        raise ValueError("room on a disk is a number with KB, MB, GB, TB or %, as 20 GB or 5 %")
    if found[2] == "%" and float(found[1]) > 90:
        raise ValueError("more than 90 % of a disk cannot be kept free")
    return f"{found[1]} {found[2].upper()}"


def room_in_bytes(value: str, disk: int) -> int:
    """Of a disk of `disk` bytes."""
    found = _ROOM.fullmatch(value.strip())
    assert found is not None, "checked where it was set"
    number, unit = found[1], found[2].upper()
    return int(float(number) * disk / 100 if unit == "%" else float(number) * _UNITS[unit])


Room = Annotated[str, AfterValidator(check_room)]


def check_room_or_none(value: str) -> str:
    """The usual spelling, or empty for no limit. Raises ValueError with a sentence."""
    text = value.strip()
    if not text:
        return ""
    found = _ROOM.fullmatch(text)
    if found is None:
        raise ValueError("room on a disk is a number with KB, MB, GB, TB or %, as 500 GB; empty for no limit")
    if not float(found[1]):
        raise ValueError("no room at all would keep nothing: leave it empty for no limit")
    if found[2] == "%" and float(found[1]) > 100:
        raise ValueError("a disk has no more than 100 %")
    return f"{found[1]} {found[2].upper()}"


RoomOrNone = Annotated[str, AfterValidator(check_room_or_none)]
