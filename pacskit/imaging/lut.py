"""Tables of the Modality LUT and VOI LUT Sequences (PS3.3 C.11.1.1, C.11.2.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacskit.imaging.functional_groups import number, numbers


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`entries` for the values `first`, first + 1, ...; values outside take the nearest. `bits`: depth."""

    entries: NDArray[np.uint16]
    first: int
    bits: int

    def look_up(self, values: NDArray[Any]) -> NDArray[np.uint16]:
        """The entry of each value (rounded), same shape."""
        positions = np.rint(np.nan_to_num(values.astype(np.float64))) - self.first
        found: NDArray[np.uint16] = self.entries[
            np.clip(positions, 0, len(self.entries) - 1).astype(np.int64)
        ]
        return found


def read_table(ds: Dataset, item: Dataset, *, signed: bool | None = None) -> Table | None:
    """The table of a LUT item of `ds`, or None where it makes no sense.

    `signed` says whether the values looked up may be negative; None: as Pixel Representation and Rescale
    Intercept tell.
    """
    descriptor = numbers(item.get("LUTDescriptor"), 3)
    data = item.get("LUTData")
    if descriptor is None or data is None:
        return None
    count, first, bits = int(descriptor[0]) or 65536, int(descriptor[1]), int(descriptor[2])
    if count < 0:
        count += 65536  # written as SS
    if isinstance(data, bytes):
        order = ">" if ds.original_encoding[1] is False else "<"
        wide = len(data) >= 2 * count
        raw = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2") if wide else np.frombuffer(data, "u1")
    else:
        listed = numbers(data)
        if listed is None:
            return None
        raw = np.asarray(listed).astype(np.int64) & 0xFFFF
        if len(raw) * 2 == count + count % 2 and len(raw) < count:  # 8 bit entries, two in a word
            raw = np.frombuffer(raw.astype("<u2").tobytes(), "u1")
    entries = raw[:count].astype(np.uint16)
    if not len(entries) or not 1 <= bits <= 16:
        return None
    if int(entries.max()) >= 2**bits:
        bits = 16  # the descriptor understates the depth
    if signed is None:
        signed = ds.get("PixelRepresentation") == 1 or (number(ds.get("RescaleIntercept")) or 0) < 0
    if signed and first > 32767:
        first -= 65536
    return Table(entries, first, bits)
