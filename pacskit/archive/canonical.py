"""What a data set says, whatever its transfer syntax: a digest of its elements.

Read forward in constant memory, without pydicom: it would warn of odd values in the peer's own words.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from io import BytesIO
from typing import BinaryIO

from pydicom.datadict import dictionary_VR

from pacskit.archive.elements import BIG_ENDIAN, DEFLATED, DEPTH, EXPLICIT, IMPLICIT, UNDEFINED, BadDataSet

INFLATED_LIMIT = 256 << 20
"""Bytes; a deflated data set that becomes more is not compared by its attributes."""
PIECE = 1 << 20
STRIP_LIMIT = 1 << 16
"""Bytes; padding of longer values is not looked for."""
PIXEL_GROUP = 0x7FE0
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PADDING = 0xFFFCFFFC
MAY_DIFFER = frozenset((0x00280004, 0x00280006, 0x00082111, 0x00089215))
"""What recoding pixels may change: Photometric Interpretation, Planar Configuration, and what it writes of
itself, Derivation Description and Derivation Code Sequence. Lossy Image Compression
is not among them: what lost something is another content."""
NATIVE = frozenset((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED))
"""Transfer syntaxes with the pixels as they are."""
_LONG = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV"))
_PADDED = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_WORD = {
    **dict.fromkeys((b"US", b"SS", b"OW", b"AT"), 2),
    **dict.fromkeys((b"UL", b"SL", b"FL", b"OF", b"OL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}


def digest(file: BinaryIO, offset: int, transfer_syntax_uid: str, *, pixels: bool) -> bytes:
    """Of the data set from byte `offset` of an open file; equal where the elements' values are equal.

    Byte order, explicit VRs, lengths of sequences and groups, and padding do not count; without `pixels`
    neither do pixel data, what follows them, and MAY_DIFFER. Raises BadDataSet where it cannot be read.
    """
    file.seek(offset)
    if transfer_syntax_uid == DEFLATED:
        inflate = zlib.decompressobj(-15)
        try:
            file = BytesIO(inflate.decompress(file.read(INFLATED_LIMIT), INFLATED_LIMIT))
        except zlib.error as error:
            raise BadDataSet(f"the data set cannot be inflated: {error}") from error
        if not inflate.eof:
            raise BadDataSet("the deflated data set is too long to be compared")
    reading = _Reading(file, transfer_syntax_uid == BIG_ENDIAN, pixels)
    reading.elements(None, transfer_syntax_uid == IMPLICIT, 0)
    return reading.hash.digest()


def _vr(tag: int) -> str:
    """The dictionary's VR; empty for private and unknown elements. Never the file's own: both sides alike."""
    try:
        return "" if tag >> 16 & 1 else dictionary_VR(tag)
    except KeyError:
        return ""


class _Reading:
    def __init__(self, file: BinaryIO, big: bool, pixels: bool) -> None:
        self.hash = hashlib.blake2b()
        self._file, self._at, self._big, self._pixels = file, file.tell(), big, pixels
        self._order = ">" if big else "<"

    def _take(self, size: int) -> bytes:
        taken = self._file.read(size)
        self._at += len(taken)
        return taken

    def _back(self, size: int) -> None:
        self._at -= size
        self._file.seek(self._at)

    def _tag_length(self, head: bytes) -> tuple[int, int]:
        group, number, length = struct.unpack(self._order + "HHI", head)
        return group << 16 | number, length

    def elements(self, end: int | None, implicit: bool, depth: int) -> None:
        """Up to byte `end`, the item's delimiter, or at the top the data set's end (or its pixel data)."""
        if depth > DEPTH:
            raise BadDataSet(f"sequences stand more than {DEPTH} deep within each other")
        while end is None or self._at < end:
            head = self._take(8)
            if len(head) < 8:
                if depth:
                    raise BadDataSet("the data set ends within a sequence")
                return
            tag, length = self._tag_length(head)
            if tag in (ITEM_END, SEQUENCE_END):
                if depth:
                    return
                continue
            if not depth and ((tag >> 16 == PIXEL_GROUP and not self._pixels) or not head.strip(b"\0")):
                return
            vr = b""
            if not implicit and head[4:6].isalpha():
                vr = head[4:6]
                if vr in _LONG:
                    length = struct.unpack(self._order + "I", self._take(4))[0]
                else:
                    length = struct.unpack(self._order + "H", head[6:])[0]
            self._element(tag, vr, length, implicit, depth)

    def _element(self, tag: int, vr: bytes, length: int, implicit: bool, depth: int) -> None:
        of_pixels = tag >> 16 == PIXEL_GROUP  # also an icon's
        told = bool(tag & 0xFFFF) and tag != PADDING
        if not self._pixels:
            told = told and not of_pixels and tag not in MAY_DIFFER
        if not told or of_pixels:
            outer, self.hash = self.hash, self.hash if told else hashlib.blake2b()
            if length == UNDEFINED:
                self._items(None, implicit, depth, fragments=of_pixels)
            else:
                self._value(tag, vr, length)
            self.hash = outer
            return
        self.hash.update(struct.pack("<II", depth, tag))
        if length == UNDEFINED:
            self._items(None, implicit or vr in (b"UN", b""), depth)  # PS3.5 6.2.2 note 2
        elif vr == b"SQ" or (vr in (b"UN", b"") and self._sequence(tag, length)):
            self._items(self._at + length, implicit or vr != b"SQ", depth)
        else:
            self._value(tag, vr, length)

    def _sequence(self, tag: int, length: int) -> bool:
        if _vr(tag) == "SQ" or not length:
            return _vr(tag) == "SQ"
        start = self._take(4)
        self._back(len(start))
        return not _vr(tag) and start == (b"\xff\xfe\xe0\x00" if self._big else b"\xfe\xff\x00\xe0")

    def _items(self, end: int | None, implicit: bool, depth: int, fragments: bool = False) -> None:
        while end is None or self._at < end:
            head = self._take(8)
            if len(head) < 8:
                raise BadDataSet("the data set ends within a sequence")
            tag, length = self._tag_length(head)
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise BadDataSet("an element stands where an item should")
            self.hash.update(b"item")
            if fragments:
                self._value(tag, b"", length)
            else:
                self.elements(None if length == UNDEFINED else self._at + length, implicit, depth + 1)
        self.hash.update(b"end")

    def _value(self, tag: int, vr: bytes, length: int) -> None:
        value = b""
        left = length
        while left:
            piece = self._take(min(left, PIECE))
            if not piece:
                raise BadDataSet("the data set ends within an element")
            left -= len(piece)
            value = self._ordered(piece, vr)
            if length > STRIP_LIMIT:
                self.hash.update(value)
        if length <= STRIP_LIMIT:
            vr_there = _vr(tag)
            if vr_there in _PADDED:
                value = value.rstrip(b" \0")
            elif not vr_there and min(value, default=0) >= ord(" "):  # text, whatever it is
                value = value.rstrip(b" ")
            self.hash.update(struct.pack("<I", len(value)) + value)

    def _ordered(self, piece: bytes, vr: bytes) -> bytes:
        """Little endian; PIECE is a multiple of every word."""
        word = _WORD.get(vr, 1) if self._big else 1
        if word == 1 or len(piece) % word:
            return piece
        swapped = bytearray(len(piece))
        for place in range(word):
            swapped[place::word] = piece[word - 1 - place :: word]
        return bytes(swapped)
