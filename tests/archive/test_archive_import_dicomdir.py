"""A DICOMDIR as the path: the files it names, and those that are not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from pacskit.archive import Archive
from tests.archive.conftest import encode, make
from tests.archive.test_archive_import import part10


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """pydicom's file set: 31 instances."""
    found = get_testdata_file("dicomdirtests/DICOMDIR")
    if found is None:
        pytest.skip("no DICOMDIR among pydicom's files")
    target = tmp_path / "disc"
    shutil.copytree(Path(str(found)).parent, target)
    return target


def dicomdir(folder: Path, *file_ids: object) -> Path:
    directory = Dataset()
    directory.FileSetID = "TEST"
    records = []
    for file_id in file_ids:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE" if file_id else "PATIENT"
        if file_id:
            record.ReferencedFileID = file_id
        records.append(record)
    directory.DirectoryRecordSequence = records
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


@pytest.mark.filterwarnings("ignore")
def test_real_disc(archive: Archive, disc: Path) -> None:
    lost = sorted(path for path in disc.rglob("*") if path.is_file() and path.name.isdigit())
    gone = lost[3]
    gone.unlink()
    report = archive.import_paths([disc / "DICOMDIR"])
    assert report.stored == 30
    assert report.skipped == [(gone, "the DICOMDIR names this file, and it is not there")]
    assert report.grouped == {"missing": 1}
    folder = archive.import_paths([disc])
    assert folder.known == 30
    assert gone in [path for path, _ in folder.skipped], "the directory is read where a folder is given, too"


@pytest.mark.filterwarnings("ignore")
def test_names_as_discs_have_them(archive: Archive, tmp_path: Path) -> None:
    """Mounted in small letters, with versions; several records of one file; records without a file."""
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "im000001.;1").write_bytes(part10(encode(make("1.2.3.1"))))
    (tmp_path / "IM2").write_bytes(part10(encode(make("1.2.3.2"))))
    path = dicomdir(tmp_path, None, ["DICOM", "IM000001"], ["DICOM", "IM000001"], "IM2", ["IM2", "IM3"])
    report = archive.import_paths([path], "in-place")
    assert (report.stored, report.grouped) == (2, {"missing": 1})


@pytest.mark.filterwarnings("ignore")
def test_names_that_lead_out(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(part10(encode(make())))
    (tmp_path / "disc").mkdir()
    path = dicomdir(tmp_path / "disc", ["..", "secret"], "../secret", str(tmp_path / "secret"))
    report = archive.import_paths([path])
    assert (report.stored, report.grouped) == (0, {"refused": 3})
    assert archive.studies().empty


@pytest.mark.parametrize("content", [b"", b"no directory at all", bytes(128) + b"DICM"])
def test_not_a_directory(archive: Archive, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "DICOMDIR").write_bytes(content)
    report = archive.import_paths([tmp_path / "DICOMDIR"])
    ((path, reason),) = report.skipped
    assert path.name == "DICOMDIR"
    assert "DICOMDIR" in reason
