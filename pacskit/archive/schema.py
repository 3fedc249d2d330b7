"""The index's tables (SQLAlchemy Core). Columns of DICOM attributes are named by their keywords.

A patient is an identity (see identity.py); a study row is a study of one patient, so one Study Instance UID
under two patients is two rows. A study has its own copy of the patient's attributes: the study root model
has them at its level (PS3.4 C.6.2.1), and they stay as that study's first instance says.
"""

from __future__ import annotations

from typing import Any, Literal

from pydicom.datadict import dictionary_VM, dictionary_VR
from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from pacskit.archive.header import INSTANCE_KEYWORDS, PATIENT_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS

SCHEMA_VERSION = 2
"""Kept in PRAGMA user_version; migration.py brings older ones to it."""

metadata = MetaData()

TYPES: dict[str, TypeEngine[Any]] = {"whole": Integer(), "real": Float(), "text": Text()}


def kind(keyword: str) -> Literal["whole", "real", "text"]:
    """How the index keeps an attribute. Several values are one text, with `\\` between them."""
    vr = dictionary_VR(keyword).partition(" or ")[0]
    if dictionary_VM(keyword) == "1":
        if vr in ("IS", "US", "SS", "UL", "SL", "UV", "SV"):
            return "whole"
        if vr in ("DS", "FL", "FD"):
            return "real"
    return "text"


def several(keyword: str) -> bool:
    """Whether its value multiplicity (PS3.6) allows more than one value."""
    return dictionary_VM(keyword) != "1"


def attribute(keyword: str) -> list[Column[object]]:
    """Its columns. PN have a second one, `<keyword>_folded`, for matching without regard to case."""
    if kind(keyword) != "text":
        return [Column(keyword, TYPES[kind(keyword)])]
    names = [keyword, f"{keyword}_folded"] if dictionary_VR(keyword) == "PN" else [keyword]
    return [Column(name, Text, nullable=False, server_default="") for name in names]


def _attributes(keywords: tuple[str, ...]) -> list[Column[object]]:
    return [column for keyword in keywords for column in attribute(keyword)]


def _counted() -> list[Column[object]]:
    """Kept by the writer: the first instance gives the attributes, the last one the receipt."""
    return [
        Column("instances", Integer, nullable=False, server_default="0"),
        Column("bytes", BigInteger, nullable=False, server_default="0"),
        Column("first_ms", BigInteger, nullable=False, server_default="0"),
        Column("first_uid", Text, nullable=False, server_default=""),
        Column("received_ms", BigInteger, nullable=False, server_default="0"),
        Column("received_uid", Text, nullable=False, server_default=""),
        Column("received_from", Text, nullable=False, server_default=""),
    ]


patient = Table(
    "patient",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("identity", Text, nullable=False),
    *_attributes(PATIENT_KEYWORDS),
    Column("studies", Integer, nullable=False, server_default="0"),
    Column("series", Integer, nullable=False, server_default="0"),
    *_counted(),
    UniqueConstraint("identity"),
)
study = Table(
    "study",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("patient_key", Integer, ForeignKey("patient.key"), nullable=False),
    *_attributes(STUDY_KEYWORDS),
    Column("modalities", Text, nullable=False, server_default=""),
    Column("series", Integer, nullable=False, server_default="0"),
    Column("conflict", Text, nullable=False, server_default=""),
    *_counted(),
    UniqueConstraint("StudyInstanceUID", "patient_key"),
)
series = Table(
    "series",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("study_key", Integer, ForeignKey("study.key"), nullable=False),
    *_attributes(SERIES_KEYWORDS),
    *_counted(),
    UniqueConstraint("study_key", "SeriesInstanceUID"),
)
instance = Table(
    "instance",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("series_key", Integer, ForeignKey("series.key"), nullable=False),
    *_attributes(INSTANCE_KEYWORDS),
    Column("TransferSyntaxUID", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("received_from", Text, nullable=False),
    Column("unread", Integer, nullable=False, server_default="0"),
    UniqueConstraint("SOPInstanceUID"),
)
extra_attribute = Table(
    "extra_attribute",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("name", Text, nullable=False),
)
"""What archive.extra_attributes said when the index was last opened to write."""

Index("patient_id", patient.c.PatientID)
Index("patient_name", patient.c.PatientName_folded)
Index("patient_received", patient.c.received_ms.desc())
_IDENTITY = [
    study.c[name] for name in ("PatientID", "IssuerOfPatientID", "PatientName_folded", "PatientBirthDate")
]
STUDY_ORDER: list[Any] = [study.c.received_ms.desc(), study.c.StudyInstanceUID, *_IDENTITY]
"""Received last first, and the same whenever it is asked."""
Index("study_identity", *_IDENTITY)
Index("study_patient", study.c.patient_key)
Index("study_date", study.c.StudyDate)
Index("study_accession", study.c.AccessionNumber)
# With all that the study list is ordered by: a page deep in it then needs no rows but its own.
Index("study_received", *STUDY_ORDER)
Index(
    "study_name",
    study.c.PatientName_folded,
    *(by for by in STUDY_ORDER if by is not study.c.PatientName_folded),
)
Index("series_uid", series.c.SeriesInstanceUID)
Index("series_modality", series.c.Modality, series.c.study_key)
Index("instance_series", instance.c.series_key)
_UNREAD = instance.c.unread == text("1")
Index("instance_unread", instance.c.key, sqlite_where=_UNREAD, postgresql_where=_UNREAD)
"""Files to be read again, for attributes that their rows have not: see reindex.py."""

LEVELS: dict[str, Table] = {"patient": patient, "study": study, "series": series, "instance": instance}
KEYWORDS_OF: dict[str, tuple[str, ...]] = {
    "patient": PATIENT_KEYWORDS,
    "study": STUDY_KEYWORDS,
    "series": SERIES_KEYWORDS,
    "instance": INSTANCE_KEYWORDS,
}
