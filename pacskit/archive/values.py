"""One attribute's raw value becomes text or a number, by its VR and the data set's character set."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any

from pydicom import charset, config
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

How = tuple[tuple[str, ...], bool]
"""(Python's names of the character sets, whether binary numbers are big endian)"""

_INTEGER_LIMIT = 1 << 31
_REMEMBERED = 128
"""Bytes of a raw value that is remembered with its text; longer ones would fill memory."""
_ISO = re.compile(r"\AISO[ _-]?(2022)?[ _-]?IR[ _-]?(\d+)\Z", re.IGNORECASE)
_CONTROL = re.compile("[\0-\x1f\x7f]")
_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}


def vr_of(keyword: str) -> str:
    """The VR of the dictionary, the first one where there is a choice (PS3.6 6); `US+`: several numbers."""
    vr = dictionary_VR(keyword).partition(" or ")[0]
    return f"{vr}+" if vr in _NUMBERS and dictionary_VM(keyword) != "1" else vr


def _spelt(found: re.Match[str]) -> str:
    return f"ISO 2022 IR {found[2]}" if found[1] else f"ISO_IR {found[2]}"


@lru_cache(maxsize=256)
def encodings(raw: bytes) -> tuple[str, ...]:
    """Python's names for a Specific Character Set (PS3.3 C.12.1.1.2).

    Misspelt ones are mended here and unknown ones left out, since pydicom would warn of them on stderr, in
    the peer's own words, from the association's thread.
    """
    text = raw.decode("ascii", "replace").strip(" \0")
    terms = [_ISO.sub(_spelt, term.strip()) for term in text.split("\\")]
    known = [term for term in terms if term in charset.python_encoding]
    try:
        return tuple(charset.convert_encodings(known or None))
    except (LookupError, ValueError):
        return ("latin-1",)


def value(raw: bytes, vr: str, how: How) -> Any:
    """Text (several values with `\\` between them), or a number or None for IS and binary numbers."""
    return (_again if len(raw) <= _REMEMBERED else decoded)(raw, vr, how)


def decoded(raw: bytes, vr: str, how: How) -> Any:
    """As `value`, worked out each time."""
    code = _NUMBERS.get(vr[:2])
    if code is not None:
        return _numbers(raw, (">" if how[1] else "<") + code, vr[2:] == "+")
    if vr == "PN":
        name = PersonName(raw, list(how[0]), validation_mode=config.IGNORE)
        return clean("=".join(name.components))
    if vr in _TEXT:
        return clean(charset.decode_bytes(raw, list(how[0]), TEXT_VR_DELIMS))
    if vr == "UI":  # a NUL pads at the end; within, it must not vanish and leave a UID behind
        return _CONTROL.sub("?", raw.decode("ascii", "replace").rstrip(" \0").lstrip(" "))
    text = clean(raw.decode("ascii", "replace"))
    if vr == "IS":
        return _integer(text)
    return _date(text) if vr == "DA" else text


_again: Callable[[bytes, str, How], Any] = lru_cache(maxsize=4096)(decoded)


def _numbers(raw: bytes, code: str, several: bool) -> Any:
    """The number, or the text of several; None where there is none."""
    whole = len(raw) - len(raw) % struct.calcsize(code)
    numbers = [number for (number,) in struct.iter_unpack(code, raw[:whole])]
    if several and len(numbers) > 1:
        return "\\".join(map(str, numbers))
    return numbers[0] if numbers else None


def clean(text: str) -> str:
    """Without control characters and what UTF-8 cannot hold."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return _CONTROL.sub("", text).strip(" ")


def _integer(text: str) -> int | None:
    """IS (PS3.5 6.2): within 32 bits; anything else is no number to sort by."""
    try:
        number = int(float(text.partition("\\")[0]))
    except (ValueError, OverflowError):
        return None
    return number if -_INTEGER_LIMIT <= number < _INTEGER_LIMIT else None


def _date(text: str) -> str:
    """YYYYMMDD; the old form YYYY.MM.DD (PS3.5 6.2) is brought to it, no date of the calendar is empty."""
    digits = text.replace(".", "")[:8]
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return ""
    return digits if digits.isascii() and digits.isdigit() else ""
