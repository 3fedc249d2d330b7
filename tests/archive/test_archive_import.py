"""Import: what is an instance is stored, everything else is reported by name, and the rest goes on."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage

from pacskit.archive import Archive, ImportProgress
from pacskit.imaging.part10 import file_head
from tests.archive.conftest import encode, make


def part10(body: bytes, syntax: str = "1.2.840.10008.1.2.1", **head: str) -> bytes:
    named = {"sop_class_uid": CTImageStorage, "sop_instance_uid": "1.2.3.1", "transfer_syntax_uid": syntax}
    return file_head(**(named | head)) + body


def deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


GOOD = encode(make())
DEEP = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
    "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
)
CLOSE = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
BAD = {
    "empty": b"",
    "one byte": b"\0",
    "text": b"Dear diary, this is no DICOM file at all. " * 20,
    "zeros": bytes(5000),
    "noise": bytes(range(256)) * 20,
    "preamble only": bytes(128) + b"DICM",
    "head only": part10(b""),
    "cut in the head": part10(b"")[:200],
    "cut in an element": part10(GOOD[:-1]),
    "cut in a tag": part10(GOOD[:-8]),
    "length that lies": part10(GOOD + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFF0)),
    "html": b"<html>" + b"not found" * 100,
    "big endian said": part10(GOOD, "1.2.840.10008.1.2.2"),
    "deflated said": part10(GOOD, "1.2.840.10008.1.2.1.99"),
    "deflated and cut": part10(deflated(GOOD)[:-20], "1.2.840.10008.1.2.1.99"),
    "no UIDs": part10(encode(make(SOPInstanceUID=None))),
    "10000 deep": part10(GOOD + DEEP * 10_000 + CLOSE * 10_000),
    "10000 deep, never closed": part10(GOOD + DEEP * 10_000),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_bad_file_is_reported_and_never_indexed(archive: Archive, tmp_path: Path, content: bytes) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(content)
    report = archive.import_paths([bad])
    assert (report.stored, report.duplicates) == (0, 0)
    ((path, reason),) = report.skipped
    assert path == bad
    assert len(reason) > 10
    assert archive.studies().empty
    assert not list((archive.folder / "incoming").iterdir())
    assert not list(archive.folder.rglob("*.dcm"))


@pytest.mark.parametrize("cut", range(1, len(GOOD), 7))
def test_cut_anywhere_is_a_sentence_or_whole_elements(archive: Archive, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut").write_bytes(part10(GOOD[:cut]))
    report = archive.import_paths([tmp_path / "cut"])
    assert report.stored + len(report.skipped) == 1


@pytest.mark.parametrize("name", ["rtplan_truncated.dcm", "MR_truncated.dcm"])
def test_truncated_files_of_pydicom(archive: Archive, name: str) -> None:
    path = get_testdata_file(name)
    assert path is not None
    report = archive.import_paths([str(path)])
    assert report.stored == 0
    assert "ends" in report.skipped[0][1]


def test_folder_with_junk(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "good.dcm").write_bytes(part10(GOOD))
    (source / "deep" / "er" / "bare").write_bytes(encode(make("1.2.3.2")))
    (source / "again").write_bytes(part10(GOOD))
    (source / "DICOMDIR").write_bytes(part10(GOOD))
    (source / "readme.txt").write_text("hello")
    os.mkfifo(source / "pipe")
    (source / "loop").symlink_to("loop")
    (source / "dangling").symlink_to("nowhere")
    (source / "deep" / "up").symlink_to(source)
    steps: list[ImportProgress] = []
    report = archive.import_paths([source, tmp_path / "missing", source / "pipe"], progress=steps.append)
    assert (report.stored, report.duplicates) == (2, 1)
    names = sorted(path.name for path, _ in report.skipped)
    assert names == ["DICOMDIR", "dangling", "loop", "missing", "pipe", "pipe", "readme.txt", "up"]
    reasons = {path.name: reason for path, reason in report.skipped}
    assert reasons["pipe"] == "it is not a regular file"
    assert "DICOMDIR" in reasons["DICOMDIR"]
    assert reasons["readme.txt"] == "it is not a DICOM file but a text file"
    assert "link to a folder" in reasons["up"]
    assert report.grouped == {"not DICOM": 4, "unreadable": 2, "not followed": 1, "missing": 1}
    assert (steps[-1].done, steps[-1].walked, steps[-1].left) == (steps[-1].total, True, 0)
    assert set(archive.table("instance").received_from) == {"import"}


def test_the_archive_itself_is_passed_over(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(part10(GOOD))
    assert archive.import_paths([tmp_path]).stored == 1
    report = archive.import_paths([tmp_path])
    assert (report.stored, report.known) == (0, 1)
    stored = archive.series_paths("1.2.3.0")[0]
    report = archive.import_paths([stored], "in-place")
    assert (report.stored, report.skipped) == (0, [(stored, "it lies in this archive itself")])


def test_long_ae_title_in_a_file(archive: Archive, tmp_path: Path) -> None:
    value = b"X" * 70_000
    element = struct.pack("<HH2sHI", 2, 0x0016, b"UN", 0, len(value)) + value
    (tmp_path / "file").write_bytes(part10(b"") + element + GOOD)
    assert archive.import_paths([tmp_path / "file"]).stored == 1


@pytest.mark.parametrize("padding", [b"", bytes(4096)], ids=["bare", "padded"])
@pytest.mark.parametrize("name", ["image_dfl.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_every_encoding(archive: Archive, tmp_path: Path, name: str, padding: bytes) -> None:
    path = get_testdata_file(name)
    assert path is not None
    copy = tmp_path / name
    copy.write_bytes(Path(str(path)).read_bytes() + padding)
    assert archive.import_paths([copy]).stored == 1
    stored = pydicom.dcmread(archive.table("instance").path[0])
    original = pydicom.dcmread(str(path))
    assert stored.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert stored.SOPInstanceUID == original.SOPInstanceUID
    row = archive.table("study", columns=["PatientName"]).iloc[0]
    assert row.PatientName == str(original.get("PatientName", ""))


def test_defined_lengths_ten_thousand_deep(archive: Archive, tmp_path: Path) -> None:
    """They are passed over in one step; columns read from the file are empty rather than a crash."""
    inner = b""
    for _ in range(3000):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
        inner = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
    (tmp_path / "deep").write_bytes(part10(GOOD + inner))
    assert archive.import_paths([tmp_path / "deep"]).stored == 1
    assert list(archive.table("instance", columns=["EchoTime"]).EchoTime.isna()) == [True]
