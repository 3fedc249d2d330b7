"""The indexed attributes of one instance, read from its data set and decoded by its character set."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any

from pydicom import charset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

from pacskit.archive.elements import BIG_ENDIAN, BadDataSet, Read, walk
from pacskit.archive.uids import STATUS_MISMATCH, check_uid
from pacskit.errors import Refused
from pacskit.imaging.part10 import FileHead

STATUS_CANNOT_UNDERSTAND = 0xC000

STUDY_KEYWORDS = (
    *("StudyInstanceUID", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription", "ReferringPhysicianName"),
    *("PatientAge", "InstitutionName"),
)
SERIES_KEYWORDS = (
    *("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime"),
    *(
        "BodyPartExamined",
        "ProtocolName",
        "Laterality",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
    ),
    "FrameOfReferenceUID",
)
INSTANCE_KEYWORDS = (
    *("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "AcquisitionNumber", "NumberOfFrames"),
    *("Rows", "Columns", "ContentDate", "ContentTime", "ImageType"),
)
KEYWORDS = (*STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS)
VR_OF = {keyword: dictionary_VR(keyword) for keyword in KEYWORDS}
_CHARACTER_SET = 0x00080005
_TAGS = {int(tag_for_keyword(keyword) or 0): keyword for keyword in KEYWORDS}
_WANTED = frozenset((*_TAGS, _CHARACTER_SET))
_INTEGER_LIMIT = 1 << 31
_MILLISECONDS_LIMIT = 9_000_000_000_000
"""In the year 2255: nanoseconds in 64 bits, as pandas counts, end a little later."""
_ISO = re.compile(r"\AISO[ _-]?(2022)?[ _-]?IR[ _-]?(\d+)\Z", re.IGNORECASE)
_CONTROL = re.compile("[\0-\x1f\x7f]")
_TEXT = frozenset(("LO", "SH", "ST", "LT", "UT", "UC"))

Attributes = dict[str, Any]
"""DICOM keyword → str (empty where missing), or int/None for IS and US."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """From whom an instance came, and when."""

    calling_ae: str = ""
    called_ae: str = ""
    address: str = ""
    """The peer's presentation address (PS3.10 7.1, a URI): dicom://host:port."""
    receiving_address: str = ""
    received_at: float
    """Unix time in seconds, kept to the millisecond."""
    imported: bool = False

    @property
    def received_from(self) -> str:
        """The calling AE title, or `import`."""
        return "import" if self.imported else self.calling_ae

    @property
    def received_ms(self) -> int:
        return round(self.received_at * 1000)

    def private(self) -> bytes:
        """What stands in (0002,0102), so that the index can be built again."""
        content = {"received_ms": self.received_ms, "received_from": self.received_from}
        return json.dumps(content, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class Header:
    """What the index knows of one instance."""

    attributes: Attributes
    transfer_syntax_uid: str
    received_ms: int = 0
    received_from: str = ""
    issues: tuple[str, ...] = field(default=())

    @property
    def sop_instance_uid(self) -> str:
        return str(self.attributes["SOPInstanceUID"])

    @property
    def series_uid(self) -> str:
        return str(self.attributes["SeriesInstanceUID"])

    @property
    def study_uid(self) -> str:
        return str(self.attributes["StudyInstanceUID"])


def receipt(head: FileHead, fallback_ms: int) -> tuple[int, str]:
    """(received at in ms, received from) as the file's meta says; else its AE title, `fallback_ms`."""
    if head.private:
        try:
            content = json.loads(head.private.rstrip(b"\0 "))
            received_ms, received_from = int(content["received_ms"]), _clean(str(content["received_from"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            pass  # somebody wrote there who is not us
        else:
            if 0 <= received_ms < _MILLISECONDS_LIMIT:
                return received_ms, received_from
    return min(max(fallback_ms, 0), _MILLISECONDS_LIMIT), head.text(0x0016) or head.text(0x0017)


def read_attributes(read: Read, offset: int, size: int, transfer_syntax_uid: str) -> Attributes:
    """The indexed attributes of the data set in bytes `offset` to `size` of a file.

    Raises Refused C000 where the data set is empty, cut or not what its transfer syntax says, and A900
    where SOP class, SOP instance, series or study has no UID that PS3.5 9.1 allows.
    """
    try:
        raw = walk(read, offset, size, transfer_syntax_uid, _WANTED)
    except BadDataSet as error:
        raise Refused(STATUS_CANNOT_UNDERSTAND, str(error)) from error
    encodings = _encodings(raw.get(_CHARACTER_SET, b"").decode("ascii", "replace").strip(" \0"))
    order = "big" if transfer_syntax_uid == BIG_ENDIAN else "little"
    found: Attributes = {}
    for tag, keyword in _TAGS.items():
        found[keyword] = _value(raw.get(tag, b""), VR_OF[keyword], encodings, order)
    for keyword, what in (
        ("SOPClassUID", "SOP Class UID"),
        ("SOPInstanceUID", "SOP Instance UID"),
        ("StudyInstanceUID", "Study Instance UID"),
        ("SeriesInstanceUID", "Series Instance UID"),
    ):
        check_uid(found[keyword], what)
    return found


def check_command(attributes: Attributes, sop_class_uid: str, sop_instance_uid: str) -> None:
    """PS3.7 9.1.1.1: the Affected SOP UIDs are those of the data set; otherwise Refused A900."""
    if attributes["SOPInstanceUID"] != sop_instance_uid:
        raise Refused(STATUS_MISMATCH, "the SOP Instance UID of the data set is not that of the command")
    if attributes["SOPClassUID"] != sop_class_uid:
        raise Refused(STATUS_MISMATCH, "the SOP Class UID of the data set is not that of the command")


def _spelt(found: re.Match[str]) -> str:
    return f"ISO 2022 IR {found[2]}" if found[1] else f"ISO_IR {found[2]}"


@lru_cache(maxsize=256)
def _encodings(value: str) -> tuple[str, ...]:
    """Python's names for a Specific Character Set (PS3.3 C.12.1.1.2).

    Misspelt ones are mended here and unknown ones left out, since pydicom would warn of them on stderr, in
    the peer's own words, from the association's thread.
    """
    terms = [_ISO.sub(_spelt, term.strip()) for term in value.split("\\")]
    known = [term for term in terms if term in charset.python_encoding]
    try:
        return tuple(charset.convert_encodings(known or None))
    except (LookupError, ValueError):
        return ("latin-1",)


def _value(raw: bytes, vr: str, encodings: tuple[str, ...], order: str) -> Any:
    if vr == "US":
        return int.from_bytes(raw[:2], "big" if order == "big" else "little") if len(raw) >= 2 else None
    if vr == "PN":
        name = PersonName(raw, list(encodings), validation_mode=config.IGNORE)
        return _clean("=".join(name.components))
    if vr in _TEXT:
        return _clean(charset.decode_bytes(raw, list(encodings), TEXT_VR_DELIMS))
    if vr == "UI":  # a NUL pads at the end; within, it must not vanish and leave a UID behind
        return _CONTROL.sub("?", raw.decode("ascii", "replace").rstrip(" \0").lstrip(" "))
    text = _clean(raw.decode("ascii", "replace"))
    if vr == "IS":
        return _integer(text)
    return _date(text) if vr == "DA" else text


def _clean(text: str) -> str:
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
