"""When the disk says no: a sentence, A700, nothing left behind, and it goes on when the disk does again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacskit.archive import Archive
from pacskit.errors import ArchiveError
from pacskit.events import ArchiveFailed, EventBus, StorageLow
from tests.archive.conftest import Send, make, send_to

ROOT = Path(__file__).resolve().parents[2]
ROOM = 3 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ROOM bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_disk_full_while_receiving(small_disk: Path, events: EventBus) -> None:
    with Archive.create_or_open(small_disk / "archive", events) as archive:
        send_to(archive, make())
        archive.drain()
        fill(small_disk / "ballast")
        with pytest.raises(ArchiveError, match=r"cannot be written: No space left.*Check") as failure:
            send_to(archive, make("1.2.3.2"))
        assert failure.value.dimse_status == 0xA700
        assert not list((archive.folder / "incoming").iterdir())
        assert list(archive.studies().instances) == [1]
        (small_disk / "ballast").unlink()
        send_to(archive, make("1.2.3.2"))
        assert list(archive.studies().instances) == [2]
        with pytest.raises(ArchiveError) as failure:
            send_to(archive, make("1.2.3.3", EncapsulatedDocument=bytes(ROOM)))
        assert failure.value.dimse_status == 0xA700
        assert not list((archive.folder / "incoming").iterdir())


def test_disk_full_at_the_start(small_disk: Path, events: EventBus) -> None:
    fill(small_disk / "ballast")
    with pytest.raises(ArchiveError, match="No space left"):
        Archive.create_or_open(small_disk / "archive", events)


@pytest.mark.filterwarnings("ignore:The value length")
def test_index_waits_for_room(archive: Archive, events: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit stands for the disk: it raises the same SQLITE_FULL."""
    monkeypatch.setattr("pacskit.archive.index.FULL_SECONDS", 0.05)
    writing = archive._index._writing  # type: ignore[attr-defined]
    told = threading.Event()
    events.subscribe(StorageLow, lambda _: told.set())
    with writing.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
    taken = 0
    with pytest.raises(ArchiveError, match="full"):  # noqa: PT012
        while True:  # until no page has room for another row
            send_to(archive, make(f"1.2.3.{taken}", f"1.2.{taken}", ProtocolName="x" * 3000))
            taken += 1
    assert told.wait(20)
    with pytest.raises(ArchiveError, match="full"):
        archive.studies()
    waiting = archive._index._one_writer  # type: ignore[attr-defined]
    with waiting, writing.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    with archive._index._changed:  # type: ignore[attr-defined]
        assert archive._index._changed.wait_for(lambda: not archive._index.failure, 20)  # type: ignore[attr-defined]
    send_to(archive, make("5.5"))
    assert archive.studies().instances.sum() == len(list(archive.folder.rglob("*.dcm"))) >= taken + 1
    assert [event.refusing for event in events.recent(StorageLow)] == [True]
    assert not events.recent(ArchiveFailed), "the services need not stop: it ends"


def test_read_only_folder(small_disk: Path, events: EventBus) -> None:
    with Archive.create_or_open(small_disk / "archive", events) as archive:
        send_to(archive, make())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ArchiveError, match="Read-only file system"):
        Archive.create_or_open(small_disk / "archive", events)
    with pytest.raises(ArchiveError, match="cannot be written"):
        Archive.create_or_open(small_disk / "other", events)
    with Archive.read(small_disk / "archive") as reader:
        assert list(reader.studies().instances) == [1]


def test_folder_is_a_file(tmp_path: Path, events: EventBus) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be written"):
        Archive.create_or_open(tmp_path / "file", events)


def test_incoming_vanished(archive: Archive, send: Send) -> None:
    (archive.folder / "incoming").rmdir()
    with pytest.raises(ArchiveError) as failure:
        send(make())
    assert failure.value.dimse_status == 0xA700


@pytest.mark.parametrize("table", ["instance", "study"])
def test_index_broken_under_the_writer(archive: Archive, events: EventBus, table: str) -> None:
    """Told once, then every commit fails at once; the next owner has everything."""
    send_to(archive, make())
    archive.drain()
    told = threading.Event()
    events.subscribe(ArchiveFailed, lambda _: told.set())
    with sqlite3.connect(archive.folder / "index.sqlite") as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    try:
        send_to(archive, make("1.2.3.2", PatientName="Secret^Name"))
    except ArchiveError:
        assert table == "instance"
    else:
        assert told.wait(20)
        with pytest.raises(ArchiveError, match="index failed"):
            archive.drain()
    for number in range(20):
        with pytest.raises(ArchiveError) as failure:
            send_to(archive, make(f"1.2.3.{10 + number}"))
        assert failure.value.dimse_status == 0xA700
        assert "Secret" not in str(failure.value)
    with pytest.raises(ArchiveError):
        archive.table(table)
    assert not list((archive.folder / "incoming").iterdir())
    archive.close()
    with Archive.create_or_open(archive.folder, EventBus()) as again:
        assert again.studies().instances.sum() == len(list(archive.folder.rglob("*.dcm")))
    # one that was missed at the question for a UID already, before the writer met it, is no event
    assert (table == "study") <= len(events.recent(ArchiveFailed)) <= 1
