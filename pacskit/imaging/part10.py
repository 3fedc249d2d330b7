"""Part 10 framing (PS3.10 7.1): the head before a data set, written and read. Knows nothing of an archive."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

IMPLEMENTATION_CLASS_UID = "2.25.329207046312866434164183543126364412561"
IMPLEMENTATION_VERSION_NAME = "PACSKIT_0.1"

PRIVATE_CREATOR_UID = IMPLEMENTATION_CLASS_UID
"""(0002,0100): says that (0002,0102) is ours."""

PREAMBLE = 128
AE_LENGTH = 16
"""Characters of an AE title (PS3.5 6.2); what is longer is cut, it may come from a hostile file."""
META_LIMIT = 1 << 20
"""Longest group 2 that is read, in bytes: a claimed length is no reason to take memory."""

_LONG_VRS = frozenset(
    (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV")
)


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "replace")


_PRIVATE_CREATOR = _element(0x0100, b"UI", _ascii(PRIVATE_CREATOR_UID))
_LENGTH = struct.Struct("<I")
_START = bytes(PREAMBLE) + b"DICM" + struct.pack("<HH2sH", 2, 0x0000, b"UL", 4)


def file_head(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    source_ae: str = "",
    sending_ae: str = "",
    receiving_ae: str = "",
    source_address: str = "",
    receiving_address: str = "",
    private: bytes = b"",
) -> bytes:
    """Preamble, `DICM` and group 2 (PS3.10 table 7.1-1), explicit VR little endian; the data set follows.

    AE titles go to (0002,0016)-(0018), presentation addresses to (0002,0026)-(0028), `private` to
    (0002,0102) under our creator UID; elements of empty arguments are left out.
    """
    before, after = _around_instance(
        sop_class_uid,
        transfer_syntax_uid,
        source_ae,
        sending_ae,
        receiving_ae,
        source_address,
        receiving_address,
    )
    body = before + _element(0x0003, b"UI", _ascii(sop_instance_uid)) + after
    if private:
        body += _PRIVATE_CREATOR + _element(0x0102, b"OB", private)
    return _START + _LENGTH.pack(len(body)) + body


@lru_cache(maxsize=256)
def _around_instance(
    sop_class_uid: str,
    transfer_syntax_uid: str,
    source_ae: str,
    sending_ae: str,
    receiving_ae: str,
    source_address: str,
    receiving_address: str,
) -> tuple[bytes, bytes]:
    """The elements that all instances of one sender have in common."""
    optional = (
        (0x0016, b"AE", source_ae),
        (0x0017, b"AE", sending_ae),
        (0x0018, b"AE", receiving_ae),
        (0x0026, b"UR", source_address),
        (0x0027, b"UR", source_address if sending_ae else ""),
        (0x0028, b"UR", receiving_address),
    )
    parts = [
        _element(0x0010, b"UI", _ascii(transfer_syntax_uid)),
        _element(0x0012, b"UI", _ascii(IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _ascii(IMPLEMENTATION_VERSION_NAME)),
    ]
    parts += [
        _element(number, vr, _ascii(value[:AE_LENGTH] if vr == b"AE" else value))
        for number, vr, value in optional
        if value
    ]
    before = _element(0x0001, b"OB", b"\0\1") + _element(0x0002, b"UI", _ascii(sop_class_uid))
    return before, b"".join(parts)


@dataclass(frozen=True, slots=True)
class FileHead:
    """Group 2 of a file as it stands there."""

    offset: int
    """Where the data set begins, in bytes from the file's start."""
    elements: dict[int, bytes] = field(default_factory=dict)
    """Element number of group 2 → raw value."""
    part10: bool = True
    """Whether the file has preamble and prefix."""

    def text(self, number: int) -> str:
        """The value without padding; empty where the element is missing."""
        return self.elements.get(number, b"").decode("ascii", "replace").strip(" \0")

    @property
    def transfer_syntax_uid(self) -> str:
        return self.text(0x0010)

    @property
    def private(self) -> bytes:
        """Our own private information; empty where it is missing or another's."""
        return self.elements.get(0x0102, b"") if self.text(0x0100) == PRIVATE_CREATOR_UID else b""


def read_head(start: bytes) -> FileHead:
    """Group 2 from the first bytes of a file (at most META_LIMIT are needed); without preamble from byte 0.

    Raises ValueError with a sentence where group 2 does not end within `start`.
    """
    part10 = start[PREAMBLE : PREAMBLE + 4] == b"DICM"
    position = PREAMBLE + 4 if part10 else 0
    elements: dict[int, bytes] = {}
    while start[position : position + 2] == b"\x02\x00":
        if position + 8 > len(start):
            raise ValueError("the file ends within its file meta information")
        _, number, vr, length = struct.unpack_from("<HH2sH", start, position)
        position += 8
        if not (vr.isalpha() and vr.isupper()):
            length = struct.unpack_from("<I", start, position - 4)[0]
        elif vr in _LONG_VRS:
            if position + 4 > len(start):
                raise ValueError("the file ends within its file meta information")
            length = struct.unpack_from("<I", start, position)[0]
            position += 4
        if position + length > len(start):
            raise ValueError("the file ends within its file meta information")
        elements[number] = start[position : position + length]
        position += length
    return FileHead(position, elements, part10)
