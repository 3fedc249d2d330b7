"""The indexed attributes of one instance, read from its data set and decoded by its character set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any

from pydicom.datadict import tag_for_keyword

from pacskit.archive.elements import BIG_ENDIAN, BadDataSet, Read, walk
from pacskit.archive.uids import STATUS_MISMATCH, check_uid
from pacskit.archive.values import How, clean, encodings, value, vr_of
from pacskit.errors import Refused
from pacskit.imaging.part10 import FileHead

STATUS_CANNOT_UNDERSTAND = 0xC000

PATIENT_KEYWORDS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex"),
    *("OtherPatientIDs", "OtherPatientNames", "EthnicGroup", "PatientComments"),
)
"""PS3.4 C.6.1.1.2, without sequences; those of the other levels: C.6.1.1.3 to C.6.1.1.5."""
STUDY_KEYWORDS = (
    "StudyInstanceUID",
    *PATIENT_KEYWORDS,  # in the study root model they stand at this level (C.6.2.1)
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription", "ReferringPhysicianName"),
    *("NameOfPhysiciansReadingStudy", "AdmittingDiagnosesDescription", "PatientAge", "PatientSize"),
    *("PatientWeight", "Occupation", "AdditionalPatientHistory", "InstitutionName"),
)
SERIES_KEYWORDS = (
    *("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime"),
    *("BodyPartExamined", "ProtocolName", "Laterality", "Manufacturer", "ManufacturerModelName"),
    *("StationName", "FrameOfReferenceUID", "OperatorsName", "PerformingPhysicianName"),
    *("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)
INSTANCE_KEYWORDS = (
    *("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "AcquisitionNumber", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "ContentDate", "ContentTime", "ImageType", "ContainerIdentifier"),
)
KEYWORDS = (*STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS)
VR_OF = {keyword: vr_of(keyword) for keyword in KEYWORDS}
_CHARACTER_SET = 0x00080005
_SHARED_KEYWORDS = (
    *(*STUDY_KEYWORDS, *SERIES_KEYWORDS),
    *("SOPClassUID", "AcquisitionNumber", "NumberOfFrames", "Rows", "Columns", "BitsAllocated"),
    *("ContentDate", "ImageType", "ContainerIdentifier"),
)
"""Mostly alike in a series; where one is not, the cost is a few microseconds."""
_SHARED_LENGTH = 1 << 13
"""Bytes of raw values that are worth remembering; longer ones would fill memory."""
_MILLISECONDS_LIMIT = 9_000_000_000_000
"""In the year 2255: nanoseconds in 64 bits, as pandas counts, end a little later."""
Attributes = dict[str, Any]
"""DICOM keyword → str (empty where missing), or a number or None for IS and binary numbers."""


def _tag(keyword: str) -> int:
    return int(tag_for_keyword(keyword) or 0)


_SHARED_TAGS = tuple(_tag(keyword) for keyword in _SHARED_KEYWORDS)


@lru_cache(maxsize=256)
def _quoted(text: str) -> str:
    return json.dumps(text)


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

    def private(self, size: int = -1) -> bytes:
        """What stands in (0002,0102), so that the index can be built again: a JSON object.

        `size`: bytes of the data set, where they are known; a file that was cut by a kill has fewer.
        """
        more = f',"size":{size}' if size >= 0 else ""
        who = _quoted(self.received_from)
        return f'{{"received_ms":{self.received_ms},"received_from":{who}{more}}}'.encode("ascii")


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


def private_of(head: FileHead) -> dict[str, Any]:
    """What `Origin.private` wrote into a file; empty where another wrote there, or nobody."""
    try:
        content = json.loads(head.private.rstrip(b"\0 "))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def size_of(head: FileHead) -> int | None:
    """Bytes of the data set that stand in the file; None where it was stored without knowing them."""
    try:
        return int(private_of(head)["size"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def receipt(head: FileHead, fallback_ms: int) -> tuple[int, str]:
    """(received at in ms, received from) as the file's meta says; else its AE title, `fallback_ms`."""
    content = private_of(head)
    try:
        received_ms, received_from = int(content["received_ms"]), clean(str(content["received_from"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        pass  # somebody wrote there who is not us
    else:
        if 0 <= received_ms < _MILLISECONDS_LIMIT:
            return received_ms, received_from
    return min(max(fallback_ms, 0), _MILLISECONDS_LIMIT), head.text(0x0016) or head.text(0x0017)


def read_attributes(
    read: Read, offset: int, size: int, transfer_syntax_uid: str, extra: tuple[str, ...] = ()
) -> Attributes:
    """The indexed attributes of the data set in bytes `offset` to `size` of a file; `extra`: more keywords.

    Raises Refused C000 where the data set is empty, cut or not what its transfer syntax says, and A900
    where SOP class, SOP instance, series or study has no UID that PS3.5 9.1 allows.
    """
    plan = _plan(extra)
    try:
        raw = walk(read, offset, size, transfer_syntax_uid, plan.wanted)
    except BadDataSet as error:
        raise Refused(STATUS_CANNOT_UNDERSTAND, str(error)) from error
    get = raw.get
    how: How = (encodings(get(_CHARACTER_SET, b"")), transfer_syntax_uid == BIG_ENDIAN)
    shared = tuple(map(get, _SHARED_TAGS, repeat(b"")))
    remembered = len(b"".join(shared)) <= _SHARED_LENGTH
    found = (_shared if remembered else _shared.__wrapped__)(shared, how).copy()
    for tag, keyword, vr in plan.own:
        found[keyword] = value(get(tag, b""), vr, how)
    check_uid(found["SOPInstanceUID"], "SOP Instance UID")
    return found


@dataclass(frozen=True)
class _Plan:
    wanted: frozenset[int]
    own: tuple[tuple[int, str, str], ...]
    """(tag, keyword, VR) of what is looked at for each instance anew."""


@lru_cache(maxsize=64)
def _plan(extra: tuple[str, ...]) -> _Plan:
    keywords = [keyword for keyword in (*INSTANCE_KEYWORDS, *extra) if keyword not in _SHARED_KEYWORDS]
    own = tuple((_tag(keyword), keyword, vr_of(keyword)) for keyword in keywords)
    return _Plan(frozenset((_CHARACTER_SET, *_SHARED_TAGS, *(tag for tag, _, _ in own))), own)


@lru_cache(maxsize=256)
def _shared(raw: tuple[bytes, ...], how: How) -> Attributes:
    """What the instances of one series mostly have in common, decoded once for all. Not to be changed."""
    found = {
        keyword: value(one, VR_OF[keyword], how) for one, keyword in zip(raw, _SHARED_KEYWORDS, strict=True)
    }
    check_uid(found["SOPClassUID"], "SOP Class UID")
    check_uid(found["StudyInstanceUID"], "Study Instance UID")
    check_uid(found["SeriesInstanceUID"], "Series Instance UID")
    return found


def check_command(attributes: Attributes, sop_class_uid: str, sop_instance_uid: str) -> None:
    """PS3.7 9.1.1.1: the Affected SOP UIDs are those of the data set; otherwise Refused A900."""
    if attributes["SOPInstanceUID"] != sop_instance_uid:
        raise Refused(STATUS_MISMATCH, "the SOP Instance UID of the data set is not that of the command")
    if attributes["SOPClassUID"] != sop_class_uid:
        raise Refused(STATUS_MISMATCH, "the SOP Class UID of the data set is not that of the command")
