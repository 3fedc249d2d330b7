"""The quick way over the plain elements of a data set's top level, which is nearly all of them.

Plain: of a defined length, of a VR that is known, in the groups 0008 to FFFD, whole within the buffer (but a
value that nobody wants, as Pixel Data, may end behind it, within the data set).
Whoever walks stops at the first other one and looks at it with more care (`elements.walk`).

The instances of a series are laid out alike: the same headers, at the same places but for a few values of
another length. So the headers of the instance before are remembered (by each thread for itself), and one
`struct` call takes all of them out of the next instance. Where they are equal, byte for byte, a walk would
take the same steps. Where one differs in its length alone, the rest is compared from behind it.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import ne

LONG_VRS = frozenset(
    (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV")
)
VRS = LONG_VRS | frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
VALUE_LIMIT = 1 << 16
"""Longest value kept, in bytes."""
UNDEFINED = 0xFFFFFFFF
LEAST_GROUP, ITEM_GROUP = 0x0008, 0xFFFE
"""Lower groups belong to commands and file meta information; the other is that of items and delimiters."""
REMEMBERED = 8
"""Runs of plain elements of one data set whose layout is remembered."""
MISSES = 3
"""Data sets laid out otherwise, one after the other, until the newest layout is remembered instead."""
FEWEST = 16
"""Elements of a run that is worth remembering."""
_AHEAD = {vr: 12 if vr in LONG_VRS else 8 for vr in VRS}
"""VR → bytes of an explicit element before its value (PS3.5 7.1.2)."""

Found = dict[int, bytes]
"""Tag → raw value."""
_Heads = list[bytes]


class _Tail:
    """The layout from one of its elements on."""

    __slots__ = ("heads", "held", "indexes", "offsets", "size", "tags", "unpack", "unpack_values")

    def __init__(self, heads: _Heads, length_of: Callable[[bytes], int], wanted: frozenset[int]) -> None:
        at, code, values, passed = 0, ["<"], ["<"], 0
        self.offsets: list[int] = []
        self.tags: list[int] = []
        """Those wanted, with the places of their elements in `indexes`."""
        self.indexes: list[int] = []
        for index, head in enumerate(heads):
            length, tag = length_of(head), _tag(head)
            self.offsets.append(at)
            start = at + len(head)
            code.append(f"{len(head)}s{length}x" if index < len(heads) - 1 else f"{len(head)}s")
            at = start + length
            if tag in wanted and length <= VALUE_LIMIT and tag not in self.tags:
                self.tags.append(tag)
                self.indexes.append(index)
                values.append(f"{start - passed}x{length}s")
                passed = at
        self.heads, self.size = tuple(heads), at
        self.held = max(passed, start)
        """Bytes of it that have to be in the buffer: the value of the last element may lie beyond."""
        self.unpack = struct.Struct("".join(code)).unpack_from
        self.unpack_values = struct.Struct("".join(values)).unpack_from


def _tag(head: bytes) -> int:
    group, number = struct.unpack_from("<HH", head)
    return int(group << 16 | number)


def _add(found: Found, tags: Sequence[int], values: Sequence[bytes]) -> None:
    """The first value of a tag counts."""
    if found:
        for tag, value in zip(tags, values, strict=False):
            found.setdefault(tag, value)
    else:
        found.update(zip(tags, values, strict=False))


class _Layout:
    """The headers of a run, in little endian."""

    def __init__(self, heads: _Heads, implicit: bool, wanted: frozenset[int]) -> None:
        self.heads, self.misses = heads, 0
        self.same = 4 if implicit else 6
        """Bytes of a header that say which element, and how it is read."""
        self._implicit, self._wanted = implicit, wanted
        self._tails: dict[int, _Tail] = {}

    def length_of(self, head: bytes) -> int:
        return int.from_bytes(head[4 if self._implicit else 6 if len(head) == 8 else 8 :], "little")

    def tail(self, index: int) -> _Tail:
        tail = self._tails.get(index)
        if tail is None:
            tail = self._tails[index] = _Tail(self.heads[index:], self.length_of, self._wanted)
        return tail

    def over(self, data: bytes, at: int, found: Found, left: int) -> tuple[int, bool]:
        """As far as the data is laid out like this; whether that was to the end."""
        end, index, last = len(data), 0, len(self.heads)
        while index < last:
            tail = self._tails.get(index) or self.tail(index)
            if tail.held > end - at or tail.size > end + left - at:
                return at, False
            heads, values = tail.unpack(data, at), tail.unpack_values(data, at)
            if heads == tail.heads:
                _add(found, tail.tags, values)
                return at + tail.size, True
            differing = list(map(ne, heads, tail.heads)).index(True)
            _add(found, tail.tags, values[: bisect_left(tail.indexes, differing)])
            at += tail.offsets[differing]
            head, known = heads[differing], tail.heads[differing]
            start = at + len(head)
            length = self.length_of(head)
            if head[: self.same] != known[: self.same] or not _fits(start, length, end, left):
                return at, False
            tag = _tag(head)
            if tag in self._wanted and length <= VALUE_LIMIT:
                if start + length > end:
                    return at, False
                found.setdefault(tag, data[start : start + length])
            at = start + length
            index += differing + 1
        return at, True


def _fits(start: int, length: int, end: int, left: int) -> bool:
    """Whether a value ends within the data set; with an undefined length only its items can tell."""
    return start + length <= end + left and length != UNDEFINED


class Plain:
    """Passes over plain elements. Any thread; each remembers layouts of its own."""

    def __init__(self, wanted: frozenset[int], implicit: bool, order: str) -> None:
        """`order`: `<` little, `>` big endian."""
        self._wanted, self._implicit = wanted, implicit
        self._loop = (_implicit_loop if implicit else _explicit_loop)(wanted, order)
        self._memory = threading.local()
        self._remembers = order == "<"

    def over(self, data: bytes, at: int, found: Found, left: int, run: int) -> int:
        """From the element at `at` to the first one that is not plain: its place. Adds wanted values.

        `left`: bytes of the data set behind the buffer. `run`: how many runs of plain elements came before.
        """
        if run >= REMEMBERED or not self._remembers:
            return self._loop(data, at, found, left, None)
        try:
            layouts: list[_Layout | None] = self._memory.layouts
        except AttributeError:
            layouts = self._memory.layouts = [None] * REMEMBERED
        layout = layouts[run]
        if layout is not None:
            reached, fits = layout.over(data, at, found, left)
            layout.misses = 0 if fits else layout.misses + 1
            if layout.misses < MISSES:
                return self._loop(data, reached, found, left, None) if reached < len(data) else reached
        heads: _Heads = []
        reached = self._loop(data, at, found, left, heads)
        layouts[run] = _Layout(heads, self._implicit, self._wanted) if len(heads) >= FEWEST else None
        return reached


_Loop = Callable[[bytes, int, Found, int, "_Heads | None"], int]


def _numbers_of(wanted: frozenset[int]) -> dict[int, frozenset[int]]:
    groups = {tag >> 16 for tag in wanted}
    return {group: frozenset(tag & 0xFFFF for tag in wanted if tag >> 16 == group) for group in groups}


def _explicit_loop(wanted: frozenset[int], order: str) -> _Loop:
    short, long = struct.Struct(f"{order}HH2sH").unpack_from, struct.Struct(f"{order}I").unpack_from
    numbers_of, ahead_of = _numbers_of(wanted).get, _AHEAD.get

    def loop(data: bytes, at: int, found: Found, left: int, heads: _Heads | None) -> int:
        end = len(data)
        last = end - 12
        while at <= last:
            group, number, vr, length = short(data, at)
            ahead = ahead_of(vr)
            if ahead is None or not LEAST_GROUP <= group < ITEM_GROUP:
                return at
            start = at + ahead
            if ahead == 12:
                length = long(data, at + 8)[0]
            following = start + length
            numbers = numbers_of(group)
            if numbers is not None and number in numbers and length <= VALUE_LIMIT:
                if following > end:
                    return at
                found.setdefault(group << 16 | number, data[start:following])
            elif following > end and not _fits(start, length, end, left):
                return at
            if heads is not None:
                heads.append(data[at:start])
            at = following
        return at

    return loop


def _implicit_loop(wanted: frozenset[int], order: str) -> _Loop:
    head = struct.Struct(f"{order}HHI").unpack_from
    numbers_of = _numbers_of(wanted).get

    def loop(data: bytes, at: int, found: Found, left: int, heads: _Heads | None) -> int:
        end = len(data)
        last = end - 8
        while at <= last:
            group, number, length = head(data, at)
            start = at + 8
            following: int = start + length
            if not LEAST_GROUP <= group < ITEM_GROUP:
                return at
            numbers = numbers_of(group)
            if numbers is not None and number in numbers and length <= VALUE_LIMIT:
                if following > end:
                    return at
                found.setdefault(group << 16 | number, data[start:following])
            elif following > end and not _fits(start, length, end, left):
                return at
            if heads is not None:
                heads.append(data[at:start])
            at = following
        return at

    return loop


@lru_cache(maxsize=16)
def plain(wanted: frozenset[int], implicit: bool, order: str) -> Plain:
    """The one for these; made once."""
    return Plain(wanted, implicit, order)
