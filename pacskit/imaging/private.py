"""Private elements of MR vendors that tell volumes of one series apart: b-value and gradient.

Siemens (0019,100C) and (0019,100E), else the CSA header; GE (0043,1039) with (0019,10BB)-(0019,10BD); Philips
(2001,1003) with (2005,10B0)-(2005,10B2); UIH (0065,1009) and (0065,1037). Canon writes the standard ones.
Values may come as UN (implicit VR without a dictionary): read as the vendor's VR.
"""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset

from pacskit.imaging.csa import csa_header
from pacskit.imaging.functional_groups import numbers

Numbers = tuple[float, ...]

_GE_B_VALUE_OFFSET = 1_000_000_000
"""GE adds this to b-values of multi-shell scans."""
_GE_PLAUSIBLE = 100_000


def is_made_by(ds: Dataset, vendor: str) -> bool:
    """Whether Manufacturer names the vendor (private groups mean nothing without)."""
    return vendor in str(ds.get("Manufacturer") or "").upper()


def private_numbers(ds: Dataset, tag: tuple[int, int], binary: str) -> Numbers | None:
    """A private element as floats; `binary` is the struct code of its VR if it comes as UN, "" for text."""
    element = ds.get(tag)
    raw = element.value if element is not None else None
    if not isinstance(raw, bytes):
        return numbers(raw)
    if binary:
        size = struct.calcsize(binary)
        if not raw or len(raw) % size:
            return None
        return numbers(struct.unpack(f"<{len(raw) // size}{binary}", raw))
    return numbers(raw.decode("ascii", "replace").strip(" \0").split("\\"))


def diffusion(ds: Dataset) -> tuple[float | None, Numbers | None]:
    """(b-value in s/mm2, gradient direction) as the vendor wrote it privately; None where unknown."""
    if is_made_by(ds, "SIEMENS"):
        b = private_numbers(ds, (0x0019, 0x100C), "")
        direction = private_numbers(ds, (0x0019, 0x100E), "d")
        if b is None:
            header = csa_header(ds)
            b = numbers(header.get("B_value"))
            direction = direction or numbers(header.get("DiffusionGradientDirection"), 3)
    elif is_made_by(ds, "GE "):
        b = private_numbers(ds, (0x0043, 0x1039), "")
        if b is not None:
            first = b[0] - _GE_B_VALUE_OFFSET if b[0] >= _GE_B_VALUE_OFFSET else b[0]
            b = (first,) if 0 <= first < _GE_PLAUSIBLE else None
        direction = _joined(ds, [(0x0019, 0x10BB), (0x0019, 0x10BC), (0x0019, 0x10BD)], "")
    elif is_made_by(ds, "PHILIPS"):
        b = private_numbers(ds, (0x2001, 0x1003), "f")
        direction = _joined(ds, [(0x2005, 0x10B0), (0x2005, 0x10B1), (0x2005, 0x10B2)], "f")
    elif is_made_by(ds, "UIH"):
        b = private_numbers(ds, (0x0065, 0x1009), "d")
        direction = private_numbers(ds, (0x0065, 0x1037), "d")
    else:
        return None, None
    return (b[0] if b else None), (direction if direction and len(direction) == 3 else None)


def _joined(ds: Dataset, tags: list[tuple[int, int]], binary: str) -> Numbers | None:
    parts = [private_numbers(ds, tag, binary) for tag in tags]
    return tuple(part[0] for part in parts if part) if all(parts) else None
