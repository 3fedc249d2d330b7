"""After an owner that was killed: only marked studies are read, and every answer is as if nothing had been."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal
from sqlalchemy import delete

from pacskit.archive import Archive, Origin
from pacskit.archive.incoming import UNFINISHED
from pacskit.archive.marks import Mark, Marks
from pacskit.archive.schema import instance
from pacskit.errors import Refused
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import encode, make, send_to

LEVELS = ("study", "series", "instance")


def killed_copy(archive: Archive, to: Path) -> Path:
    """What a kill at this moment leaves."""
    shutil.copytree(archive.folder, to)
    return to


def marks(folder: Path) -> list[str]:
    return sorted(path.name.partition("~")[2] for path in (folder / "dirty").iterdir())


@pytest.fixture
def filled(archive: Archive) -> Archive:
    for study in ("1.2.3", "1.2.4"):
        for number in (1, 2, 3):
            send_to(archive, make(f"{study}.{number}", study, f"{study}.0", InstanceNumber=number))
    archive.drain()
    return archive


def test_a_mark_is_there_before_the_first_file(archive: Archive) -> None:
    started = archive.incoming(
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        origin=Origin(received_at=1.0),
    )
    assert marks(archive.folder) == [], "nothing is in a study's folder yet"
    started.discard()
    send_to(archive, make())
    assert marks(archive.folder) == ["1.2.3"]
    archive.close()
    assert marks(archive.folder) == []


def test_only_marked_studies_are_read(filled: Archive, tmp_path: Path, events: EventBus) -> None:
    """Rows of both studies are lost, one is marked: start-up does not walk the archive."""
    tables = [filled.table(level) for level in LEVELS]  # type: ignore[arg-type]
    owner = filled._mine()
    for path in (filled.folder / "dirty").iterdir():
        if path.name.endswith("1.2.4"):
            path.unlink()
    owner.index.remove([f"{study}.{number}" for study in ("1.2.3", "1.2.4") for number in (1, 2)])
    copy = killed_copy(filled, tmp_path / "killed")
    with Archive.create_or_open(copy, events) as archive:
        assert (archive.recovered.studies, archive.recovered.rows) == (1, 2)
        assert sorted(archive.table("instance").study_uid) == ["1.2.3"] * 3 + ["1.2.4"]
        assert len(archive.verify().unknown) == 2, "a full check finds the others"
        archive.rebuild()
        for level, table in zip(LEVELS, tables, strict=True):
            table = table.replace({"path": {str(filled.folder): str(copy)}}, regex=True)
            assert_frame_equal(archive.table(level), table)  # type: ignore[arg-type]


def test_rows_without_files_and_changed_files(filled: Archive, tmp_path: Path, events: EventBus) -> None:
    paths = filled.series_paths("1.2.3.0")
    content = paths[1].read_bytes()
    paths[0].unlink()
    paths[1].write_bytes(content.replace(b'received_ms":1', b'received_ms":2'))
    paths[2].write_bytes(content[:-5])
    copy = killed_copy(filled, tmp_path / "killed")
    with Archive.create_or_open(copy, events) as archive:
        found = archive.recovered
        assert (found.gone, found.rows, len(found.damaged)) == (2, 1, 1)
        assert [path.is_relative_to(copy / "damaged") for path in found.damaged] == [True]
        table = archive.table("instance", StudyInstanceUID="1.2.3")
        assert list(table.sop_instance_uid) == ["1.2.3.2"]
        assert table.received_at[0].year > 2050
        assert archive.verify().ok
        send_to(archive, make("1.2.3.3", InstanceNumber=3, SeriesInstanceUID="1.2.3.0"))
        assert len(archive.table("instance", StudyInstanceUID="1.2.3")) == 2, "it can be sent again"


@pytest.mark.parametrize("duplicates", ["aside", "first", "replace"])
def test_complete_files_in_incoming(
    filled: Archive, tmp_path: Path, events: EventBus, duplicates: str
) -> None:
    """Killed between the check and the rename: adopted by the rules of `archive.duplicates`."""
    whole = filled.series_paths("1.2.3.0")[0].read_bytes()
    copy = killed_copy(filled, tmp_path / "killed")
    parts = {
        "new": whole.replace(b"1.2.3.1\0", b"1.2.3.9\0"),
        "a copy": whole,
        "other": whole.replace(b"Doe^Jane", b"Doe^Jana"),
        "cut": whole.replace(b"1.2.3.1\0", b"1.2.3.8\0")[:-2],
        "unfinished": UNFINISHED + whole.replace(b"1.2.3.1\0", b"1.2.3.7\0")[len(UNFINISHED) :],
        "empty": b"",
    }
    for name, content in parts.items():
        (copy / "incoming" / f"{name}.part").write_bytes(content)
    settings = ArchiveSettings.model_validate({"duplicates": duplicates})
    with Archive.create_or_open(copy, events, settings) as archive:
        found = archive.table("instance", StudyInstanceUID="1.2.3")
        assert sorted(found.sop_instance_uid) == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.9"]
        assert not list((copy / "incoming").iterdir())
        assert len(archive.aside()) == (duplicates == "aside")
        assert len(archive.trash()) == (duplicates == "replace")
        names = archive.table("instance", columns=["PatientName"], SOPInstanceUID="1.2.3.1").PatientName
        assert list(names) == ["Doe^Jana" if duplicates == "replace" else "Doe^Jane"]
        assert archive.recovered.adopted == 1 + (duplicates != "first")
        assert archive.verify().ok


@pytest.mark.parametrize("durability", ["safe", "fast"])
def test_cut_between_two_elements(tmp_path: Path, durability: str) -> None:
    """Killed while the one call wrote it: what is left reads like a whole data set, and is none."""
    settings = ArchiveSettings.model_validate({"durability": durability})
    dataset = make("1.2.3.1")
    dataset.add_new(0x7FE10010, "OW", bytes(64))
    with Archive.create_or_open(tmp_path / "one", EventBus(), settings) as archive:
        whole = send_to(archive, dataset, at_once=True).path.read_bytes()
    del dataset[0x7FE10010]
    cut = whole[: -(12 + 64)]
    assert cut.endswith(encode(dataset)[-20:])
    for name, content, adopted in (("cut", cut, 0), ("whole", whole, 1)):
        with Archive.create_or_open(tmp_path / name, EventBus(), settings):
            pass
        (tmp_path / name / "incoming" / "1.part").write_bytes(content)
        with Archive.create_or_open(tmp_path / name, EventBus(), settings) as archive:
            assert (archive.recovered.adopted, archive.recovered.discarded) == (adopted, 1 - adopted)
            assert archive.count("instance") == adopted


def test_refused_in_memory_never_reaches_the_disk(archive: Archive) -> None:
    (archive.folder / "incoming").chmod(0o700)
    before = (archive.folder / "incoming").stat().st_mtime_ns
    with pytest.raises(Refused) as failure:
        send_to(archive, make("1.2.3.1"), sop="1.2.3.9", at_once=True)
    assert failure.value.status == 0xA900
    assert (archive.folder / "incoming").stat().st_mtime_ns == before


def test_killed_while_replacing(filled: Archive, tmp_path: Path, events: EventBus) -> None:
    """The old one is in the trash, the new one still in incoming/: it gets its place."""
    path = filled.series_paths("1.2.3.0")[0]
    new = path.read_bytes().replace(b"Doe^Jane", b"Doe^Jana")
    copy = killed_copy(filled, tmp_path / "killed")
    old = copy / path.relative_to(filled.folder)
    (copy / "trash" / "20260101-x" / old.relative_to(copy).parent).mkdir(parents=True)
    old.rename(copy / "trash" / "20260101-x" / old.relative_to(copy))
    (copy / "incoming" / "new.part").write_bytes(new)
    with Archive.create_or_open(copy, events) as archive:
        assert old.read_bytes() == new
        table = archive.table("instance", columns=["PatientName"], SOPInstanceUID="1.2.3.1")
        assert list(table.PatientName) == ["Doe^Jana"]


def test_killed_while_deleting(filled: Archive, tmp_path: Path, events: EventBus) -> None:
    """Files are in the trash, their rows are still there: the rows go."""
    copy = killed_copy(filled, tmp_path / "killed")
    path = copy / filled.series_paths("1.2.3.0")[0].relative_to(filled.folder)
    target = copy / "trash" / "20260101-x" / path.relative_to(copy)
    target.parent.mkdir(parents=True)
    path.rename(target)
    with Archive.create_or_open(copy, events) as archive:
        assert "1.2.3.1" not in set(archive.table("instance").sop_instance_uid)
        assert archive.recovered.gone == 1


def test_an_archive_without_marks_is_walked_once(filled: Archive, tmp_path: Path, events: EventBus) -> None:
    """Made by an earlier version."""
    with filled._mine().index.transaction() as connection:
        connection.execute(delete(instance).where(instance.c.SOPInstanceUID == "1.2.4.1"))
    copy = killed_copy(filled, tmp_path / "killed")
    shutil.rmtree(copy / "dirty")
    with Archive.create_or_open(copy, events) as archive:
        assert len(archive.table("instance")) == 6


# -- the marks themselves


def test_marks_go_when_a_study_is_quiet(tmp_path: Path) -> None:
    marked = Marks(tmp_path, safe=True)
    marked.prepare(tmp_path / "index")
    one, two = Mark("20260101-a", "1.2"), Mark("20260101-b", "1.3")
    settled: list[int] = []
    with marked.hold(one):
        with marked.hold(two):
            pass
        assert marks(tmp_path) == ["1.2", "1.3"]
        assert marked.sweep(3600.0, lambda: settled.append(1)) == 2
        assert not settled, "nothing is quiet yet"
        assert marked.sweep(0.0, lambda: settled.append(1)) == 1
        assert marks(tmp_path) == ["1.2"], "the one in use stays"
    with marked.hold(one):
        pass

    def meanwhile() -> None:
        with marked.hold(one):
            pass

    assert marked.sweep(0.0, meanwhile) == 1, "touched while the rows were settled"
    assert marks(tmp_path) == ["1.2"]
    assert Marks(tmp_path, safe=True).prepare(tmp_path / "index") == [one]
    assert marked.sweep(0.0, lambda: None) == 0
    assert marks(tmp_path) == []


def test_marks_by_many_threads(tmp_path: Path) -> None:
    """Whoever holds a mark finds its file, whatever is swept meanwhile."""
    marked = Marks(tmp_path, safe=False)
    marked.prepare(tmp_path / "index")
    stop, wrong = threading.Event(), list[str]()

    def hold(number: int) -> None:
        mark = Mark("20260101-a", f"1.{number % 3}")
        for _ in range(300):
            with marked.hold(mark):
                if not (tmp_path / "dirty" / mark.name).exists():
                    wrong.append(mark.name)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(6)]
    sweeper = threading.Thread(
        target=lambda: [marked.sweep(0.0, lambda: None) for _ in iter(stop.is_set, True)]
    )
    for thread in (*threads, sweeper):
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    sweeper.join(60)
    assert not wrong
