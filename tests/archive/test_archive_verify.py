"""Damage is found: by the crc32 that was made while receiving, by sha256, by what is missing or unknown."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest

from pacskit.archive import Archive
from pacskit.archive.caretaker import Caretaker
from pacskit.archive.checksums import crc_of, read_sums
from pacskit.archive.marks import Marks
from pacskit.archive.trash import Trash
from pacskit.archive.verify import VerifyProgress
from pacskit.events import EventBus, InstanceDamaged
from pacskit.imaging.part10 import read_head
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def safe(tmp_path: Path, events: EventBus) -> Archive:
    archive = Archive.create_or_open(tmp_path / "safe", events, ArchiveSettings())
    for number in range(5):
        send_to(archive, make(f"1.2.3.{number}", InstanceNumber=number, EncapsulatedDocument=bytes(5000)))
    archive.drain()
    return archive


def caretaker(archive: Archive, events: EventBus, idle: float = 0.01) -> Caretaker:
    trash, marks = Trash(archive.folder, False), Marks(archive.folder, False)
    return Caretaker(archive.folder, events, marks, trash, archive.drain, 0, idle=idle, quiet=0.01)


def sum_up(archive: Archive, events: EventBus) -> None:
    keeper = caretaker(archive, events)
    keeper.start()
    try:
        assert keeper.wait_until_done(30)
    finally:
        keeper.close()


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_crc_is_that_of_the_data_set(safe: Archive) -> None:
    with safe:
        for path in safe.series_paths("1.2.3.0"):
            raw = path.read_bytes()
            head = read_head(raw)
            assert crc_of(head) == zlib.crc32(raw[head.offset :])
            assert raw[:128] == bytes(128)


def test_fast_makes_none(archive: Archive) -> None:
    """It costs as much as all of the rest of receiving a CT image; the caretaker makes sha256 later."""
    assert crc_of(read_head(send_to(archive, make()).path.read_bytes())) is None


@pytest.mark.parametrize("rebuilt", [False, True])
def test_each_kind_of_damage_is_told(safe: Archive, rebuilt: bool) -> None:
    with safe:
        assert safe.verify().ok
        paths = safe.series_paths("1.2.3.0")
        flip(paths[1], -100)
        paths[2].unlink()
        stranger = paths[0].with_name("000009-stranger.dcm")
        stranger.write_bytes(b"who put me here?")
        if rebuilt:
            safe.rebuild()
        seen: list[VerifyProgress] = []
        report = safe.verify(seen.append)
        assert [path for path, _ in report.damaged] == [paths[1]]
        assert "crc32" in dict(report.damaged)[paths[1]]
        assert report.missing == ([] if rebuilt else [paths[2]])
        assert report.unknown == [stranger]
        assert not report.ok
        assert len(list(report.sentences())) == len(report.damaged) + len(report.missing) + 1
        assert (seen[-1].done, seen[-1].total) == (report.checked, 4 if rebuilt else 5)
        assert paths[1].exists(), "nothing is changed"


def test_sha256_finds_what_crc_does_not_cover(safe: Archive, events: EventBus) -> None:
    """The head of a file; a lost file whose row a rebuild forgot. sha256sum reads the same list."""
    with safe:
        sum_up(safe, events)
        paths = safe.series_paths("1.2.3.0")
        (sums,) = (safe.folder / "sums").iterdir()
        known = read_sums(safe.folder, sums.stem)
        assert {safe.folder / name: value for name, value in known.items()} == {
            path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
        }
        tool = subprocess.run(["sha256sum", "-c", "--quiet", sums], cwd=safe.folder, check=False)
        assert tool.returncode == 0
        assert safe.verify().ok
        flip(paths[0], 3)
        paths[1].unlink()
        safe.rebuild()
        report = safe.verify()
        assert [path for path, _ in report.damaged] == [paths[0]]
        assert "sha256" in report.damaged[0][1]
        assert report.missing == [paths[1]]


def test_what_leaves_is_not_missing(safe: Archive, events: EventBus) -> None:
    with safe:
        sum_up(safe, events)
        trashed = safe.delete("1.2.3.1", "instance")
        assert safe.verify().ok
        safe.rebuild()
        assert safe.verify().ok
        safe.restore(trashed.id)
        sum_up(safe, events)
        assert safe.verify().ok


def test_a_replaced_one_has_a_checksum_of_its_own(tmp_path: Path, events: EventBus) -> None:
    settings = ArchiveSettings(duplicates="replace")
    with Archive.create_or_open(tmp_path, events, settings) as archive:
        send_to(archive, make())
        archive.drain()
        sum_up(archive, events)
        send_to(archive, make(Rows=4))
        archive.drain()
        assert archive.verify().ok


def test_the_caretaker_tells_of_damage_and_goes_on(safe: Archive, events: EventBus) -> None:
    with safe:
        paths = safe.series_paths("1.2.3.0")
        flip(paths[0], -1)
        sum_up(safe, events)
        assert [event.path for event in events.recent(InstanceDamaged)] == [str(paths[0])]
        assert len(read_sums(safe.folder, next((safe.folder / "sums").iterdir()).stem)) == 4


def test_the_caretaker_stops_while_something_comes(safe: Archive, events: EventBus) -> None:
    """And takes up where it stopped."""
    with safe:
        keeper = caretaker(safe, events, idle=3600.0)
        keeper.receiving()
        keeper.start()
        assert not keeper.wait_until_done(0.3)
        assert not (safe.folder / "sums").exists()
        keeper.close()
        sum_up(safe, events)
        (sums,) = (safe.folder / "sums").iterdir()
        before = sums.read_bytes()
        sum_up(safe, events)
        assert sums.read_bytes() == before
        sums.write_bytes(before[:-20])  # a power cut within a line
        sum_up(safe, events)
        assert safe.verify().ok
        assert len(read_sums(safe.folder, sums.stem)) == 5


def test_cancelled(safe: Archive) -> None:
    with safe:
        cancel = threading.Event()
        report = safe.verify(lambda progress: cancel.set() if progress.done == 2 else None, cancel)
        assert (report.cancelled, report.checked) == (True, 2)


def test_command_line(safe: Archive) -> None:
    command = [sys.executable, "-m", "pacskit", "verify", "--archive", str(safe.folder)]
    with safe:  # also beside an owner
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.returncode, done.stdout) == (0, "5 files checked: all as stored\n"), done.stderr
        path = safe.series_paths("1.2.3.0")[0]
        flip(path, -1)
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 1
        assert f"damaged: {path}" in done.stdout
        assert "1 thing is wrong" in done.stdout
