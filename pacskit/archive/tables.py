"""Answers of the index as typed DataFrames; columns it has not are read from the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
from pydicom.datadict import dictionary_VR
from sqlalchemy import ColumnElement, func, select

from pacskit.archive.index import IndexReader
from pacskit.archive.query import LEVELS, check_keyword, check_level, home, where
from pacskit.archive.schema import instance, series, study
from pacskit.errors import UnknownUID

STUDY_COLUMNS = (
    *("study_uid", "patient_id", "patient_name", "study_date", "study_description", "modalities"),
    *("series", "instances", "bytes", "received_at", "received_from", "conflict"),
)
SERIES_COLUMNS = (
    *("series_uid", "study_uid", "patient_id", "patient_name", "study_date", "modality", "series_number"),
    *("series_description", "instances", "bytes", "received_at", "received_from", "conflict"),
)
INSTANCE_COLUMNS = (
    *("sop_instance_uid", "series_uid", "study_uid", "sop_class_uid", "instance_number", "number_of_frames"),
    *("transfer_syntax_uid", "bytes", "received_at", "received_from", "path"),
)
DEFAULT_COLUMNS = {"study": STUDY_COLUMNS, "series": SERIES_COLUMNS, "instance": INSTANCE_COLUMNS}
UID_COLUMNS = {
    "study": ("study_uid",),
    "series": ("series_uid", "study_uid"),
    "instance": ("sop_instance_uid", "series_uid", "study_uid"),
}
_KEYWORD_OF = {
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "series_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "series_number": "SeriesNumber",
    "series_description": "SeriesDescription",
    "sop_instance_uid": "SOPInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "instance_number": "InstanceNumber",
    "number_of_frames": "NumberOfFrames",
    "transfer_syntax_uid": "TransferSyntaxUID",
}
_STUDY_ONLY = ("modalities", "conflict")
_COUNTS = ("series", "instances", "bytes")
_WHOLE = frozenset(("IS", "US", "SS", "UL", "SL", "UV", "SV"))
_REAL = frozenset(("DS", "FL", "FD"))


def studies(index: IndexReader, query: Mapping[str, Any]) -> pd.DataFrame:
    """The columns of STUDY_COLUMNS; received last first."""
    return table(index, None, "study", None, query)


def table(
    index: IndexReader,
    folder: Path | None,
    level: str,
    columns: Sequence[str] | None,
    query: Mapping[str, Any],
) -> pd.DataFrame:
    """See `Archive.table`. Columns: names of DEFAULT_COLUMNS or DICOM keywords; the row's UIDs come first.

    text str; IS, US and their like Int64 (nullable); DS, FL, FD float64; DA datetime64[s]; received_at
    datetime64[ns, UTC]; counts int64; several values in one element: a tuple.
    """
    check_level(level)
    names = (
        list(DEFAULT_COLUMNS[level])
        if columns is None
        else list(dict.fromkeys((*UID_COLUMNS[level], *columns)))
    )
    indexed: dict[str, ColumnElement[Any]] = {}
    from_files: list[str] = []
    for name in names:
        column = _column(level, name)
        if column is None:
            from_files.append(name)
        else:
            indexed[name] = column
    conditions = where(level, query)
    chosen = [column.label(f"c{number}") for number, column in enumerate(indexed.values())]
    statement = select(*chosen, LEVELS[level].c.key.label("row_key")).select_from(_joined(level))
    statement = statement.where(*conditions).order_by(*_order(level))
    with index.connect() as connection:
        rows = connection.execute(statement).all()
        paths = _first_paths(connection, level, [row.row_key for row in rows]) if from_files else {}
    found: dict[str, pd.Series[Any]] = {}
    for number, name in enumerate(indexed):
        found[name] = _typed(name, [row[number] for row in rows], folder)
    if from_files and folder is not None:
        values = [_read(folder / paths[row.row_key], from_files) for row in rows]
        for name in from_files:
            found[name] = _typed(name, [value[name] for value in values], folder)
    return pd.DataFrame({name: found[name] for name in names})


def series_paths(index: IndexReader, folder: Path, series_uid: str) -> list[Path]:
    """By instance number, then UID. Raises UnknownUID."""
    statement = (
        select(instance.c.path)
        .join(series, instance.c.series_key == series.c.key)
        .where(series.c.SeriesInstanceUID == series_uid)
        .order_by(instance.c.InstanceNumber, instance.c.SOPInstanceUID)
    )
    with index.connect() as connection:
        paths = connection.execute(statement).scalars().all()
    if not paths:
        raise UnknownUID(f"no series {series_uid} in the archive {folder}")
    return [folder / path for path in paths]


def study_of(index: IndexReader, series_uid: str) -> str:
    """Raises UnknownUID."""
    statement = select(study.c.StudyInstanceUID).join(series, series.c.study_key == study.c.key)
    with index.connect() as connection:
        found = (
            connection.execute(statement.where(series.c.SeriesInstanceUID == series_uid)).scalars().first()
        )
    if found is None:
        raise UnknownUID(f"no series {series_uid} in this archive")
    return str(found)


def _joined(level: str) -> Any:
    joined: Any = study
    if level != "study":
        joined = joined.join(series, series.c.study_key == study.c.key)
    if level == "instance":
        joined = joined.join(instance, instance.c.series_key == series.c.key)
    return joined


def _order(level: str) -> list[Any]:
    by_study: list[Any] = [study.c.received_ms.desc(), study.c.StudyInstanceUID, study.c.identity]
    if level == "study":
        return by_study
    by_series = [*by_study, series.c.SeriesNumber, series.c.SeriesInstanceUID]
    return (
        by_series if level == "series" else [*by_series, instance.c.InstanceNumber, instance.c.SOPInstanceUID]
    )


def _column(level: str, name: str) -> ColumnElement[Any] | None:
    """The index's column; None for a keyword that has to be read from files. Raises ValueError."""
    own = LEVELS[level]
    if name == "received_at":
        return own.c.received_ms
    if name in _STUDY_ONLY:
        return study.c[name]
    if name in (*_COUNTS, "received_from", "path") and name in own.c:
        return own.c[name]
    keyword = _KEYWORD_OF.get(name, name)
    check_keyword(keyword)
    there = home(keyword)
    if there is not None and list(LEVELS.values()).index(there) <= check_level(level):
        return there.c[keyword]
    return None


def _first_paths(connection: Any, level: str, keys: list[int]) -> dict[int, str]:
    """Row key → the file its other columns are read from: the lowest instance number."""
    if level == "instance":
        statement = select(instance.c.key, instance.c.path)
        return {row.key: row.path for row in connection.execute(statement).all()}
    of = series.c.key if level == "series" else series.c.study_key
    order = (series.c.SeriesNumber, series.c.key, instance.c.InstanceNumber, instance.c.SOPInstanceUID)
    rank = func.row_number().over(partition_by=of, order_by=order).label("rank")
    ranked = (
        select(of.label("of"), instance.c.path, rank)
        .join(series, instance.c.series_key == series.c.key)
        .subquery()
    )
    wanted = set(keys)
    rows = connection.execute(select(ranked.c.of, ranked.c.path).where(ranked.c.rank == 1)).all()
    return {row.of: row.path for row in rows if row.of in wanted}


def _read(path: Path, names: list[str]) -> dict[str, Any]:
    keywords = [_KEYWORD_OF.get(name, name) for name in names]
    try:
        with pydicom.dcmread(path, stop_before_pixels=True, specific_tags=keywords) as dataset:
            return {name: _plain(dataset.get(keyword)) for name, keyword in zip(names, keywords, strict=True)}
    except Exception:  # noqa: BLE001 - pydicom raises many kinds; one damaged file leaves its cells empty
        return dict.fromkeys(names)


def _plain(value: Any) -> Any:
    """Values of pydicom without their classes; None where there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, pydicom.multival.MultiValue | list) and not isinstance(value, pydicom.Sequence):
        return tuple(_plain(one) for one in value) or None
    if isinstance(value, float | int):
        return value
    if isinstance(value, pydicom.valuerep.DSdecimal):
        return float(value)
    return str(value) if not isinstance(value, bytes | pydicom.Sequence) else value


def _typed(name: str, values: list[Any], folder: Path | None) -> pd.Series[Any]:
    if name in _COUNTS:
        return pd.Series(values, dtype="int64")
    if name == "received_at":
        return pd.to_datetime(pd.Series(values, dtype="int64"), unit="ms", utc=True).astype(
            "datetime64[ns, UTC]"
        )
    if name == "path":
        return pd.Series([str(folder / value) if folder else value for value in values], dtype="str")
    keyword = _KEYWORD_OF.get(name)
    vr = "UT" if name in (*_STUDY_ONLY, "received_from") else dictionary_VR(keyword or name)
    if any(isinstance(value, tuple | list | bytes) for value in values):
        return pd.Series(values, dtype="object")
    if vr in _WHOLE:
        return pd.Series([None if value is None else int(value) for value in values], dtype="Int64")
    if vr in _REAL:
        return pd.Series([None if value is None else float(value) for value in values], dtype="float64")
    if vr == "DA":
        texts = pd.Series(["" if value is None else str(value) for value in values], dtype="str")
        return pd.to_datetime(texts, format="%Y%m%d", errors="coerce").astype("datetime64[s]")
    return pd.Series(["" if value is None else str(value) for value in values], dtype="str")
