"""The index's tables (SQLAlchemy Core). Columns of DICOM attributes are named by their keywords.

A study row is a study of one patient identity, so one Study Instance UID under two patients is two rows.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

from pacskit.archive.header import INSTANCE_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS, VR_OF

SCHEMA_VERSION = 1
"""Kept in PRAGMA user_version; another one means: build the index again from the files."""

FOLDED = ("PatientName", "ReferringPhysicianName")
"""PN of the index: each has a column `<keyword>_folded` for matching without regard to case."""

metadata = MetaData()


def _attribute(keyword: str) -> Column[object]:
    if VR_OF[keyword] in ("IS", "US"):
        return Column(keyword, Integer)
    return Column(keyword, Text, nullable=False, default="")


def _counted() -> list[Column[object]]:
    """Kept by the writer: the first instance gives the attributes, the last one the receipt."""
    return [
        Column("bytes", BigInteger, nullable=False),
        Column("instances", Integer, nullable=False),
        Column("first_ms", BigInteger, nullable=False),
        Column("first_uid", Text, nullable=False),
        Column("received_ms", BigInteger, nullable=False),
        Column("received_uid", Text, nullable=False),
        Column("received_from", Text, nullable=False),
    ]


study = Table(
    "study",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("identity", Text, nullable=False),
    *(_attribute(keyword) for keyword in STUDY_KEYWORDS),
    *(Column(f"{keyword}_folded", Text, nullable=False) for keyword in FOLDED),
    Column("modalities", Text, nullable=False, default=""),
    Column("series", Integer, nullable=False, default=0),
    Column("conflict", Text, nullable=False, default=""),
    *_counted(),
    UniqueConstraint("StudyInstanceUID", "identity"),
)
series = Table(
    "series",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("study_key", Integer, ForeignKey("study.key"), nullable=False),
    *(_attribute(keyword) for keyword in SERIES_KEYWORDS),
    *_counted(),
    UniqueConstraint("study_key", "SeriesInstanceUID"),
)
instance = Table(
    "instance",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("series_key", Integer, ForeignKey("series.key"), nullable=False),
    *(_attribute(keyword) for keyword in INSTANCE_KEYWORDS),
    Column("TransferSyntaxUID", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("received_from", Text, nullable=False),
    UniqueConstraint("SOPInstanceUID"),
)
Index("study_patient", study.c.PatientID, study.c.IssuerOfPatientID)
Index("study_date", study.c.StudyDate)
Index("study_name", study.c.PatientName_folded)
Index("series_uid", series.c.SeriesInstanceUID)
Index("instance_series", instance.c.series_key)
