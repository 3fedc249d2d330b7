"""Real files: each is stored, a duplicate, or named with a sentence; counts agree with pydicom's reading."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pandas.testing import assert_frame_equal
from pydicom.data import get_testdata_files

from pacskit.archive import Archive
from pacskit.events import ConflictFound, EventBus

UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def read(path: Path) -> tuple[str, str, str] | None:
    """The three UIDs as pydicom reads them; None where it does not, or there are not three."""
    try:
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(UIDS))
    except Exception:  # noqa: BLE001 - pydicom raises many kinds
        return None
    sop, study, series = (str(dataset.get(keyword) or "") for keyword in UIDS)
    return (sop, study, series) if sop and study and series else None


def check(archive: Archive, files: list[Path]) -> int:
    """Import them one by one; returns how many pydicom reads and the archive refuses."""
    expected: dict[str, tuple[str, str]] = {}
    outcomes: Counter[str] = Counter()
    refused = 0
    for path in files:
        if path.name == "DICOMDIR":
            continue  # a list of other files (test_archive_import_dicomdir.py)
        report = archive.import_paths([path])
        assert report.stored + report.duplicates + len(report.skipped) == 1, path
        outcomes.update(stored=report.stored, duplicates=report.duplicates, skipped=len(report.skipped))
        uids = read(path)
        if report.skipped:
            assert len(report.skipped[0][1]) > 10
            refused += uids is not None and "another content" not in report.skipped[0][1]
            continue
        assert uids is not None, f"{path} is a ghost: pydicom finds no UIDs in it"
        if report.stored:
            assert uids[0] not in expected
            expected[uids[0]] = uids[1:]
        assert expected[uids[0]] == uids[1:]
    found = archive.table("instance")
    assert len(found) == outcomes["stored"] == len(expected)
    rows = zip(found.sop_instance_uid, found.study_uid, found.series_uid, strict=True)
    assert {sop: (study, series) for sop, study, series in rows} == expected
    studies = archive.studies()
    counted = Counter(study for study, _ in expected.values())
    assert studies.groupby("study_uid").instances.sum().to_dict() == dict(counted)
    series_of = Counter(study for study, _ in set(expected.values()))
    assert (studies.groupby("study_uid").series.sum() >= studies.study_uid.map(series_of).min()).all()
    stored = (archive.folder / "studies").rglob("*.dcm")
    assert studies.bytes.sum() == sum(path.stat().st_size for path in stored)
    archive.rebuild()
    assert_frame_equal(archive.studies(), studies)
    assert_frame_equal(archive.table("instance"), found)
    assert not list((archive.folder / "incoming").iterdir())
    return refused


@pytest.mark.filterwarnings("ignore")
def test_files_of_the_repository(archive: Archive, test_data: Path) -> None:
    check(archive, sorted(path for path in test_data.rglob("*") if path.is_file()))


@pytest.mark.filterwarnings("ignore")
def test_files_of_pydicom(archive: Archive) -> None:
    check(archive, sorted(path for path in map(Path, get_testdata_files()) if path.is_file()))


@pytest.mark.filterwarnings("ignore")
def test_shared_data(archive: Archive, shared_data: Path, events: EventBus) -> None:
    files = sorted(path for path in shared_data.rglob("*") if path.is_file())
    refused = check(archive, files)
    assert len(archive.table("instance")) > 400
    assert refused < len(files) // 20
    in_conflict = archive.studies().query("conflict.str.contains('patient', case=False)").study_uid
    assert {event.study_uid for event in events.recent(ConflictFound)} == set(in_conflict)
