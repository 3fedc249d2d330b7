"""The values of one frame: decoded, and through the Modality LUT.

`frame` decodes one frame only, whatever the object's size, and raises nothing but PixelError. Stored values
become modality values by the Modality LUT Sequence or Rescale Slope and Intercept (PS3.3 C.11.1; for enhanced
objects the Pixel Value Transformation macro), RT dose by Dose Grid Scaling (C.8.8.3). Colour becomes RGB:
palettes are applied, YBR is converted. Supplemental palettes are left out: such frames are greyscale.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacskit.errors import PixelError
from pacskit.imaging.functional_groups import number, value
from pacskit.imaging.lut import read_table

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def not_an_image(ds: Dataset) -> str | None:
    """The sentence that says why there is no picture, or None where the instance holds pixels."""
    if any(keyword in ds for keyword in PIXEL_KEYWORDS):
        return None
    uid = UID(str(ds.get("SOPClassUID") or ""))
    name = uid.name if uid else ""
    what = f"{name} ({ds.get('Modality') or 'no modality'})" if name else "this object"
    return f"There is no picture to show: {what} holds no pixel data."


def number_of_frames(ds: Dataset) -> int:
    """How many frames the instance has: 0 where it is no image (no Rows), at least 1 otherwise."""
    if not ds.get("Rows"):
        return 0
    raw = _first_value(ds, "NumberOfFrames")
    digits = re.match(r"\s*\+?(\d+)", str(raw)) if raw is not None else None  # '1A' occurs in real files
    return max(1, int(digits.group(1))) if digits else 1


def frame(ds: Dataset, index: int = 0) -> NDArray[Any]:
    """Modality values of one frame (0-based).

    Greyscale: (rows, columns), an integer type where slope and intercept are integers, else float32.
    Colour: uint8 (rows, columns, 3) RGB. Raises PixelError with a sentence.
    """
    stored = stored_frame(ds, index)
    if stored.ndim == 3:
        return stored
    return modality_values(ds, stored, index)


def stored_frame(ds: Dataset, index: int = 0) -> NDArray[Any]:
    """As `frame`, but greyscale stays as stored (before the Modality LUT)."""
    reason = not_an_image(ds)
    if reason:
        raise PixelError(reason)
    count = number_of_frames(ds)
    if not 0 <= index < max(count, 1):
        raise PixelError(f"Frame {index + 1} was asked for, but this image has {count} frame(s).")
    syntax = _transfer_syntax(ds)
    try:
        decoder = get_decoder(syntax)
    except (NotImplementedError, ValueError) as error:
        raise PixelError(f"The transfer syntax {_named(syntax)} cannot be decoded here.") from error
    try:
        decoded, properties = decoder.as_array(ds, index=index)
        photometric = str(properties.get("photometric_interpretation") or ds.get("PhotometricInterpretation"))
        return _colour(ds, decoded, photometric)
    except PixelError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:300]
        raise PixelError(
            f"Frame {index + 1} cannot be decoded (transfer syntax {_named(syntax)}): {cause}"
        ) from error


def modality_values(ds: Dataset, stored: NDArray[Any], index: int = 0) -> NDArray[Any]:
    """Stored values (rows, columns) of frame `index` as modality values. Raises PixelError."""
    luts = ds.get("ModalityLUTSequence")
    if luts:
        table = read_table(ds, luts[0], signed=ds.get("PixelRepresentation") == 1)
        if table is None:
            raise PixelError("The Modality LUT Sequence of this image cannot be read.")
        return table.look_up(stored)
    slope, intercept = rescale(ds, index)
    if (slope, intercept) == (1.0, 0.0):
        return stored
    if slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu" and stored.size:
        ends = [
            int(stored.min()) * int(slope) + int(intercept),
            int(stored.max()) * int(slope) + int(intercept),
        ]
        if min(ends) >= -(2**31) and max(ends) < 2**31:
            return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def rescale(ds: Dataset, index: int = 0) -> tuple[float, float]:
    """(slope, intercept) of frame `index`; (1, 0) where there is none or the values make no sense."""
    scaling = number(ds.get("DoseGridScaling"))
    if scaling:
        return scaling, 0.0
    slope = number(value(ds, index, "RescaleSlope", "PixelValueTransformationSequence"))
    intercept = number(value(ds, index, "RescaleIntercept", "PixelValueTransformationSequence"))
    return (slope if slope else 1.0), (0.0 if intercept is None else intercept)


def padding(ds: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where stored greyscale values are Pixel Padding (PS3.3 C.7.5.1.1.2), or None without any."""
    first = _padding_value(ds, "PixelPaddingValue", stored)
    if first is None or stored.ndim != 2:
        return None
    last = _padding_value(ds, "PixelPaddingRangeLimit", stored)
    low, high = sorted((first, first if last is None else last))
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask if bool(mask.any()) else None


def _padding_value(ds: Dataset, keyword: str, stored: NDArray[Any]) -> float | None:
    raw = _first_value(ds, keyword)
    if isinstance(raw, bytes) and len(raw) == 2:
        raw = int.from_bytes(raw, "little")
    found = number(raw)
    if found is None or stored.dtype.kind not in "iu":
        return found
    # US or SS depends on Pixel Representation, and writers take the wrong one: brought to the pixels' sign.
    bits = 8 * int(stored.dtype.itemsize)
    if stored.dtype.kind == "u" and found < 0:
        return found + float(1 << bits)
    if stored.dtype.kind == "i" and found >= 1 << (bits - 1):
        return found - float(1 << bits)
    return found


def _colour(ds: Dataset, decoded: NDArray[Any], photometric: str) -> NDArray[Any]:
    if photometric == "PALETTE COLOR":
        decoded = np.asarray(apply_color_lut(decoded, ds))[..., :3]
        if decoded.dtype == np.uint8:
            return decoded
        # 16 bit entries that hold 8 bit values occur: shifting those would give a black picture.
        shift = 8 if int(decoded.max(initial=0)) > 255 else 0
        return (decoded >> shift).astype(np.uint8)
    if decoded.ndim != 3:
        return decoded
    if decoded.shape[-1] not in (3, 4):
        raise PixelError(f"Colour images of {decoded.shape[-1]} samples a pixel cannot be shown.")
    decoded = decoded[..., :3]
    shift = max(0, int(ds.get("BitsStored") or 8) - 8)
    eight = np.clip(decoded >> shift, 0, 255).astype(np.uint8) if decoded.dtype != np.uint8 else decoded
    if photometric.startswith("YBR_FULL"):
        eight = np.asarray(convert_color_space(eight, "YBR_FULL", "RGB"))
    return eight


def _first_value(ds: Dataset, keyword: str) -> Any:
    raw = ds.get(keyword)
    return raw[0] if isinstance(raw, list | tuple) and raw else raw


def _named(syntax: UID) -> str:
    return str(syntax) if syntax.name == syntax else f"{syntax.name}, {syntax}"


def _transfer_syntax(ds: Dataset) -> UID:
    meta = getattr(ds, "file_meta", None)
    named = meta.get("TransferSyntaxUID") if meta is not None else None
    if named:
        return UID(named)
    implicit, little = ds.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if little is False else ExplicitVRLittleEndian
