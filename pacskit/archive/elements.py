"""A walk over the top-level elements of a data set (PS3.5 7), forward only, in constant memory.

It notices what pydicom passes over in silence: a data set that ends early, or is none at all.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from pacskit.archive.plain import LEAST_GROUP, LONG_VRS, VALUE_LIMIT, VRS, Plain, plain
from pacskit.archive.plain import UNDEFINED as UNDEFINED

DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
EXPLICIT = "1.2.840.10008.1.2.1"

FIRST_PIECE, PIECE = 1 << 14, 1 << 16
"""Bytes read at once: most headers, up to Pixel Data, fit the first."""
DEPTH = 100
"""Sequences of undefined length within each other; deeper ones no reader opens."""
INFLATED_LIMIT = 1 << 30
"""Bytes a deflated data set may become: 1 MB of it can stand for 1 GB, and all of it is walked."""
LEAST_TAG = LEAST_GROUP << 16

_NUMBERS = {order: tuple(struct.Struct(order + code).unpack for code in ("HH", "H", "I")) for order in "<>"}

Read = Callable[[int, int], bytes]
"""(size, offset) → bytes, fewer only at the end."""


class BadDataSet(ValueError):
    """The data set cannot be understood; the sentence says where."""


class _Stream:
    """Bytes one after the other, from a file or out of a deflated one (PS3.5 A.5)."""

    def __init__(self, read: Read, offset: int, size: int, deflated: bool) -> None:
        self._read, self._offset, self._size = read, offset, size
        self._inflate = zlib.decompressobj(-15) if deflated else None
        self._buffer, self._position, self._passed = b"", 0, 0
        self._inflated, self._piece, self._runs = 0, FIRST_PIECE, 0

    @property
    def position(self) -> int:
        """Bytes of the data set passed so far."""
        return self._passed + self._position

    def _fill(self) -> bool:
        if self._inflate is None:
            if self._offset >= self._size:
                return False
            piece = self._read(self._piece, self._offset)
            self._offset += len(piece)
            self._piece = PIECE
        else:
            piece = b""
            while not piece and not self._inflate.eof:
                raw = self._inflate.unconsumed_tail
                if not raw:
                    raw = self._read(PIECE, self._offset)
                    self._offset += len(raw)
                try:
                    piece = self._inflate.decompress(raw, PIECE)  # without raw: what zlib holds back
                except zlib.error as error:
                    raise BadDataSet(f"the data set cannot be inflated: {error}") from error
                if not raw and not piece and not self._inflate.eof:
                    raise BadDataSet("the deflated data set ends early")
            self._inflated += len(piece)
            if self._inflated > INFLATED_LIMIT:
                raise BadDataSet(f"the deflated data set becomes more than {INFLATED_LIMIT} bytes")
        if not piece:
            return False
        self._buffer = self._buffer[self._position :] + piece
        self._passed += self._position
        self._position = 0
        return True

    def pass_plain(self, elements: Plain, found: dict[int, bytes]) -> bool:
        """Pass over the plain elements that come next; whether there was one."""
        if not self._buffer and not self._fill():
            return False
        left = self._size - self._offset if self._inflate is None else 0
        passed = elements.over(self._buffer, self._position, found, left, self._runs) - self._position
        self._runs += 1
        return passed > 0 and self.skip(passed)

    def take(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        while len(self._buffer) - self._position < size and self._fill():
            pass
        taken = self._buffer[self._position : self._position + size]
        self._position += len(taken)
        return taken

    def skip(self, size: int) -> bool:
        """Pass over `size` bytes; False where fewer are left."""
        have = len(self._buffer) - self._position
        if size <= have:
            self._position += size
            return True
        if self._inflate is None:
            self._offset += size - have
            self._passed += self._position + size
            self._buffer, self._position = b"", 0
            return self._offset <= self._size
        while size:
            piece = self.take(min(size, PIECE))
            if not piece:
                return False
            size -= len(piece)
        return True


def guess_transfer_syntax(start: bytes) -> str:
    """For a data set without file meta: what its first element looks like (PS3.5 A.1-A.3)."""
    explicit = start[4:6] in VRS
    if start[0:1] == b"\0" and start[1:2] != b"\0":
        return BIG_ENDIAN
    return EXPLICIT if explicit else IMPLICIT


def walk(
    read: Read,
    offset: int,
    size: int,
    transfer_syntax_uid: str,
    wanted: frozenset[int],
    *,
    quick: bool = True,
) -> dict[int, bytes]:
    """Raw values of the `wanted` top-level tags of the data set in bytes `offset` to `size` of a file.

    Goes to the end of the data set; `quick` says whether plain elements are passed over in the quick way,
    which finds the same (`plain.py`). Raises BadDataSet where it is empty, ends within an element, or
    does not read as its transfer syntax says.
    """
    stream = _Stream(read, offset, size, transfer_syntax_uid == DEFLATED)
    order = ">" if transfer_syntax_uid == BIG_ENDIAN else "<"
    tag_of, short_of, long_of = _NUMBERS[order]
    implicit = transfer_syntax_uid == IMPLICIT
    elements = plain(wanted, implicit, order)
    found: dict[int, bytes] = {}
    stack: list[tuple[bool, bool]] = []  # (inside items rather than elements, the outer implicit)
    items, last = False, -1
    while True:
        if quick and not stack and stream.pass_plain(elements, found):
            last = LEAST_TAG  # or above: only lower ones are looked at for their order
        at = stream.position
        head = stream.take(8)
        if len(head) < 8:
            if stack or head.strip(b"\0"):
                raise BadDataSet(f"the data set ends early, at byte {at}")
            break
        group, number = tag_of(head[:4])
        tag = group << 16 | number
        if group == 0xFFFE:
            length = long_of(head[4:])[0]
            if number == 0xE000 and items:
                if length == UNDEFINED:
                    stack.append((items, implicit))
                    items = False
                elif not stream.skip(length):
                    raise BadDataSet(f"the data set ends within an item, at byte {at}")
            elif number in (0xE00D, 0xE0DD) and stack and items == (number == 0xE0DD):
                items, implicit = stack.pop()
            elif number in (0xE00D, 0xE0DD) and not stack:
                continue  # a delimiter too many: writers exist that leave one behind a defined length
            else:
                raise BadDataSet(f"an item stands where none may, at byte {at}")
            continue
        if found and not stack and not head.strip(b"\0"):
            break  # padding with zeros up to a block's end
        if items:
            raise BadDataSet(f"an element stands where an item should, at byte {at}")
        if implicit:
            vr, length = b"", long_of(head[4:])[0]
        else:
            vr, length = head[4:6], short_of(head[6:])[0]
            if vr in LONG_VRS:
                rest = stream.take(4)
                if len(rest) < 4:
                    raise BadDataSet(f"the data set ends early, at byte {at}")
                length = long_of(rest)[0]
            elif vr not in VRS:
                vr, length = b"", long_of(head[4:])[0]  # an implicit element among explicit ones: seen
        if not stack:
            if tag <= last and tag < LEAST_TAG:
                raise BadDataSet(f"the elements are not in order, at byte {at}")
            last = tag
        if length == UNDEFINED:
            if len(stack) >= DEPTH:
                raise BadDataSet(f"sequences stand more than {DEPTH} deep within each other")
            stack.append((items, implicit))
            items = True
            implicit = implicit or vr in (b"UN", b"")  # PS3.5 6.2.2 note 2: within UN it is implicit
        elif not stack and tag in wanted and length <= VALUE_LIMIT:
            value = stream.take(length)
            if len(value) < length:
                raise BadDataSet(f"the data set ends within ({group:04X},{number:04X}), at byte {at}")
            found.setdefault(tag, value)
        elif not stream.skip(length):
            raise BadDataSet(
                f"the data set ends within ({group:04X},{number:04X}): "
                f"{length} bytes are said to follow byte {at}"
            )
    if last < 0:
        raise BadDataSet("the data set is empty")
    return found
