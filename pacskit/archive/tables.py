"""Answers of the index as typed DataFrames; columns it has not are read from the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
from pydicom.datadict import dictionary_VR, keyword_dict
from sqlalchemy import ColumnElement, func, select

from pacskit.archive.index import IndexReader
from pacskit.archive.query import Catalogue, check_keyword, check_level, where
from pacskit.archive.schema import LEVELS, STUDY_ORDER, instance, patient, series, study
from pacskit.errors import UnknownUID

PATIENT_COLUMNS = (
    *("patient_id", "issuer_of_patient_id", "patient_name", "patient_birth_date", "patient_sex"),
    *("studies", "series", "instances", "bytes", "received_at", "received_from"),
)
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
DEFAULT_COLUMNS = {
    "patient": PATIENT_COLUMNS,
    "study": STUDY_COLUMNS,
    "series": SERIES_COLUMNS,
    "instance": INSTANCE_COLUMNS,
}
UID_COLUMNS = {
    "patient": ("patient_id", "issuer_of_patient_id"),
    "study": ("study_uid",),
    "series": ("series_uid", "study_uid"),
    "instance": ("sop_instance_uid", "series_uid", "study_uid"),
}
_KEYWORD_OF = {
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
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
_COUNTS = ("studies", "series", "instances", "bytes")
_COUNT_OF = {
    "NumberOfPatientRelatedStudies": patient.c.studies,
    "NumberOfPatientRelatedSeries": patient.c.series,
    "NumberOfPatientRelatedInstances": patient.c.instances,
    "NumberOfStudyRelatedSeries": study.c.series,
    "NumberOfStudyRelatedInstances": study.c.instances,
    "NumberOfSeriesRelatedInstances": series.c.instances,
}
_WHOLE = frozenset(("IS", "US", "SS", "UL", "SL", "UV", "SV"))
_REAL = frozenset(("DS", "FL", "FD"))
_KEYS_A_STATEMENT = 500


def studies(
    index: IndexReader,
    query: Mapping[str, Any],
    *,
    limit: int | None = None,
    offset: int = 0,
    order_by: Sequence[str] = (),
) -> pd.DataFrame:
    """The columns of STUDY_COLUMNS; received last first, or as `table` orders."""
    return table(index, None, "study", None, query, limit=limit, offset=offset, order_by=order_by)


def count(index: IndexReader, level: str, query: Mapping[str, Any]) -> int:
    """How many rows `table` has. Raises ValueError."""
    with index.connect() as connection:
        catalogue = Catalogue(level, index.extra(connection))
        statement = select(func.count()).select_from(_joined(catalogue)).where(*where(catalogue, query))
        return int(connection.execute(statement).scalar_one())


def table(
    index: IndexReader,
    folder: Path | None,
    level: str,
    columns: Sequence[str] | None,
    query: Mapping[str, Any],
    *,
    limit: int | None = None,
    offset: int = 0,
    order_by: Sequence[str] = (),
) -> pd.DataFrame:
    """See `Archive.table`. Columns: names of DEFAULT_COLUMNS or DICOM keywords; the row's UIDs come first.

    text str; IS, US and their like Int64 (nullable); DS, FL, FD float64; DA datetime64[s]; received_at
    datetime64[ns, UTC]; counts int64; several values in one element: a tuple. `order_by`: columns that are in
    the index, `-` before one for the other way round; then received last first. `limit` rows after `offset`.
    """
    with index.connect() as connection:
        catalogue = Catalogue(level, index.extra(connection))
        names = (
            list(DEFAULT_COLUMNS[level])
            if columns is None
            else list(dict.fromkeys((*UID_COLUMNS[level], *columns)))
        )
        found_columns = {name: _column(catalogue, name) for name in names}
        indexed = {name: column for name, column in found_columns.items() if column is not None}
        from_files = [name for name in names if name not in indexed]
        chosen = [column.label(f"c{number}") for number, column in enumerate(indexed.values())]
        key, order = LEVELS[level].c.key, [*(_by(catalogue, name) for name in order_by), *_order(level)]
        conditions, joined = where(catalogue, query), _joined(catalogue)
        if limit is not None or offset:  # whole rows are wide: only their keys are sorted
            page = select(key).select_from(joined).where(*conditions).order_by(*order)
            conditions = [key.in_(page.limit(limit).offset(offset or None))]
        statement = (
            select(*chosen, key.label("row_key")).select_from(joined).where(*conditions).order_by(*order)
        )
        rows = connection.execute(statement).all()
        keys = [row.row_key for row in rows]
        paths = _first_paths(connection, level, keys) if from_files else {}
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


def _joined(catalogue: Catalogue) -> Any:
    joined: Any = patient if catalogue.level == "patient" else study
    if catalogue.level != "patient" and catalogue.with_patient:
        joined = joined.join(patient, study.c.patient_key == patient.c.key)
    if catalogue.level in ("series", "instance"):
        joined = joined.join(series, series.c.study_key == study.c.key)
    if catalogue.level == "instance":
        joined = joined.join(instance, instance.c.series_key == series.c.key)
    return joined


def _order(level: str) -> list[Any]:
    """Received last first, the same whenever it is asked."""
    if level == "patient":
        return [patient.c.received_ms.desc(), patient.c.identity]
    if level == "study":
        return STUDY_ORDER
    by_series = [*STUDY_ORDER, series.c.SeriesNumber, series.c.SeriesInstanceUID]
    return (
        by_series if level == "series" else [*by_series, instance.c.InstanceNumber, instance.c.SOPInstanceUID]
    )


def _by(catalogue: Catalogue, name: str) -> Any:
    """One key of an order. Raises ValueError."""
    plain = name.removeprefix("-")
    keyword = _KEYWORD_OF.get(plain, plain)
    column = _column(catalogue, plain)
    if column is None:
        raise ValueError(f"rows cannot be ordered by {plain}: it is not in the index at this level")
    if keyword in keyword_dict and dictionary_VR(keyword) == "PN":
        folded_column = catalogue.column(keyword, "_folded")
        column = column if folded_column is None else folded_column
    return column.desc() if name.startswith("-") else column


def _column(catalogue: Catalogue, name: str) -> ColumnElement[Any] | None:
    """The index's column; None for a keyword that has to be read from files. Raises ValueError."""
    own = LEVELS[catalogue.level]
    if name == "received_at":
        return own.c.received_ms
    if name in (*_STUDY_ONLY, "ModalitiesInStudy") and catalogue.depth:
        return study.c[name if name in _STUDY_ONLY else "modalities"]
    if name in (*_COUNTS, "received_from", "path") and name in own.c:
        return own.c[name]
    if name in _COUNT_OF and check_level(_COUNT_OF[name].table.name) <= catalogue.depth:
        catalogue.with_patient |= _COUNT_OF[name].table is patient
        return _COUNT_OF[name]
    keyword = _KEYWORD_OF.get(name, name)
    check_keyword(keyword)
    home = catalogue.home(keyword)
    if home is not None and check_level(home) <= catalogue.depth:
        return catalogue.column(keyword)
    return None


def _first_paths(connection: Any, level: str, keys: list[int]) -> dict[int, str]:
    """Row key → the file its other columns are read from: the lowest instance number."""
    if level == "instance":
        of: Any = instance.c.key
    else:
        of = {"series": series.c.key, "study": study.c.key, "patient": study.c.patient_key}[level]
    order = (series.c.SeriesNumber, series.c.key, instance.c.InstanceNumber, instance.c.SOPInstanceUID)
    rank = func.row_number().over(partition_by=of, order_by=order).label("rank")
    found: dict[int, str] = {}
    for start in range(0, len(keys), _KEYS_A_STATEMENT):
        ranked = (
            select(of.label("of"), instance.c.path, rank)
            .join(series, instance.c.series_key == series.c.key)
            .join(study, series.c.study_key == study.c.key)
            .where(of.in_(keys[start : start + _KEYS_A_STATEMENT]))
            .subquery()
        )
        statement = select(ranked.c.of, ranked.c.path).where(ranked.c.rank == 1)
        found |= {row.of: row.path for row in connection.execute(statement).all()}
    return found


def _read(path: Path, names: list[str]) -> dict[str, Any]:
    keywords = [_KEYWORD_OF.get(name, name) for name in names]
    try:
        with pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=keywords) as dataset:
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


def _numbers(text: str) -> float | tuple[float | None, ...] | None:
    """Of an attribute that may have several values, which the index keeps as text."""
    found: list[float | None] = []
    for part in text.split("\\"):
        try:
            found.append(float(part))
        except ValueError:
            found.append(None)
    return tuple(found) if len(found) > 1 else found[0]


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
    if vr in (*_WHOLE, *_REAL):
        values = [_numbers(value) if isinstance(value, str) else value for value in values]
    if name == "ModalitiesInStudy":
        return pd.Series([tuple(value.split(", ")) if value else () for value in values], dtype="object")
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
