"""`archive.min_free`: A700 before the disk is full, told in time, and it goes on when there is room again."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from pacskit.archive import Archive
from pacskit.archive import space as space_module
from pacskit.archive.space import Space
from pacskit.errors import ArchiveError
from pacskit.events import EventBus, StorageLow
from pacskit.settings.models import ArchiveSettings
from pacskit.settings.sizes import check_room, room_in_bytes
from tests.archive.conftest import make, send_to
from tests.archive.test_archive_failures import ROOM, small_disk

__all__ = ["small_disk"]
Disk = namedtuple("Disk", "total used free")


@pytest.mark.parametrize(
    ("given", "kept", "of_a_terabyte"),
    [
        ("20GB", "20 GB", 20_000_000_000),
        (" 5 % ", "5 %", 50_000_000_000),
        ("0.5 %", "0.5 %", 5_000_000_000),
        ("100 mb", "100 MB", 100_000_000),
        ("0 MB", "0 MB", 0),
    ],
)
def test_room_as_a_person_writes_it(given: str, kept: str, of_a_terabyte: int) -> None:
    assert ArchiveSettings(min_free=given).min_free == kept == check_room(kept)
    assert room_in_bytes(given, 10**12) == of_a_terabyte


@pytest.mark.parametrize("given", ["", "20", "GB", "-5 GB", "95 %", "5 GiB and more", "nan MB"])
def test_room_that_is_none(given: str) -> None:
    with pytest.raises(ValidationError, match=r"of a disk|room on a disk"):
        ArchiveSettings(min_free=given)


def test_refused_before_the_disk_is_full(small_disk: Path, events: EventBus) -> None:
    settings = ArchiveSettings(min_free="50 %")
    with Archive.create_or_open(small_disk / "archive", events, settings) as archive:
        send_to(archive, make())
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(ROOM // 2))
        archive.storage()
        with pytest.raises(
            ArchiveError, match=r"only 1 MB free: make room. archive.min_free keeps 50 %"
        ) as failure:
            send_to(archive, make("1.2.3.2"))
        assert failure.value.dimse_status == 0xA700
        assert [event.refusing for event in events.recent(StorageLow)][-1]
        assert archive.storage().refusing
        assert not list((archive.folder / "incoming").iterdir())
        ballast.unlink()
        assert not send_to(archive, make("1.2.3.2")).duplicate
        assert len(archive.studies()) == 1


def test_a_large_one_is_refused_on_its_way(
    small_disk: Path, events: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacskit.archive.incoming.ROOM_AGAIN", 100_000)
    monkeypatch.setattr(space_module, "LOOK_AGAIN", 0.0)
    settings = ArchiveSettings(min_free="50 %")
    with Archive.create_or_open(small_disk / "archive", events, settings) as archive:
        with pytest.raises(ArchiveError, match="make room"):
            send_to(archive, make(EncapsulatedDocument=bytes(int(ROOM * 0.7))))
        assert not list((archive.folder / "incoming").iterdir())
        send_to(archive, make())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """[now, free bytes]: what the computer says."""
    state = [1000.0, 900e9]
    monkeypatch.setattr(space_module.time, "monotonic", lambda: state[0])
    monkeypatch.setattr(space_module.shutil, "disk_usage", lambda _: Disk(10**12, 0, int(state[1])))
    return iter([state])  # type: ignore[return-value]


def test_forecast_and_steps(clock: Iterator[list[float]], tmp_path: Path) -> None:
    """Told once for each step, and again after there was room."""
    state = next(clock)
    events = EventBus()
    space = Space(tmp_path, "100 GB", events)

    def told() -> list[bool]:
        return [event.refusing for event in events.recent(StorageLow)]

    assert space.look().full_in is None
    state[:] = [1000.0 + 3600, 890e9]
    assert space.look().full_in == pytest.approx(79 * 3600), "10 GB an hour, 790 GB above the limit"
    assert told() == []
    state[:] = [1000.0 + 7200, 500e9]
    assert space.look().full_in == pytest.approx(2 * 3600)
    assert told() == [False], "full within a day"
    state[:] = [1000.0 + 10800, 250e9]
    space.look()
    assert told() == [False], "once"
    state[:] = [1000.0 + 14400, 99e9]
    with pytest.raises(ArchiveError):
        space.check()
    with pytest.raises(ArchiveError):
        space.check()
    assert told() == [False, True]
    assert events.recent(StorageLow)[-1].full_in == 0
    state[:] = [1000.0 + 18000, 950e9]
    space.check()
    state[:] = [1000.0 + 21600, 99e9]
    with pytest.raises(ArchiveError):
        space.check()
    assert told() == [False, True, True]
