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
from pacskit.imaging.functional_groups import group_item, number, numbers

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
    """The windows and VOI LUTs the file gives for a frame, in its order, windows first; unusable ones left out."""
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
        read = _read_table(ds, table)
        if read is not None:
            entries, first, _ = read
            text = str(table.get("LUTExplanation") or "VOI LUT")
            found.append(Window(first + len(entries) / 2, float(len(entries)), "VOI_LUT", text, index))
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
        if width == 1:
            y = np.where(x <= low, 0.0, 255.0)
        else:
            y = (x - low) / (width - 1) * 255.0
    else:
        y = (x - (centre - width / 2)) / width * 255.0
    return np.clip(np.rint(np.nan_to_num(y, nan=0.0, posinf=255.0, neginf=0.0)), 0, 255).astype(np.uint8)


def _apply_table(values: NDArray[Any], window: Window, ds: Dataset | None) -> NDArray[np.uint8]:
    tables = list(ds.get("VOILUTSequence") or ()) if ds is not None else []
    number_of_table = window.lut or 0
    read = _read_table(ds, tables[number_of_table]) if ds is not None and number_of_table < len(tables) else None
    if read is None:
        raise PixelError(f"This image has no usable VOI LUT number {number_of_table + 1}.")
    entries, first, bits = read
    top = float(2**bits - 1)
    grey = np.clip(np.rint(entries.astype(np.float64) * 255.0 / top), 0, 255).astype(np.uint8)
    positions = np.rint(np.nan_to_num(values.astype(np.float64))) - first
    looked_up: NDArray[np.uint8] = grey[np.clip(positions, 0, len(grey) - 1).astype(np.int64)]
    return looked_up


def _read_table(ds: Dataset, table: Dataset) -> tuple[NDArray[np.uint16], int, int] | None:
    """(entries, first value mapped, bits) of a LUT item, or None where it makes no sense."""
    descriptor = numbers(table.get("LUTDescriptor"), 3)
    data = table.get("LUTData")
    if descriptor is None or data is None:
        return None
    count, first, bits = int(descriptor[0]) or 65536, int(descriptor[1]), int(descriptor[2])
    if count < 0:
        count += 65536  # written as SS
    if isinstance(data, bytes):
        order = ">" if ds.original_encoding[1] is False else "<"
        wide = len(data) >= 2 * count
        entries = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2") if wide else np.frombuffer(data, "u1")
    else:
        listed = numbers(data)
        if listed is None:
            return None
        entries = np.asarray(listed).astype(np.int64) & 0xFFFF
    entries = entries[:count].astype(np.uint16)
    if not len(entries) or not 1 <= bits <= 16:
        return None
    if int(entries.max()) >= 2**bits:
        bits = 16  # the descriptor understates the depth
    signed = ds.get("PixelRepresentation") == 1 or (number(ds.get("RescaleIntercept")) or 0) < 0
    if signed and first > 32767:
        first -= 65536
    return entries, first, bits


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
