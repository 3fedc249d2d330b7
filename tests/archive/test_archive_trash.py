"""Deleting, restoring, emptying the trash; a person's marks; all of it also after a rebuild and a kill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from pacskit.archive import Archive
from pacskit.errors import ArchiveError, UnknownUID
from pacskit.events import EventBus, StudiesChanged
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

LEVELS = ("study", "series", "instance")


@pytest.fixture
def filled(archive: Archive) -> Archive:
    """Two studies of two series of two instances, and one aside."""
    for study in ("1.2.3", "1.2.4"):
        for series in (1, 2):
            for number in (1, 2):
                uid = f"{study}.{series}.{number}"
                send_to(
                    archive, make(uid, study, f"{study}.{series}", InstanceNumber=number, SeriesNumber=series)
                )
    send_to(archive, make("1.2.3.1.1", "1.2.3", "1.2.3.1", Rows=7))
    archive.drain()
    return archive


def listing(archive: Archive) -> dict[str, bytes]:
    """Files of studies/ and aside/ with their content."""
    found = [path for top in ("studies", "aside") for path in (archive.folder / top).rglob("*.dcm")]
    return {path.relative_to(archive.folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("level", "uids", "left", "moved"),
    [
        ("study", ["1.2.3"], 4, 5),
        ("study", ["1.2.3", "1.2.4"], 0, 9),
        ("series", ["1.2.3.1"], 6, 2),
        ("instance", ["1.2.3.1.1", "1.2.4.2.2"], 6, 2),
        ("instance", ["1.2.3.1.1", "1.2.3.1.2"], 6, 2),
    ],
)
def test_delete_and_restore(
    filled: Archive, events: EventBus, level: str, uids: list[str], left: int, moved: int
) -> None:
    before, tables = listing(filled), [filled.table(one) for one in LEVELS]  # type: ignore[arg-type]
    with events.queue(StudiesChanged) as changed:
        trashed = filled.delete(uids, level)  # type: ignore[arg-type]
        told = set().union(*(event.study_uids for event in changed.drain()))
    assert told == {uid[:5] for uid in uids}
    assert (trashed.why, trashed.instances) == ("deleted", moved)
    assert [one.id for one in filled.trash()] == [trashed.id]
    gone = listing(filled)
    assert len(gone) == len(before) - moved
    assert len(filled.table("instance")) == left
    empty = [
        path for path in (filled.folder / "studies").rglob("*") if path.is_dir() and not any(path.iterdir())
    ]
    assert not empty
    now = [filled.table(one) for one in LEVELS]  # type: ignore[arg-type]
    filled.rebuild()
    for one, table in zip(LEVELS, now, strict=True):
        assert_frame_equal(filled.table(one), table)  # type: ignore[arg-type]
    restored = filled.restore(trashed.id)
    assert restored.instances == moved - (1 if level == "study" else 0)
    assert not restored.kept
    assert listing(filled) == before
    for one, table in zip(LEVELS, tables, strict=True):
        assert_frame_equal(filled.table(one), table)  # type: ignore[arg-type]
    assert not filled.trash()
    assert filled.verify().ok


def test_unknown_uids_touch_nothing(filled: Archive) -> None:
    before = listing(filled)
    with pytest.raises(UnknownUID, match=r"no study 9\.9"):
        filled.delete(["1.2.3", "9.9"])
    with pytest.raises(ValueError, match="no level 'patient'"):
        filled.delete("1.2.3", "patient")  # type: ignore[arg-type]
    with pytest.raises(UnknownUID, match="in the trash"):
        filled.restore("../studies")
    assert listing(filled) == before
    assert not (filled.folder / "trash").exists()


def test_sent_again_after_a_deletion(filled: Archive) -> None:
    """What was deleted may come again; the old one then stays in the trash, until the new one is deleted."""
    trashed = filled.delete("1.2.4.1.1", "instance")
    again = send_to(filled, make("1.2.4.1.1", "1.2.4", "1.2.4.1", Rows=9))
    assert not again.duplicate
    assert not again.aside
    restored = filled.restore(trashed.id)
    ((path, reason),) = restored.kept
    assert path.exists()
    assert "delete that first" in reason
    filled.delete("1.2.4.1.1", "instance")
    assert filled.restore(trashed.id).instances == 1
    assert len(filled.table("instance")) == 8


def test_empty_the_trash(filled: Archive) -> None:
    trashed = filled.delete("1.2.3")
    assert filled.empty_trash(older_than_days=1) == 0
    assert filled.empty_trash() == trashed.bytes > 0
    assert not filled.trash()
    with pytest.raises(UnknownUID):
        filled.restore(trashed.id)
    assert len(filled.table("instance")) == 4


def test_only_the_owner_deletes(filled: Archive) -> None:
    with Archive.read(filled.folder) as reader, pytest.raises(ArchiveError, match="opened to read"):
        reader.delete("1.2.3")


def test_received_while_deleted(archive: Archive) -> None:
    """Each instance that was told as stored is stored, or in the trash: never lost, never half."""
    stop = threading.Event()
    wrong: list[str] = []

    def send() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            stored = send_to(
                archive, make(f"5.{number % 20}", "1.2.3", "1.2.3.0", InstanceNumber=number % 20)
            )
            if stored.aside:
                wrong.append(stored.sop_instance_uid)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        with events_of(archive, 10):
            pass
        archive.delete("1.2.3")
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not wrong
    table = archive.table("instance")
    assert {str(path) for path in (archive.folder / "studies").rglob("*.dcm")} == set(table.path)
    assert archive.verify().ok


class events_of:
    """Waits until the index has so many instances, or all of the twenty."""

    def __init__(self, archive: Archive, count: int) -> None:
        self._archive, self._count = archive, count

    def __enter__(self) -> None:
        while len(self._archive.table("instance")) < self._count:
            pass

    def __exit__(self, *_: object) -> None: ...


def test_waits_for_what_is_being_stored(filled: Archive) -> None:
    """Of the same UID: whoever is first is done first."""
    owner = filled._mine()
    with owner._keeper.reserve(["1.2.3.1.1"]):
        deleting = threading.Thread(target=filled.delete, args=("1.2.3",))
        deleting.start()
        deleting.join(0.3)
        assert deleting.is_alive()
        assert len(filled.series_paths("1.2.3.1")) == 2
        assert not filled.trash()
    deleting.join(30)
    assert filled.trash()[0].instances == 5


def test_in_place_files_are_never_moved(archive: Archive, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    path = source / "one.dcm"
    path.write_bytes(send_to(archive, make("5.5", "1.2.9", "1.2.9.1")).path.read_bytes())
    archive.delete("1.2.9")
    archive.empty_trash()
    assert archive.import_paths([source], "in-place").stored == 1
    assert archive.series_paths("1.2.9.1") == [path]
    assert archive.delete("1.2.9").instances == 0
    assert path.exists()
    assert archive.studies().empty
    archive.rebuild()
    assert archive.studies().empty, "a rebuild does not bring it back"


# -- a person's marks


def test_checked_survives_rebuild_and_restart(
    filled: Archive, events: EventBus, fast: ArchiveSettings
) -> None:
    assert filled.checked() == frozenset()
    filled.check("1.2.3")
    filled.check("1.2.4")
    filled.check("1.2.4", False)
    assert filled.checked() == {"1.2.3"}
    with pytest.raises(UnknownUID):
        filled.check("9.9")
    with (filled.folder / "journal.jsonl").open("ab") as journal:  # a power cut within a line
        journal.write(b'{"at": 1, "what": "chec')
    assert filled.checked() == {"1.2.3"}
    filled.check("1.2.4")
    filled.rebuild()
    filled.close()
    (filled.folder / "index.sqlite").unlink()
    with Archive.create_or_open(filled.folder, events, fast) as archive:
        assert archive.checked() == {"1.2.3", "1.2.4"}
    with Archive.read(filled.folder) as reader:
        assert reader.checked() == {"1.2.3", "1.2.4"}
