"""Which SOP Instance UIDs the index does not have, told without asking it: for each instance that comes.

A Bloom filter: "not here" is certain, "maybe here" is asked of the index. 2 bytes an instance.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

PROBES = 4
"""With 16 bits an instance, 1 of 400 others is taken for one that may be here."""
BITS = 16
SMALLEST = 1 << 16
"""Instances."""


class UidFilter:
    """Any thread may ask and add. Until it is `complete`, every UID may be here."""

    def __init__(self) -> None:
        self.complete = False
        """Whether all that the index has were added."""
        self._parts: list[_Part] = [_Part(SMALLEST)]
        self._lock = threading.Lock()

    def add(self, uids: Iterable[str]) -> None:
        with self._lock:  # two at once could lose each other's bits
            for uid in uids:
                part = self._parts[-1]
                if part.left <= 0:
                    part = _Part(4 * part.size)
                    self._parts.append(part)
                part.add(hash(uid))

    def lacks(self, uid: str) -> bool:
        """Whether it is certain that this one is not here."""
        if not self.complete:
            return False
        key = hash(uid)
        return not any(part.may_have(key) for part in self._parts)


class _Part:
    __slots__ = ("_bits", "_mask", "left", "size")

    def __init__(self, size: int) -> None:
        """`size`: a power of two, how many UIDs it is made for."""
        self.size = self.left = size
        self._mask = size * BITS - 1
        self._bits = bytearray(size * BITS // 8)

    def add(self, key: int) -> None:
        self.left -= 1
        bits, mask, step = self._bits, self._mask, key >> 32 | 1
        for _ in range(PROBES):
            at = key & mask
            bits[at >> 3] |= 1 << (at & 7)
            key += step

    def may_have(self, key: int) -> bool:
        bits, mask, step = self._bits, self._mask, key >> 32 | 1
        for _ in range(PROBES):
            at = key & mask
            if not bits[at >> 3] & 1 << (at & 7):
                return False
            key += step
        return True
