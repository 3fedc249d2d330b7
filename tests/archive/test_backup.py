"""Copies of the index while it is written, and an index that comes back from one as if nothing had been."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pacskit.archive import Archive
from pacskit.archive.backup import AGAIN, Backups, all_backups, back_up, backup_place, fault_of, suspect
from pacskit.archive.caretaker import Caretaker
from pacskit.archive.checksums import Cancelled
from pacskit.archive.index import IndexReader
from pacskit.archive.marks import Marks
from pacskit.archive.recovery import Recovered
from pacskit.archive.restoring import catch_up
from pacskit.archive.trash import Trash
from pacskit.errors import ArchiveError
from pacskit.events import EventBus, StudyStable
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import encode, make, send_to

LEVELS = ("patient", "study", "series", "instance")
HOUR = 3600.0


def fill(archive: Archive, studies: int = 3, each: int = 4) -> None:
    for study in range(studies):
        for number in range(each):
            uid = f"1.2.{study}.{number}"
            send_to(archive, make(uid, f"1.2.{study}", f"1.2.{study}.0", InstanceNumber=number))
    archive.drain()


def answers(archive: Archive) -> list[pd.DataFrame]:
    return [archive.table(level) for level in LEVELS]  # type: ignore[arg-type]


def assert_same(found: list[pd.DataFrame], expected: list[pd.DataFrame]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert_frame_equal(one, other)


def lose(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        path.unlink()


def earlier(backup: Path, hours: float) -> Path:
    """As if it had been made so long ago: what came since has a later time then."""
    at = datetime.now(UTC) - timedelta(hours=hours)
    return backup.rename(backup.with_name(at.strftime("index-%Y%m%dT%H%M%SZ.sqlite")))


def damage_a_page(index: Path) -> None:
    """The schema is good, a table is not: nothing of it is met when it is opened."""
    with closing(sqlite3.connect(index)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='series'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    raw = bytearray(index.read_bytes())
    raw[(root - 1) * size : root * size] = b"\xa5" * size
    index.write_bytes(raw)


# -- making one


def test_a_backup_is_a_whole_private_index(archive: Archive) -> None:
    fill(archive)
    before = datetime.now(UTC).replace(microsecond=0)
    made = archive.backup()
    assert before <= made.at <= datetime.now(UTC)
    assert made.path.parent == archive.folder / "backups"
    assert made.path.name == made.at.strftime("index-%Y%m%dT%H%M%SZ.sqlite")
    assert made.bytes == made.path.stat().st_size
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name], "no leftovers"
    assert fault_of(made.path) == ""
    with closing(sqlite3.connect(f"file:{made.path}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("SELECT count(*) FROM instance").fetchone() == (12,)
    if os.name != "nt":
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700


def test_a_reader_may_make_one_beside_the_owner(archive: Archive, tmp_path: Path) -> None:
    fill(archive)
    with Archive.read(archive.folder) as reader:
        made = reader.backup(tmp_path / "elsewhere")
    assert made.path.parent == backup_place(archive.folder, tmp_path / "elsewhere")
    assert fault_of(made.path) == ""


def test_commits_meanwhile_do_not_begin_it_anew(archive: Archive) -> None:
    """A writer that commits between any two pieces: without one snapshot it would never end."""
    fill(archive)
    pieces: list[int] = []

    def commit_one() -> bool:
        pieces.append(len(pieces))
        assert len(pieces) < 50, "it began anew"
        send_to(archive, make(f"7.{len(pieces)}", "1.2.0", "1.2.0.0", InstanceNumber=len(pieces)))
        archive.drain()
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pacskit.archive.backup.PIECE", 2)
        made = back_up(archive._index, archive.folder / "backups", stop=commit_one, pause=0.0)
    assert len(pieces) > 10
    with closing(sqlite3.connect(f"file:{made.path}?mode=ro&immutable=1", uri=True)) as copy:
        assert copy.execute("SELECT count(*) FROM instance").fetchone() == (12,), "as it was at the beginning"
    assert archive.count("instance") == 12 + len(pieces)


def test_one_that_is_cancelled_leaves_nothing(archive: Archive) -> None:
    fill(archive)
    with pytest.raises(Cancelled):
        back_up(archive._index, archive.folder / "backups", stop=lambda: True)
    assert not list((archive.folder / "backups").iterdir())


def test_leftovers_of_a_killed_one_go(archive: Archive) -> None:
    fill(archive)
    place = archive.folder / "backups"
    place.mkdir()
    old, young = (place / f"index-20260101T00000{n}Z.sqlite.{n}.part" for n in (1, 2))
    old.touch()
    young.touch()
    os.utime(old, (0, 0))
    archive.backup()
    assert not old.exists()
    assert young.exists(), "of another process, perhaps at work"


def test_bad_places_are_sentences(archive: Archive, tmp_path: Path) -> None:
    fill(archive)
    (tmp_path / "file").touch()
    with (
        Archive.read(archive.folder) as reader,
        pytest.raises(ArchiveError, match=r"cannot be written: .*file"),
    ):
        reader.backup(tmp_path / "file")
    settings = ArchiveSettings(min_free="90 %")
    if shutil.disk_usage(tmp_path).free < 0.9 * shutil.disk_usage(tmp_path).total:
        with pytest.raises(ArchiveError, match=r"no room for a backup.*archive\.backup_folder"):
            Backups(archive.folder, archive._index, settings).make()


# -- on a schedule


@pytest.fixture
def daily(archive: Archive) -> Backups:
    fill(archive)
    return Backups(archive.folder, archive._index, ArchiveSettings(backup_every=24, backup_keep=2))


def test_when_it_is_due(archive: Archive, daily: Backups) -> None:
    place = archive.folder / "backups"

    def hours(every: int = 24) -> int:
        """Until the next one, after a look."""
        daily.follow(ArchiveSettings(backup_every=every))
        assert daily.due() == 0, "to look at once"
        daily.run(lambda: False)
        return round((daily.due() or 0) / HOUR)

    assert hours() == 24, "a day after the archive was made"
    assert hours(5) == 5
    assert not place.exists()
    daily.follow(ArchiveSettings(backup_every=0))
    assert daily.due() is None
    made = earlier(archive.backup().path, 20)
    assert hours() == 4
    assert all_backups(place)[0].path == made
    made = earlier(made, 30)
    assert hours() == 24
    (new, old) = all_backups(place)
    assert old.path == made
    made.unlink()
    earlier(new.path, -48)
    assert hours() == 24, "and not again at once"
    assert len(all_backups(place)) == 2, "the clock was wrong, then or now"


def test_the_oldest_go(archive: Archive, daily: Backups) -> None:
    names = [earlier(daily.make().path, hours).name for hours in (-1000, 70, 50)]
    stranger = archive.folder / "backups" / "index-notes.txt"
    stranger.touch()
    newest = daily.make()
    found = [one.path.name for one in all_backups(archive.folder / "backups")]
    assert found == [newest.path.name, names[2]], "one from the future is not the newest"
    assert stranger.exists()


def test_nothing_to_back_up(archive: Archive) -> None:
    os.utime(archive.folder / "format.json", (0, 0))
    daily = Backups(archive.folder, archive._index, ArchiveSettings(backup_every=24))
    daily.run(lambda: False)
    assert not (archive.folder / "backups").exists()


def test_a_failure_is_told_once_and_tried_again(
    archive: Archive, daily: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    (archive.folder / "backups").touch()
    os.utime(archive.folder / "format.json", (0, 0))
    for _ in range(2):
        daily.run(lambda: False)
        assert AGAIN - 60 < (daily.due() or 0) <= AGAIN
    assert len([one for one in caplog.records if "no backup of the index" in one.message]) == 1
    (archive.folder / "backups").unlink()
    daily.run(lambda: False)
    assert len(all_backups(archive.folder / "backups")) == 1


class Told(Backups):
    """Says when it has run."""

    def __init__(self, archive: Archive, every: int) -> None:
        self.done = threading.Event()
        super().__init__(archive.folder, archive._index, ArchiveSettings(backup_every=every))

    def run(self, stop: Callable[[], bool]) -> None:
        super().run(stop)
        self.done.set()


def caretaker(archive: Archive, events: EventBus, chore: Backups, idle: float) -> Caretaker:
    trash, marks = Trash(archive.folder, False), Marks(archive.folder, False)
    return Caretaker(
        archive.folder, events, marks, trash, archive.drain, 0, idle=idle, quiet=0.01, chores=[chore]
    )


def test_the_caretaker_does_it_while_something_is_received(archive: Archive, events: EventBus) -> None:
    fill(archive)
    earlier(archive.backup().path, 30)
    chore = Told(archive, 24)
    keeper = caretaker(archive, events, chore, idle=1000)
    keeper.receiving()
    keeper.start()
    try:
        assert chore.done.wait(30)
    finally:
        keeper.close()
    assert len(all_backups(archive.folder / "backups")) == 2


def test_new_settings_wake_a_caretaker_at_rest(archive: Archive, events: EventBus) -> None:
    fill(archive)
    earlier(archive.backup().path, 30)
    owner, chore = archive._mine(), Told(archive, 0)
    owner._caretaker.close()
    owner.backups, owner._caretaker = chore, caretaker(archive, events, chore, idle=0.01)
    owner._caretaker.start()
    assert owner._caretaker.wait_until_done(30)
    archive.follow(ArchiveSettings(backup_every=24))
    assert chore.done.wait(30)
    assert len(all_backups(archive.folder / "backups")) == 2


def test_settings_are_followed(archive: Archive) -> None:
    fill(archive)
    owner = archive._mine()
    archive.follow(ArchiveSettings(backup_every=0))
    assert owner.backups.due() is None
    owner._caretaker.close()
    earlier(archive.backup().path, 1.5)
    archive.follow(ArchiveSettings(backup_every=1, backup_keep=1, backup_folder=archive.folder.parent / "b"))
    owner.backups.run(lambda: False)
    assert round((owner.backups.due() or 0) / HOUR) == 1
    assert len(all_backups(archive.folder / "backups")) == 1
    archive.backup()
    made = archive.backup()
    assert all_backups(made.path.parent) == [made]
    assert made.path.is_relative_to(archive.folder.parent / "b")


# -- coming back


@pytest.fixture
def closed(tmp_path: Path, fast: ArchiveSettings) -> Path:
    """An archive with a backup of two hours ago, and what has happened since."""
    folder = tmp_path / "archive"
    with Archive.create_or_open(folder, EventBus(), fast) as archive:
        fill(archive)
        archive.import_paths([_source(tmp_path, "old")], "in-place")
        earlier(archive.backup().path, 2)
    for path in [
        *folder.rglob("*.dcm")
    ]:  # all of them are older; that their names are new is not told by utime
        os.utime(path, (time.time() - 5 * HOUR,) * 2)
    return folder


def _source(tmp_path: Path, name: str) -> Path:
    """A folder with one file as others wrote it."""
    place = tmp_path / name
    place.mkdir()
    dataset = make(f"8.{len(name)}.1", f"8.{len(name)}", f"8.{len(name)}.0")
    (place / "one.dcm").write_bytes(encode(dataset))
    return place


@pytest.mark.parametrize("loss", ["deleted", "noise", "empty", "half", "page"])
def test_it_comes_back(closed: Path, events: EventBus, fast: ArchiveSettings, loss: str) -> None:
    with Archive.create_or_open(closed, events, fast) as archive:
        expected = answers(archive)
        assert archive.recovered.backup is None
    index = closed / "index.sqlite"
    if loss == "deleted":
        lose(closed)
    elif loss == "noise":
        index.write_bytes(b"no database " * 1000)
    elif loss == "empty":
        index.write_bytes(b"")
    elif loss == "half":
        index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])
        suspect(index)
    else:
        damage_a_page(index)
        suspect(index)
    with Archive.create_or_open(closed, events, fast) as archive:
        (backup,) = all_backups(closed / "backups")
        assert archive.recovered.backup == backup.path
        assert_same(answers(archive), expected)
        assert archive.verify().ok
    assert not list(closed.glob("index.sqlite-*")), "neither notes nor a log are left"


def test_a_good_suspect_is_cleared(closed: Path, events: EventBus, fast: ArchiveSettings) -> None:
    suspect(closed / "index.sqlite")
    with Archive.create_or_open(closed, events, fast) as archive:
        assert archive.recovered.backup is None
    assert not (closed / "index.sqlite-suspect").exists()


def test_a_failed_writer_makes_it_suspect(closed: Path, fast: ArchiveSettings) -> None:
    """A page is bad and nobody knows: the first who meets it ends, the next start mends it."""
    damage_a_page(closed / "index.sqlite")
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        send_to(archive, make("6.1", "1.2.0", "1.2.0.0"))
        with pytest.raises(ArchiveError, match="index failed"):
            archive.drain()
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert archive.recovered.backup is not None
        assert archive.count("instance") == 14


def test_a_damaged_index_is_not_backed_up(closed: Path, fast: ArchiveSettings) -> None:
    before = all_backups(closed / "backups")
    damage_a_page(closed / "index.sqlite")
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        with pytest.raises(ArchiveError, match="damaged"):
            archive.backup()
        assert all_backups(closed / "backups") == before
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert archive.recovered.backup == before[0].path


def test_a_rebuild_that_fails_makes_it_suspect(closed: Path, fast: ArchiveSettings) -> None:
    damage_a_page(closed / "index.sqlite")
    with Archive.create_or_open(closed, EventBus(), fast) as archive, pytest.raises(ArchiveError):
        archive.rebuild()
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert archive.count("instance") == 13


def test_what_changed_since(closed: Path, tmp_path: Path, fast: ArchiveSettings) -> None:
    """New, deleted, restored, replaced and foreign instances: as after a rebuild, and told as little."""
    settings = fast.model_copy(update={"duplicates": "replace"})
    with Archive.create_or_open(closed, EventBus(), settings) as archive:
        send_to(archive, make("1.2.0.9", "1.2.0", "1.2.0.0", InstanceNumber=9))
        send_to(archive, make("5.1", "5", "5.0"))
        replaced = send_to(archive, make("1.2.1.1", "1.2.1", "1.2.1.0", InstanceNumber=1, PatientSex="F"))
        archive.delete("1.2.0.0", "instance")
        archive.delete("1.2.2")
        archive.delete("8.3")
        archive.restore(archive.delete("1.2.0.2", "instance").id)
        archive.import_paths([_source(tmp_path, "newer")], "in-place")
        archive.import_paths([_source(tmp_path, "newest")], "link")
        archive.rebuild()
        expected = answers(archive)
    lose(closed)
    bus = EventBus()
    with Archive.create_or_open(closed, bus, settings) as archive:
        assert_same(answers(archive), expected)
        found = archive.recovered
        assert found.gone == 1 + 4 + 1
        assert found.rows >= 6
        assert archive.verify().ok
        assert send_to(archive, make("5.1", "5", "5.0")).duplicate, "it is known"
        assert replaced.path.exists()
        assert not bus.recent(StudyStable)


def test_headers_of_what_is_known_are_not_read(closed: Path, fast: ArchiveSettings) -> None:
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        owner, report, later = archive._mine(), Recovered(), time.time() + 1000
        content = {path: path.read_bytes() for path in (closed / "studies").rglob("*.dcm")}
        for path in content:
            path.write_bytes(bytes(path.stat().st_size))
        catch_up(closed, owner.index, later, owner._imported(), report)
        assert report == Recovered(), "of the same size, and older than the backup"
        for path in content:
            path.unlink()
        catch_up(closed, owner.index, later, owner._imported(), report)
        assert report == Recovered(gone=12)
        for path, raw in content.items():
            path.write_bytes(raw)
        catch_up(closed, owner.index, later, owner._imported(), report)
        assert report == Recovered(gone=12, rows=12)


def test_damaged_backups_are_passed_over(
    closed: Path, fast: ArchiveSettings, caplog: pytest.LogCaptureFixture
) -> None:
    (good,) = all_backups(closed / "backups")
    bad, empty, newer = (
        earlier(Path(shutil.copy(good.path, closed / "backups" / "x")), h) for h in (0, 0.5, 1)
    )
    damage_a_page(bad)
    empty.write_bytes(b"")
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version=99")
        connection.commit()
    lose(closed)
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert archive.recovered.backup == good.path
        assert stat.S_IMODE((closed / "index.sqlite").stat().st_mode) == 0o600
        assert archive.count("instance") == 13
    assert "a newer pacskit made it" in caplog.text
    good.path.unlink()
    lose(closed)
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert archive.recovered.backup is None
        assert archive.count("instance") == 13, "made from the files"


@pytest.mark.parametrize("with_backup", [True, False])
def test_killed_while_it_catches_up(
    closed: Path, fast: ArchiveSettings, monkeypatch: pytest.MonkeyPatch, with_backup: bool
) -> None:
    """The restored or empty index stands there, and lacks rows: the next start must know that."""
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        send_to(archive, make("5.1", "5", "5.0"))
        archive.drain()
        expected = answers(archive)
    if not with_backup:
        shutil.rmtree(closed / "backups")
    lose(closed)

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pacskit.archive.owner.catch_up", killed)
        patch.setattr("pacskit.archive.owner.rebuild", killed)
        with pytest.raises(Killed):
            Archive.create_or_open(closed, EventBus(), fast)
    assert (closed / "index.sqlite-behind").exists()
    with Archive.create_or_open(closed, EventBus(), fast) as archive:
        assert_same(answers(archive), expected)
    assert not (closed / "index.sqlite-behind").exists()


def test_in_a_folder_for_several_archives(tmp_path: Path, events: EventBus) -> None:
    settings = ArchiveSettings(durability="fast", backup_folder=tmp_path / "backups", backup_keep=1)
    for name in ("one", "two"):
        with Archive.create_or_open(tmp_path / name / "archive", events, settings) as archive:
            fill(archive, studies=1 if name == "one" else 2)
            archive.backup()
    assert len(list((tmp_path / "backups").iterdir())) == 2
    lose(tmp_path / "one" / "archive")
    with Archive.create_or_open(tmp_path / "one" / "archive", events, settings) as archive:
        assert archive.recovered.backup is not None
        assert archive.count("study") == 1
        assert isinstance(archive._index, IndexReader)
