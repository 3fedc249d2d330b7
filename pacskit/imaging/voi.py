"""VOI LUT (PS3.3 C.11.2): from modality values to grey levels 0 to 255.

The formulas of C.11.2.1.2 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), C.11.2.1.3.1 (SIGMOID) and the tables of the
VOI LUT Sequence (C.11.2.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacskit.errors import PixelError
from pacskit.imaging.functional_groups import group_item, number
from pacskit.imaging.lut import read_table

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID", "VOI_LUT"]


@dataclass(frozen=True, slots=True)
class Window:
    """A window in modality values (HU, ...). `function` is VOI LUT Function.

    `function="VOI_LUT"` stands for item `lut` (0-based) of the image's VOI LUT Sequence: centre and width are
    then the range the table covers. A LINEAR window narrower than 1, which the standard forbids, is applied
    as LINEAR_EXACT.
    """

    centre: float
    width: float
    function: Function = "LINEAR"
    explanation: str = ""
    lut: int | None = None


def file_windows(ds: Dataset, frame: int = 0) -> list[Window]:
    """Windows and VOI LUTs of the file for a frame, windows first, in its order; unusable ones left out."""
    item = group_item(ds, frame, "FrameVOILUTSequence")
    source = item if item is not None and "WindowCenter" in item else ds
    centres = _each(source.get("WindowCenter"))
    widths = _each(source.get("WindowWidth"))
    explanations = _texts(source.get("WindowCenterWidthExplanation"))
    function = _function(source.get("VOILUTFunction"))
    found: list[Window] = []
    for index, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        if centre is not None and width is not None and width > 0:
            text = explanations[index] if index < len(explanations) else ""
            found.append(Window(centre, width, function, text))
    for index, table in enumerate(ds.get("VOILUTSequence") or ()):
        read = read_table(ds, table)
        if read is not None:
            text = str(table.get("LUTExplanation") or "VOI LUT")
            width = float(len(read.entries))
            found.append(Window(read.first + width / 2, width, "VOI_LUT", text, index))
    return found


def apply_window(values: NDArray[Any], window: Window, ds: Dataset | None = None) -> NDArray[np.uint8]:
    """Grey levels 0..255 of `values` (any shape), 0 the low end. Raises PixelError for an impossible window.

    `ds` is needed for `function="VOI_LUT"` only.
    """
    if window.function == "VOI_LUT":
        return _apply_table(values, window, ds)
    centre, width = float(window.centre), float(window.width)
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        raise PixelError(f"A window needs a width above 0 and a finite centre, not {width:g} at {centre:g}.")
    x = values.astype(np.float64)
    if window.function == "SIGMOID":
        exponent = np.clip(-4.0 * (x - centre) / width, -700.0, 700.0)
        y = 255.0 / (1.0 + np.exp(exponent))
    elif window.function == "LINEAR" and width >= 1:
        low = centre - 0.5 - (width - 1) / 2
        y = np.where(x <= low, 0.0, 255.0) if width == 1 else (x - low) / (width - 1) * 255.0
    else:
        y = (x - (centre - width / 2)) / width * 255.0
    return np.clip(np.rint(np.nan_to_num(y, nan=0.0, posinf=255.0, neginf=0.0)), 0, 255).astype(np.uint8)


def _apply_table(values: NDArray[Any], window: Window, ds: Dataset | None) -> NDArray[np.uint8]:
    tables = list(ds.get("VOILUTSequence") or ()) if ds is not None else []
    index = window.lut or 0
    table = read_table(ds, tables[index]) if ds is not None and index < len(tables) else None
    if table is None:
        raise PixelError(f"This image has no usable VOI LUT number {index + 1}.")
    top = float(2**table.bits - 1)
    return np.clip(np.rint(table.look_up(values).astype(np.float64) * 255.0 / top), 0, 255).astype(np.uint8)


def _function(raw: Any) -> Function:
    text = str(raw or "LINEAR").upper()
    if text == "SIGMOID":
        return "SIGMOID"
    return "LINEAR_EXACT" if text == "LINEAR_EXACT" else "LINEAR"


def _each(raw: Any) -> list[float | None]:
    if raw is None or isinstance(raw, str | bytes) or not hasattr(raw, "__iter__"):
        return [number(raw)]
    return [number(part) for part in raw]


def _texts(raw: Any) -> list[str]:
    if raw is None:
        return []
    return [raw] if isinstance(raw, str) else [str(part) for part in raw]
