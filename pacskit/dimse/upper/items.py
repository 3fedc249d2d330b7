"""Items of the association PDUs: type, reserved byte, length, value (PS3.8 9.3.1).

Every length is checked against what contains it: what is cut or lies is a ProtocolError, never another error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

from pacskit.dimse.upper.errors import INVALID_PARAMETER_VALUE, ProtocolError

LONGEST_UID = 64
"""Characters (PS3.5 9.1)."""

_HEADER = struct.Struct(">BxH")
_UNSIGNED_16 = struct.Struct(">H")


def invalid(sentence: str) -> ProtocolError:
    """The error for a field whose value cannot be right."""
    return ProtocolError(INVALID_PARAMETER_VALUE, sentence)


def item(kind: int, value: bytes, *, version: int = 0) -> bytes:
    """Encode one item. Raises ValueError for a value of more than 65535 bytes."""
    if len(value) > 0xFFFF:
        raise ValueError(f"item {kind:02X}H would have {len(value)} bytes; its length field holds 65535")
    return struct.pack(">BBH", kind, version, len(value)) + value


def items(data: bytes, start: int, end: int, parent: str) -> Iterator[tuple[int, int, int]]:
    """The items in `data[start:end]` as (type, start of the value, end of the value)."""
    unpack = _HEADER.unpack_from
    while start < end:
        if end - start < 4:
            raise invalid(
                f"an item in the {parent} is cut: {end - start} bytes are left for its 4 byte header"
            )
        kind, length = unpack(data, start)
        start += 4
        if length > end - start:
            raise invalid(f"item {kind:02X}H claims {length} bytes, the {parent} has {end - start} left")
        yield kind, start, start + length
        start += length


def counted(data: bytes, start: int, end: int, what: str) -> tuple[bytes, int]:
    """A value after its 16 bit length; gives the value and where it ends."""
    if end - start < 2:
        raise invalid(f"the length of the {what} is cut")
    length: int = _UNSIGNED_16.unpack_from(data, start)[0]
    start += 2
    if length > end - start:
        raise invalid(f"the {what} claims {length} bytes, its item has {end - start} left")
    return data[start : start + length], start + length


def prefixed(value: bytes, what: str) -> bytes:
    """A value with its 16 bit length before it. Raises ValueError where that is too small for it."""
    if len(value) > 0xFFFF:
        raise ValueError(f"the {what} has {len(value)} bytes; its length field holds 65535")
    return _UNSIGNED_16.pack(len(value)) + value


def decode_uid(value: bytes) -> str:
    """A UID, without the padding some peers give it (PS3.8 F allows none)."""
    if len(value) > LONGEST_UID:
        value = value.rstrip(b"\0 ")
        if len(value) > LONGEST_UID:
            raise invalid(f"a UID of {len(value)} bytes; the longest allowed has {LONGEST_UID} (PS3.5 9.1)")
    return _decoded_uid(value)


@lru_cache(maxsize=4096)
def _decoded_uid(value: bytes) -> str:
    uid = value.rstrip(b"\0 ").decode("latin-1")
    if not (uid.isascii() and uid.isprintable()):
        raise invalid(f"a UID with characters that no UID has: {uid!r}")
    return uid


def decode_title(value: bytes, what: str) -> str:
    """An AE title, without padding. Lossless for what is not ASCII but printable."""
    text = value.split(b"\0", 1)[0].decode("latin-1").strip(" ")
    if not text.isprintable():
        raise invalid(f"the {what} has control characters: {text!r}")
    return text


def decode_name(value: bytes) -> str:
    """A version name, which nothing depends on: control characters become question marks."""
    text = value.split(b"\0", 1)[0].decode("latin-1").strip(" ")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def encode_text(text: str, longest: int, what: str) -> bytes:
    """The bytes of a title or name. Raises ValueError where it is too long or has characters DICOM lacks."""
    try:
        value = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"the {what} {text!r} has characters that DICOM does not allow in it") from error
    if len(value) > longest:
        raise ValueError(f"the {what} {text!r} has {len(value)} characters; {longest} are allowed")
    return value
