"""StudyStable: once it is quiet, over restarts, after imports, whatever the clock does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacskit.archive import Archive
from pacskit.archive.stable import Quiet, unstable_studies
from pacskit.errors import UnknownUID
from pacskit.events import EventBus, StudyStable
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to
from tests.archive.test_archive_import_ways import write

ROOT = Path(__file__).resolve().parents[2]
LONG = 3600.0
SOON = 0.05
KILLED = """
import os, sys
from pacskit.archive import Archive
from pacskit.events import EventBus
from tests.archive.conftest import make, send_to
archive = Archive.create_or_open(sys.argv[1], EventBus())
send_to(archive, make("1.2.3.1"))
send_to(archive, make("9.9.1", "9.9", "9.9.0"))
archive.drain()
os._exit(9)
"""


def settings(after: float) -> ArchiveSettings:
    return ArchiveSettings(durability="fast", stable_after=after)


@pytest.fixture
def soon(tmp_path: Path, events: EventBus) -> Iterator[Archive]:
    with Archive.create_or_open(tmp_path / "archive", events, settings(SOON)) as archive:
        yield archive


def test_told_once_with_counts(soon: Archive, events: EventBus) -> None:
    with events.queue(StudyStable) as told:
        soon.stable_after = LONG
        for number in range(5):
            send_to(soon, make(f"1.2.3.{number}"))
        send_to(soon, make("9.9.1", "9.9", "9.9.0"))
        assert soon.completeness("1.2.3").quiet_since is None
        assert told.drain() == []
        soon.stable_after = SOON
        found = {event.study_uid: event for event in (told.get(20), told.get(20)) if event}
    assert set(found) == {"1.2.3", "9.9"}
    assert (found["1.2.3"].series, found["1.2.3"].instances) == (1, 5)
    assert told.get(SOON * 4) is None
    soon.close()
    assert (soon.folder / "unstable").read_bytes() == b""


def test_more_comes_later(soon: Archive, events: EventBus) -> None:
    with events.queue(StudyStable) as told:
        for number in (1, 2):
            send_to(soon, make(f"1.2.3.{number}"))
            event = told.get(20)
            assert event is not None
            assert event.instances == number
        assert soon.completeness("1.2.3").instances == 2


def test_each_row_begins_the_time_anew(tmp_path: Path) -> None:
    told = threading.Event()
    quiet = Quiet(tmp_path, LONG, lambda _: told.set())
    quiet.touch({"1.2"})
    first = quiet._touched["1.2"]
    quiet.touch({"1.3"})
    quiet.touch({"1.2"})
    assert list(quiet._touched) == ["1.3", "1.2"], "the one that waits longest stands first"
    assert quiet._touched["1.2"] > first
    quiet.close()
    assert not told.is_set()


def test_nothing_is_quiet_while_it_is_imported(tmp_path: Path) -> None:
    told: list[str] = []
    some = threading.Semaphore(0)

    def stable(uid: str) -> None:
        told.append(uid)
        some.release()

    quiet = Quiet(tmp_path, SOON, stable)
    with quiet.importing():
        quiet.touch({"1.2"}, imported=True)
        quiet.touch({"1.3"})
        assert some.acquire(timeout=20)
        quiet.touch({"1.2", "1.4"})
        assert some.acquire(timeout=20)
        assert told == ["1.3", "1.4"]
    assert some.acquire(timeout=20)
    assert told == ["1.3", "1.4", "1.2"]
    quiet.close()


def test_after_an_import(soon: Archive, events: EventBus, tmp_path: Path) -> None:
    write(tmp_path / "source", 100)
    with events.queue(StudyStable) as told:
        assert soon.import_paths([tmp_path / "source"]).stored == 100
        event = told.get(20)
        assert event is not None
        assert event.instances == 100
        assert told.get(SOON * 4) is None


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_over_a_restart(tmp_path: Path, events: EventBus, how: str) -> None:
    folder = tmp_path / "archive"
    if how == "killed":
        done = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=ROOT, check=False, timeout=60)
        assert done.returncode == 9
    else:
        with Archive.create_or_open(folder, EventBus(), settings(LONG)) as archive:
            send_to(archive, make("1.2.3.1"))
            send_to(archive, make("9.9.1", "9.9", "9.9.0"))
    assert unstable_studies(folder) == {"1.2.3", "9.9"}
    with Archive.read(folder) as reader:
        assert reader.completeness("9.9").quiet_since is None
    if how == "killed":
        (folder / "index.sqlite").unlink()
    with (
        events.queue(StudyStable) as told,
        Archive.create_or_open(folder, events, settings(SOON)) as archive,
    ):
        found = {event.study_uid for event in (told.get(20), told.get(20)) if event}
        assert found == {"1.2.3", "9.9"}
        (received,) = archive.studies(StudyInstanceUID="9.9").received_at
    with Archive.read(folder) as reader:
        assert reader.completeness("9.9").quiet_since == received.to_pydatetime()
    with events.queue(StudyStable) as told, Archive.create_or_open(folder, events, settings(SOON)):
        assert told.get(SOON * 4) is None, "told is told"


@pytest.mark.parametrize("wrong", [-1e9, 1e9])
def test_the_clock_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    """The computer's clock jumps by years; the time until it is quiet stays what it is."""
    told = threading.Event()
    quiet = Quiet(tmp_path, LONG, lambda _: told.set())
    quiet.touch({"1.2.3"})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + wrong)
    quiet.touch({"1.2.4"})
    quiet.after = LONG / 2
    assert not told.wait(SOON)
    quiet.after = SOON
    assert told.wait(20)
    quiet.close()


def test_idle_costs_no_thread(soon: Archive) -> None:
    assert "pacskit-quiet" not in {thread.name for thread in threading.enumerate()}


def test_torn_end_and_nonsense(tmp_path: Path) -> None:
    (tmp_path / "unstable").write_bytes(b"+1.2\n+no uid\n-9.9\n+1.3\n-1.2\n+1.4")
    assert unstable_studies(tmp_path) == {"1.3"}
    quiet = Quiet(tmp_path, LONG, lambda _: None)
    assert (tmp_path / "unstable").read_bytes() == b"+1.3\n"
    quiet.touch({"1.5"})
    quiet.close()
    assert unstable_studies(tmp_path) == {"1.3", "1.5"}


def test_disk_full_does_not_stop_it(tmp_path: Path) -> None:
    (tmp_path / "unstable").mkdir()
    told = threading.Event()
    quiet = Quiet(tmp_path, SOON, lambda _: told.set())
    quiet.touch({"1.2"})
    assert told.wait(20)
    quiet.close()


def test_receiver_that_fails_is_told_again(tmp_path: Path) -> None:
    called = threading.Event()

    def fail(_: str) -> None:
        called.set()
        raise RuntimeError("no")

    quiet = Quiet(tmp_path, SOON, fail)
    quiet.touch({"1.2"})
    assert called.wait(20)
    quiet.close()
    assert unstable_studies(tmp_path) == {"1.2"}


def test_unknown_study(soon: Archive) -> None:
    for ask in (soon.gaps, soon.completeness):
        with pytest.raises(UnknownUID):
            ask("1.2.3")


def test_rows_committed_at_the_very_end(tmp_path: Path) -> None:
    """The index is closed last: what it still commits is noted, and no file stays open."""
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    quiet = Quiet(tmp_path, LONG, lambda _: None)
    quiet.touch({"1.2"})
    quiet.close()
    quiet.touch({"1.3"})
    assert unstable_studies(tmp_path) == {"1.2", "1.3"}
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before
