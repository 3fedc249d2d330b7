"""A study's gaps, and its state in a few figures, from the index and the headers of its files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from sqlalchemy import select

from pacskit.archive.gaps import Gap, Numbered, number_gaps, position_gaps, stated_gaps
from pacskit.archive.index import IndexReader
from pacskit.archive.schema import instance, series, study
from pacskit.errors import GeometryError, UnknownUID
from pacskit.imaging.geometry import slice_geometry

STATED = ("NumberOfSeriesRelatedInstances", "ImagesInAcquisition", "ConcatenationUID")


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether a study may be complete, as cheaply as the index tells."""

    study_uid: str
    series: int
    instances: int
    gaps: int
    """Instances that are certainly missing, by instance numbers alone; `gaps()` looks into the files too."""
    quiet_since: dt.datetime | None
    """When its last instance came, in UTC; None while it is not told as stable yet."""
    certain: tuple[Gap, ...] = ()
    """What `gaps` counts."""


@dataclass(frozen=True, slots=True)
class _Instance:
    numbered: Numbered
    frames: int
    path: Path


@dataclass(slots=True)
class _Series:
    uid: str
    name: str
    """As in `Series 3 (MR)`: for sentences that may be logged, so without a description."""
    instances: list[_Instance]

    @property
    def numbered(self) -> list[Numbered]:
        return [one.numbered for one in self.instances]


def gaps(index: IndexReader, folder: Path, study_uid: str) -> list[Gap]:
    """Series after series. Reads the headers of what may be a stack of slices. Raises UnknownUID."""
    found: list[Gap] = []
    for one in _series(index, folder, study_uid):
        of_numbers = number_gaps(one.uid, one.name, one.numbered)
        found += of_numbers
        found += _of_files(one, not of_numbers)
    return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Of all rows of one Study Instance UID."""

    series: int
    instances: int
    received_ms: int
    """When the last one came, in Unix milliseconds."""


def counts(index: IndexReader, study_uid: str) -> Counts | None:
    """None where there is no such study."""
    columns = (study.c.series, study.c.instances, study.c.received_ms)
    with index.connect() as connection:
        rows = connection.execute(select(*columns).where(study.c.StudyInstanceUID == study_uid)).all()
    if not rows:
        return None
    return Counts(
        sum(row.series for row in rows),
        sum(row.instances for row in rows),
        max(row.received_ms for row in rows),
    )


def completeness(index: IndexReader, folder: Path, study_uid: str, unstable: bool) -> Completeness:
    """Raises UnknownUID."""
    found = counts(index, study_uid)
    certain = tuple(
        gap
        for one in _series(index, folder, study_uid)
        for gap in number_gaps(one.uid, one.name, one.numbered)
        if gap.certain
    )
    missing = sum(gap.missing for gap in certain)
    assert found is not None  # or _series had raised
    since = None if unstable else dt.datetime.fromtimestamp(found.received_ms / 1000, dt.UTC)
    return Completeness(study_uid, found.series, found.instances, missing, since, certain)


def _series(index: IndexReader, folder: Path, study_uid: str) -> list[_Series]:
    statement = (
        select(
            *(series.c.key, series.c.SeriesInstanceUID, series.c.SeriesNumber, series.c.Modality),
            *(instance.c.InstanceNumber, instance.c.AcquisitionNumber, instance.c.NumberOfFrames),
            instance.c.path,
        )
        .join(series, instance.c.series_key == series.c.key)
        .join(study, series.c.study_key == study.c.key)
        .where(study.c.StudyInstanceUID == study_uid)
        .order_by(series.c.SeriesNumber, series.c.key, instance.c.InstanceNumber, instance.c.key)
    )
    with index.connect() as connection:
        rows = connection.execute(statement).all()
    if not rows:
        raise UnknownUID(f"no study {study_uid} in the archive {folder}")
    found: dict[int, _Series] = {}
    for row in rows:
        if row.key not in found:
            number = "without a number" if row.SeriesNumber is None else row.SeriesNumber
            name = f"Series {number} ({row.Modality or 'no modality'})"
            found[row.key] = _Series(row.SeriesInstanceUID, name, [])
        numbered = Numbered(row.InstanceNumber, row.AcquisitionNumber)
        found[row.key].instances.append(_Instance(numbered, row.NumberOfFrames or 1, folder / row.path))
    return list(found.values())


def _of_files(one: _Series, numbers_follow: bool) -> list[Gap]:
    """What headers tell; of the first one it is seen whether the others need to be read at all."""
    first, unreadable = _headers([one.instances[0].path])
    if unreadable:
        stack = stated = True
    else:
        stack = len(one.instances) > 1 and all(each.frames == 1 for each in one.instances)
        stack = stack and _is_slice(first[0])
        stated = any(first[0].get(keyword) for keyword in STATED)
    if not stack and not stated:
        return []
    datasets, unreadable = _headers([each.path for each in one.instances])
    found: list[Gap] = []
    if unreadable:
        sentence = f"{one.name}: {len(unreadable)} of {len(one.instances)} files cannot be read."
        found.append(Gap(one.uid, "unreadable", True, len(unreadable), sentence))
    if stack and datasets:
        found += position_gaps(one.uid, one.name, datasets, numbers_follow)
    if stated:
        found += stated_gaps(one.uid, one.name, datasets)
    return found


def _is_slice(header: Dataset) -> bool:
    try:
        slice_geometry(header)
    except GeometryError:
        return False
    return True


def _headers(paths: Sequence[Path]) -> tuple[list[Dataset], list[Path]]:
    """Data sets without pixels, and the files that cannot be read."""
    found: list[Dataset] = []
    unreadable: list[Path] = []
    for path in paths:
        try:
            with dcmread(path, force=True, stop_before_pixels=True) as header:
                found.append(header)
        except Exception:  # noqa: BLE001 - pydicom raises many kinds
            unreadable.append(path)
    return found, unreadable
