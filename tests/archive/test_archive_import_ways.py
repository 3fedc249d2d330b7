"""By copy, by hard link, in place: parallel, done again without reading, cancelled, followed by a rebuild."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from pacskit.archive import Archive, ImportProgress
from pacskit.archive.import_journal import Entry, ImportJournal
from pacskit.archive.import_report import HOWS, How, ImportReport, ProgressLine
from pacskit.errors import ArchiveError
from pacskit.events import EventBus, InstanceStored
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import encode, make, send_to
from tests.archive.test_archive_import import part10

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("study", "series", "instance")
KILLED = """
import os, sys
from pacskit.archive import Archive
from pacskit.events import EventBus, InstanceStored
told = []
def stored(event):
    os.write(1, f"{event.sop_instance_uid}\\n".encode())  # whole, from any thread
    told.append(event)
    if len(told) > 50:
        os._exit(9)
events = EventBus()
events.subscribe(InstanceStored, stored)
archive = Archive.create_or_open(sys.argv[1], events)
archive.import_paths([sys.argv[2]], sys.argv[3])
"""


def write(folder: Path, count: int, first: int = 1, bare: bool = False, **attributes: object) -> list[Path]:
    """`count` instances of one series, some in a folder below."""
    paths = []
    for number in range(first, first + count):
        place = folder / ("deep" if number % 3 == 0 else "")
        place.mkdir(parents=True, exist_ok=True)
        body = encode(make(f"1.2.3.{number}", InstanceNumber=number, **attributes))
        path = place / f"IM{number:04d}"
        path.write_bytes(body if bare else part10(body, sop_instance_uid=f"1.2.3.{number}"))
        paths.append(path)
    return paths


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("how", HOWS)
def test_each_way_and_again(archive: Archive, events: EventBus, tmp_path: Path, how: How) -> None:
    source = tmp_path / "source"
    paths = write(source, 200)
    before = snapshot(source)
    report = archive.import_paths([source], how)
    assert (report.stored, report.here, report.copied, report.skipped) == (200, 0, 0, [])
    assert report.bytes == sum(path.stat().st_size for path in paths)
    assert len(events.recent(InstanceStored)) == 200
    found = archive.table("instance")
    assert list(found.instance_number) == list(range(1, 201))
    assert set(found.received_from) == {"import"}
    stored = [Path(path) for path in found.path]
    if how == "in-place":
        assert stored == paths
        assert not list(archive.folder.rglob("*.dcm"))
    else:
        assert all(path.is_relative_to(archive.folder) for path in stored)
        assert [path.stat().st_ino for path in stored] == [
            path.stat().st_ino for path in paths
        ] or how == "copy"
    again = archive.import_paths([source], how)
    assert (again.stored, again.known, again.duplicates, again.skipped) == (0, 200, 0, [])
    assert again.bytes == 0
    assert snapshot(source) == before
    assert not list((archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("damage", ["none", "index deleted", "killed"])
def test_rebuild_gives_the_same(tmp_path: Path, fast: ArchiveSettings, how: How, damage: str) -> None:
    source = tmp_path / "source"
    write(source, 20)
    write(source / "bare", 5, first=21, bare=True)
    os.utime(source / "IM0001", (1e9, 1e9))
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast) as archive:
        report = archive.import_paths([source], how)
        assert (report.stored, report.copied) == (25, 5 if how == "link" else 0)
        before = [archive.table(level) for level in LEVELS]
    if damage == "killed":
        (tmp_path / "archive" / "dirty" / "in-place~").touch()
    if damage == "index deleted":
        (tmp_path / "archive" / "index.sqlite").unlink()
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast) as archive:
        if damage == "none":
            assert not archive.rebuild().unreadable
        for level, table in zip(LEVELS, before, strict=True):
            assert_frame_equal(archive.table(level), table)
        assert archive.import_paths([source], how).known == 25


def test_rows_that_did_not_reach_the_index(tmp_path: Path, fast: ArchiveSettings) -> None:
    """A kill between the journal's line and the row: the next owner has it."""
    source = tmp_path / "source"
    (path,) = write(source, 1)
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast):
        pass
    (tmp_path / "archive" / "dirty" / "in-place~").touch()
    journal = ImportJournal(tmp_path / "archive")
    status = path.stat()
    journal.append(
        str(path.parent),
        "in-place",
        [(path.name, Entry(status.st_size, status.st_mtime_ns, "1.2.3.1", at_ms=1_700_000_000_000))],
    )
    journal.close()
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast) as archive:
        assert archive.series_paths("1.2.3.0") == [path]


@pytest.mark.parametrize("how", HOWS)
def test_killed_in_the_middle(tmp_path: Path, fast: ArchiveSettings, how: How) -> None:
    """What was taken is there after the restart, nothing half, and the rest can be taken."""
    source = tmp_path / "source"
    write(source, 150)
    command = [sys.executable, "-c", KILLED, tmp_path / "archive", source, how]
    done = subprocess.run(command, cwd=ROOT, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast) as archive:
        found = archive.table("instance")
        assert set(done.stdout.split()) <= set(found.sop_instance_uid)
        assert not list((archive.folder / "incoming").iterdir())
        before = [archive.table(level, columns=["SOPInstanceUID"]) for level in LEVELS]
        assert not archive.rebuild().unreadable
        for level, table in zip(LEVELS, before, strict=True):
            assert_frame_equal(archive.table(level, columns=["SOPInstanceUID"]), table)
        report = archive.import_paths([source], how)
        assert (report.stored, report.skipped) == (150 - len(found), [])


def test_link_to_another_file_system_is_a_copy(archive: Archive, tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    source = shared / f"pacskit-test-{os.getpid()}"
    try:
        write(source, 3)
        report = archive.import_paths([source], "link")
    finally:
        shutil.rmtree(source)
    assert (report.stored, report.copied) == (3, 3)
    assert "3 copied, since they could not be linked" in str(report)
    assert len(archive.series_paths("1.2.3.0")) == 3


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("drained", [True, False], ids=["indexed", "queued"])
def test_same_and_other_content(archive: Archive, tmp_path: Path, how: How, drained: bool) -> None:
    send_to(archive, make("1.2.3.1"))
    if drained:
        archive.drain()
    source = tmp_path / "source"
    write(source, 1)
    (source / "again").write_bytes((source / "IM0001").read_bytes())
    report = archive.import_paths([source], how)
    assert (report.stored, report.duplicates) == (0, 2)
    assert archive.import_paths([source], how).known == 2
    other = tmp_path / "other"
    write(other, 1, PatientID="002")
    report = archive.import_paths([other], how)
    assert (report.stored, report.duplicates) == (0, 0)
    assert report.grouped == {"other content": 1}
    assert len(archive.table("instance")) == 1
    assert not list((archive.folder / "incoming").iterdir())
    assert (other / "IM0001").exists()
    journal = ImportJournal(archive.folder)
    assert not [*journal.files("in-place"), *journal.files("link"), *journal.files("copy")]
    journal.close()
    archive.rebuild()
    assert list(archive.table("instance").received_from) == ["SCANNER"]


def test_in_place_twice_in_one_batch(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 1)
    (source / "again").write_bytes((source / "IM0001").read_bytes())
    (source / "other").write_bytes(part10(encode(make("1.2.3.1", PatientID="002"))))
    report = archive.import_paths([source], "in-place")
    assert (report.stored, report.duplicates, report.grouped) == (1, 1, {"other content": 1})
    journal = ImportJournal(archive.folder)
    assert [path for path, _ in journal.files("in-place")] == [str(source / "IM0001")]
    journal.close()
    before = archive.table("instance")
    archive.rebuild()
    assert_frame_equal(archive.table("instance"), before)


def test_deleted_here_is_imported_again(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 3)
    archive.import_paths([source])
    victim = archive.series_paths("1.2.3.0")[1]
    victim.unlink()
    archive.rebuild()
    report = archive.import_paths([source])
    assert (report.stored, report.known) == (1, 2)


def test_in_place_file_that_changed_moved_or_went(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 4)
    archive.import_paths([source], "in-place")
    changed = encode(make("1.2.3.1", InstanceNumber=77))
    (source / "IM0001").write_bytes(part10(changed))
    (source / "IM0002").rename(source / "elsewhere")
    (source / "deep" / "IM0003").unlink()
    (source / "IM0004").write_bytes(part10(encode(make("9.9", InstanceNumber=9))))
    report = archive.import_paths([source], "in-place")
    assert report.stored == 3
    assert sorted(
        (path.name, kind) for (path, _), kind in zip(report.skipped, report.kinds, strict=True)
    ) == [
        ("IM0002", "gone"),
        ("IM0003", "gone"),
    ]
    found = archive.table("instance").set_index("sop_instance_uid")
    assert sorted(found.index) == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "9.9"]
    assert found.instance_number["1.2.3.1"] == 77
    assert found.path["1.2.3.2"] == str(source / "elsewhere")
    assert archive.import_paths([source], "in-place").known == 3
    rebuilt = archive.rebuild()
    assert rebuilt.unreadable == [
        (source / "deep" / "IM0003", "it was imported in place and is no longer there")
    ]
    assert sorted(archive.table("instance").sop_instance_uid) == ["1.2.3.1", "1.2.3.2", "9.9"]


def test_folder_that_went_is_said(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 4)
    archive.import_paths([source], "in-place")
    shutil.rmtree(source / "deep")
    report = archive.import_paths([source], "in-place")
    assert [path for path, _ in report.skipped] == [source / "deep" / "IM0003"]
    assert report.grouped == {"gone": 1}


def test_name_that_is_no_text(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 1)
    strange = os.fsencode(source) + b"/\xff\xfe"
    os.rename(source / "IM0001", strange)
    report = archive.import_paths([source], "in-place")
    assert "not UTF-8" in report.skipped[0][1]
    assert archive.import_paths([source]).stored == 1
    assert archive.import_paths([source]).known == 1
    assert len(report.table()) == 1


@pytest.mark.parametrize("how", HOWS)
def test_cancel_and_go_on(
    archive: Archive, tmp_path: Path, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacskit.archive.importing.TICK", 0.001)
    source = tmp_path / "source"
    write(source, 600)
    cancel = threading.Event()

    def stop(progress: ImportProgress) -> None:
        if progress.done:
            cancel.set()

    report = archive.import_paths([source], how, progress=stop, cancel=cancel)
    assert report.cancelled
    assert "cancelled" in str(report)
    assert 0 < report.stored < 600
    assert len(archive.table("instance")) == report.stored
    assert not list((archive.folder / "incoming").iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name == "pacskit-import"]
    rest = archive.import_paths([source], how)
    assert not rest.cancelled
    assert (rest.stored, rest.known) == (600 - report.stored, report.stored)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_cancel_ends_within_a_batch(archive: Archive, events: EventBus, tmp_path: Path, how: How) -> None:
    source = tmp_path / "source"
    for number in range(1, 40):
        write(source, 1, first=number * 3 + 1)
    cancel = threading.Event()
    events.subscribe(InstanceStored, lambda _: cancel.set())
    report = archive.import_paths([source], how, cancel=cancel)
    assert (report.stored, report.cancelled) == (1, True)
    cancel.set()
    assert archive.import_paths([source], how, cancel=cancel).cancelled


def test_interrupt_stops_everything(archive: Archive, tmp_path: Path) -> None:
    """As when a notebook's cell is interrupted: the exception is the person's, the threads are gone."""
    source = tmp_path / "source"
    write(source, 500)

    def interrupt(_: ImportProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.import_paths([source], progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name == "pacskit-import"]
    assert not list((archive.folder / "incoming").iterdir())
    assert archive.import_paths([source]).here + len(archive.table("instance")) >= 500


def test_a_file_that_is_being_written(archive: Archive, tmp_path: Path) -> None:
    """It grows between the look at its header and the end of the copy."""
    path = tmp_path / "growing"
    body = part10(encode(make(EncapsulatedDocument=bytes(64 << 20))))
    path.write_bytes(body)
    ended = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not ended.is_set():
                file.write(b"\0\0")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        report = archive.import_paths([path])
    finally:
        ended.set()
        writer.join()
    assert report.stored == 0
    assert report.grouped == {"changed": 1}
    assert archive.import_paths([path]).skipped or archive.studies().instances.sum() == 1


def test_what_the_archive_cannot_write_ends_it(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, 100)
    (archive.folder / "incoming").rmdir()
    with pytest.raises(ArchiveError, match="cannot be written"):
        archive.import_paths([source])
    (archive.folder / "incoming").mkdir()
    assert archive.import_paths([source]).stored == 100


def test_wrong_how(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="copy, link, in-place"):
        archive.import_paths([tmp_path], "move")  # type: ignore[arg-type]


def test_many_in_parallel_and_received_beside(archive: Archive, tmp_path: Path) -> None:
    """One wins where a sender brings the same instances; nothing is lost or doubled."""
    source = tmp_path / "source"
    write(source, 200)
    started = threading.Event()
    sent: list[bool] = []

    def send() -> None:
        for number in range(200, 0, -1):
            sent.append(send_to(archive, make(f"1.2.3.{number}", InstanceNumber=number)).duplicate)
            started.set()

    sender = threading.Thread(target=send)
    sender.start()
    started.wait(20)
    report = archive.import_paths([source], "in-place")
    sender.join()
    assert report.skipped == []
    assert report.stored == sum(sent)
    assert report.stored + report.duplicates == 200
    found = archive.table("instance")
    assert len(found) == 200
    archive.rebuild()
    assert_frame_equal(archive.table("instance"), found)


def test_torn_line_of_the_journal(tmp_path: Path) -> None:
    journal = ImportJournal(tmp_path)
    entry = Entry(1, 2, "1.2.3", at_ms=5)
    journal.append("/a", "in-place", [("one", entry)])
    journal.close()
    with (tmp_path / "imports.jsonl").open("ab") as file:
        file.write(b'{"folder":"/b","how":"in-place","at":5,"files":[["two",1,2,"1.2')
    journal = ImportJournal(tmp_path)
    journal.append("/c", "in-place", [("three", entry), ("four \udcff", entry)])
    journal.append("/c", "removed", [("three", entry)])
    journal.close()
    journal = ImportJournal(tmp_path)
    assert [path for path, _ in journal.files("in-place")] == ["/a/one", "/c/four \udcff"]
    assert set(journal.of("/c")) == {"four \udcff"}
    assert journal.of("/a")["one"] == Entry(1, 2, "1.2.3", "in-place", 5)
    journal.close()


def test_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert str(ImportProgress(50, 200, True, 10_000_000, 10.0)) == (
        "50 of 200 files, 10.0 MB, 5 files/s, 1.0 MB/s, 30 s left"
    )
    assert ImportProgress(0, 0, False, 0, 0.0).left is None
    report = ImportReport(stored=1, bytes=1500, seconds=3700)
    report.skip(Path("a"), "damaged", "it is cut")
    assert str(report) == "1 stored, 0 were here already, 1 skipped (1 damaged); 1.5 kB in 1 h 02 min"
    assert report.table().iloc[0].tolist() == ["a", "damaged", "it is cut"]
    line = ProgressLine("import")
    line("a long sentence")
    line("never shown: too soon")
    line.end("end")
    assert capsys.readouterr().out == f"\rimport: a long sentence\rimport: {'end':15}\n"
