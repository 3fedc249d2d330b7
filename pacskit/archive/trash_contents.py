"""Whose studies an entry of the trash holds: one header of each is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pacskit.archive.files import STUDIES, TRASH
from pacskit.archive.stored_file import read_row
from pacskit.errors import PacskitError, UnknownUID


@dataclass(frozen=True, slots=True)
class TrashedStudy:
    """As in DICOM, also the date."""

    patient_name: str
    patient_id: str
    study_date: str
    study_description: str


@dataclass(frozen=True, slots=True)
class Contents:
    """Of an entry."""

    studies: tuple[TrashedStudy, ...]
    more: int
    """Studies that were not read."""


def trash_contents(folder: Path, entry: str, most: int) -> Contents:
    """The first `most` studies; those whose file cannot be read are `more`. Raises UnknownUID."""
    place = folder / TRASH / entry
    if not entry or Path(entry).name != entry or not place.is_dir():
        raise UnknownUID(f"there is no {entry} in the trash of {folder}")
    try:
        names = sorted(os.listdir(place / STUDIES))
    except OSError:
        return Contents((), 0)
    found = [study for name in names[:most] if (study := _study(folder, place / STUDIES / name)) is not None]
    return Contents(tuple(found), len(names) - len(found))


def _study(folder: Path, place: Path) -> TrashedStudy | None:
    for path in place.rglob("*.dcm"):
        try:
            attributes = read_row(folder, path.relative_to(folder).as_posix()).header.attributes
        except (PacskitError, ValueError, OSError):
            continue
        keywords = ("PatientName", "PatientID", "StudyDate", "StudyDescription")
        return TrashedStudy(*(str(attributes.get(keyword) or "") for keyword in keywords))
    return None
