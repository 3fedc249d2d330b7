"""Siemens' CSA header, (0029,1010): name to values.

The layout (`SV10` and the older one without it) is that described in nibabel's and GDCM's documentation. A
header that ends early or lies about a length gives what could be read before it.
"""

from __future__ import annotations

import struct

from pydicom.dataset import Dataset

MOST_TAGS = 1000
"""A claimed count of elements above this is taken for garbage."""


def csa_header(ds: Dataset) -> dict[str, tuple[str, ...]]:
    """The elements of the CSA Image Header Info that have values; empty where there is none."""
    element = ds.get((0x0029, 0x1010))
    raw = element.value if element is not None else None
    if not isinstance(raw, bytes) or len(raw) < 16:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    try:
        _read(raw, found)
    except struct.error:
        return found
    return found


def _read(raw: bytes, found: dict[str, tuple[str, ...]]) -> None:
    new = raw[:4] == b"SV10"
    offset = 8 if new else 0
    (count,) = struct.unpack_from("<I", raw, offset)
    offset += 8
    first_items: int | None = None
    for _ in range(count if count <= MOST_TAGS else 0):
        name, _vm, _vr, _type, items, _mark = struct.unpack_from("<64si4siii", raw, offset)
        offset += 84
        if first_items is None:
            first_items = items
        values: list[str] = []
        for _ in range(max(items, 0)):
            lengths = struct.unpack_from("<4i", raw, offset)
            offset += 16
            # The older layout adds the first element's count of items to each length.
            length = lengths[1] if new else lengths[0] - first_items
            if length < 0 or offset + length > len(raw):
                return
            text = raw[offset : offset + length].split(b"\0")[0].decode("ascii", "replace").strip()
            if text:
                values.append(text)
            offset += (length + 3) // 4 * 4
        if values:
            found[name.split(b"\0")[0].decode("ascii", "replace")] = tuple(values)
