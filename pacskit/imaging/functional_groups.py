"""Where an attribute of one frame stands.

In an enhanced multi-frame object (PS3.3 C.7.6.16) attributes stand in the per-frame functional groups, in
the shared ones, or (classic objects) in the data set itself; asked for in this order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset


def group_item(ds: Dataset, frame: int, macro: str) -> Dataset | None:
    """The item of a functional group macro (`PlanePositionSequence`) for one frame; None if absent."""
    for holder in _holders(ds, frame):
        sequence = holder.get(macro)
        if sequence:
            return sequence[0]  # type: ignore[no-any-return]
    return None


def value(ds: Dataset, frame: int, keyword: str, *macros: str) -> Any:
    """The attribute `keyword` for one frame (0-based), looked for in `macros`, else in the data set.

    Returns None where it is absent or empty.
    """
    for macro in macros:
        item = group_item(ds, frame, macro)
        if item is not None and item.get(keyword) not in (None, ""):
            return item.get(keyword)
    plain = ds.get(keyword)
    return None if plain == "" else plain


def numbers(raw: Any, count: int | None = None) -> tuple[float, ...] | None:
    """Finite floats of a value of VR DS, IS, FD, FL ... with any multiplicity.

    None where it is absent, not a number, or (with `count`) of another length: files lie, and one odd value
    must not end the reading of an image.
    """
    if raw is None or isinstance(raw, bytes):
        return None
    try:
        found = tuple(float(part) for part in raw) if _is_list(raw) else (float(raw),)
    except (TypeError, ValueError):
        return None
    if not found or not all(math.isfinite(part) for part in found):
        return None
    return found if count is None or len(found) == count else None


def number(raw: Any) -> float | None:
    """The first of `numbers`, or None."""
    found = numbers(raw)
    return found[0] if found else None


def _is_list(raw: Any) -> bool:
    return hasattr(raw, "__iter__") and not isinstance(raw, str)


def _holders(ds: Dataset, frame: int) -> Iterator[Dataset]:
    per_frame = ds.get("PerFrameFunctionalGroupsSequence")
    if per_frame and frame < len(per_frame):
        yield per_frame[frame]
    shared = ds.get("SharedFunctionalGroupsSequence")
    if shared:
        yield shared[0]
