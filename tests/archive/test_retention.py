"""Retention by age and size: told first, done a day later, and never what is protected, moving or in place."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from pacskit.archive import Archive, Expiring, Limits
from pacskit.archive.retention import AGAIN, DAY, LONG_AGO, NOTE, confirm
from pacskit.errors import ArchiveError, UnknownUID
from pacskit.events import EventBus, StudiesChanged, StudiesExpired
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import encode, make, send_to

OLD, NEWER, NEW, NOW = "1.2.100", "1.2.50", "1.2.10", "1.2.0"
AGES = {OLD: 100, NEWER: 50, NEW: 10, NOW: 0}
"""Study → days since something of it came."""


def settings(**limits: Any) -> ArchiveSettings:
    return ArchiveSettings(durability="fast", stable_after=0.01, **limits)


def fill(archive: Archive, events: EventBus) -> None:
    """One study of two instances for each age, all quiet."""
    for study, days in AGES.items():
        for number in (1, 2):
            body = make(
                f"{study}.{number}",
                study,
                f"{study}.0",
                InstanceNumber=number,
                PatientID=f"P{days}",
                EncapsulatedDocument=bytes(5000),
            )
            send_to(archive, body, at=time.time() - days * DAY - number)
    quieten(archive)


def quieten(archive: Archive) -> None:
    """As if all had been quiet long enough: the studies are stable, and have no marks."""
    archive.drain()
    deadline = time.monotonic() + 30
    while (archive.folder / "unstable").exists() and (archive.folder / "unstable").read_bytes():
        assert time.monotonic() < deadline
    owner = archive._mine()
    owner._marks.sweep(-1.0, owner._settle)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def filled(folder: Path, events: EventBus) -> Iterator[Archive]:
    with Archive.create_or_open(folder, events, settings()) as archive:
        fill(archive, events)
        yield archive


def uids(plan: list[Expiring], kept: bool = False) -> list[str]:
    return [one.study_uid for one in plan if bool(one.kept) == kept]


def here(archive: Archive) -> set[str]:
    return set(archive.studies()["study_uid"])


def size_of(archive: Archive, *study_uids: str) -> int:
    return int(archive.studies(StudyInstanceUID=list(study_uids or AGES))["bytes"].sum())


def in_kb(size: float) -> str:
    return f"{size / 1000:.3f} KB"


def source(place: Path, study: str) -> Path:
    place.mkdir()
    (place / "one.dcm").write_bytes(encode(make(f"{study}.9", study, f"{study}.0", InstanceNumber=9)))
    return place


# -- the plan


def test_off_by_default(filled: Archive) -> None:
    assert filled.retention_plan() == []
    assert filled._mine().retention.due() is None


def test_by_age(filled: Archive) -> None:
    plan = filled.retention_plan(keep_days=30)
    assert uids(plan) == [OLD, NEWER]
    assert (plan[0].patient_id, plan[0].study_date, plan[0].instances) == ("P100", "20260131", 2)
    assert plan[0].bytes == filled.studies(StudyInstanceUID=OLD)["bytes"][0]
    assert plan[0].received_at == filled.studies(StudyInstanceUID=OLD)["received_at"][0]
    assert plan[0].reason == "nothing received for 30 days"
    assert uids(filled.retention_plan(keep_days=100)) == [OLD]
    assert uids(filled.retention_plan(keep_days=101)) == []
    assert here(filled) == set(AGES), "nothing was changed"


def test_age_is_that_of_the_last_instance(filled: Archive) -> None:
    send_to(filled, make(f"{OLD}.3", OLD, f"{OLD}.0", InstanceNumber=3), at=time.time() - DAY)
    quieten(filled)
    assert uids(filled.retention_plan(keep_days=30)) == [NEWER]


def test_by_size(filled: Archive) -> None:
    assert uids(filled.retention_plan(keep_size=in_kb(size_of(filled)))) == []
    assert uids(filled.retention_plan(keep_size=in_kb(size_of(filled) - 1))) == [OLD]
    assert uids(filled.retention_plan(keep_size=in_kb(size_of(filled, NEW, NOW)))) == [OLD, NEWER]
    limit = in_kb(size_of(filled, NEW, NOW) - 1)
    plan = filled.retention_plan(keep_size=limit)
    assert uids(plan) == [OLD, NEWER, NEW]
    assert plan[0].reason == f"studies have more than {limit}"
    assert uids(filled.retention_plan(keep_size="100 %")) == []


def test_by_both(filled: Archive) -> None:
    plan = filled.retention_plan(keep_days=90, keep_size=in_kb(size_of(filled, NEWER, NEW, NOW)))
    assert [(one.study_uid, one.reason[:7]) for one in plan] == [(OLD, "nothing")], "its age makes the room"
    plan = filled.retention_plan(keep_days=90, keep_size=in_kb(size_of(filled, NEW, NOW)))
    assert [(one.study_uid, one.reason[:7]) for one in plan] == [(OLD, "nothing"), (NEWER, "studies")]


def test_the_trash_does_not_make_more_go(filled: Archive) -> None:
    """Else each look would send more after it."""
    limit = in_kb(size_of(filled, NEWER, NEW, NOW))
    assert len(filled.apply_retention(filled.retention_plan(keep_size=limit))) == 1
    assert filled.retention_plan(keep_size=limit) == []


def test_as_a_table(filled: Archive) -> None:
    table = pd.DataFrame(filled.retention_plan(keep_days=30))
    assert list(table.study_uid) == [OLD, NEWER]
    assert table["bytes"].sum() > 20_000
    assert {"received_at", "reason", "kept"} <= set(table.columns)


def test_a_study_of_two_patients_is_one(filled: Archive) -> None:
    """Deleting is by Study Instance UID: its youngest half keeps both."""
    odd = make(f"{OLD}.7", OLD, f"{OLD}.7", PatientID="other", PatientName="Roe^Ann")
    send_to(filled, odd, at=time.time() - DAY)
    quieten(filled)
    assert len(filled.studies(StudyInstanceUID=OLD)) == 2
    assert uids(filled.retention_plan(keep_days=30)) == [NEWER]
    assert [one.instances for one in filled.retention_plan(keep_size="1 KB") if one.study_uid == OLD] == [3]


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"keep_days": -1}, "days to keep"),
        ({"keep_days": 1.5}, "days to keep"),
        ({"keep_size": "much"}, "as 500 GB"),
        ({"keep_size": "0 GB"}, "leave it empty"),
        ({"keep_size": "120 %"}, "no more than 100 %"),
    ],
)
def test_bad_limits_are_sentences(filled: Archive, limits: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        filled.retention_plan(**limits)  # type: ignore[arg-type]
    if limits != {"keep_days": 1.5} and "keep_days" not in limits:
        with pytest.raises(ValidationError, match=sentence):
            ArchiveSettings(**limits)  # type: ignore[arg-type]


def test_sizes_as_a_person_writes_them() -> None:
    assert ArchiveSettings(keep_size=" 500gb ").keep_size == "500 GB"
    assert ArchiveSettings(keep_size="  ").keep_size == ""
    assert ArchiveSettings(keep_size="95 %").keep_size == "95 %"
    assert not Limits()
    assert Limits(days=1)
    assert Limits(size="1 GB")


# -- what stays


def test_protected_studies_stay(filled: Archive, folder: Path, events: EventBus) -> None:
    with events.queue(StudiesChanged) as changed:
        filled.protect(OLD)
        assert {uid for event in changed.drain() for uid in event.study_uids} == {OLD}
    filled.protect(NEWER)
    filled.protect(NEWER, False)
    filled.check(NEWER)
    assert (filled.protected(), filled.checked()) == ({OLD}, {NEWER})
    plan = filled.retention_plan(keep_days=30)
    assert (uids(plan), uids(plan, kept=True)) == ([NEWER], [OLD])
    assert plan[0].kept == "it is protected"
    limit = in_kb(size_of(filled, OLD, NEW, NOW))
    assert uids(filled.retention_plan(keep_size=limit)) == [NEWER], "another makes the room"
    with pytest.raises(UnknownUID):
        filled.protect("9.9")
    filled.rebuild()
    filled.close()
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    with Archive.create_or_open(folder, events, settings()) as again:
        assert again.protected() == {OLD}
        again.apply_retention(again.retention_plan(keep_days=30))
        assert here(again) == {OLD, NEW, NOW}
    with Archive.read(folder) as reader:
        assert reader.protected() == {OLD}
        with pytest.raises(ArchiveError, match="opened to read"):
            reader.protect(NEW)


def test_what_is_not_stable_stays(filled: Archive) -> None:
    filled.stable_after = 1000
    send_to(filled, make(f"{OLD}.3", OLD, f"{OLD}.0", InstanceNumber=3), at=time.time() - 99 * DAY)
    filled.drain()
    owner = filled._mine()
    owner._marks.sweep(-1.0, owner._settle)
    assert not list((filled.folder / "dirty").iterdir())
    plan = filled.retention_plan(keep_days=30)
    assert (uids(plan), uids(plan, kept=True)) == ([NEWER], [OLD])
    assert plan[0].kept == "it is not stable yet"


def test_what_is_just_being_written_stays(filled: Archive) -> None:
    """Its mark is there before its file and its row."""
    (folder_name,) = {path.name for path in (filled.folder / "studies").iterdir()} - {
        path.parts[-3] for study in (NEWER, NEW, NOW) for path in filled.series_paths(f"{study}.0")
    }
    mark = filled.folder / "dirty" / f"{folder_name}~{OLD}"
    mark.touch()
    assert uids(filled.retention_plan(keep_days=30)) == [NEWER]
    mark.unlink()
    assert uids(filled.retention_plan(keep_days=30)) == [OLD, NEWER]


def test_in_place_files_are_never_deleted(filled: Archive, tmp_path: Path) -> None:
    path = source(tmp_path / "theirs", OLD) / "one.dcm"
    filled.import_paths([path], "in-place")
    before = size_of(filled)
    quieten(filled)
    plan = filled.retention_plan(keep_size="1 KB")
    assert uids(plan, kept=True) == [OLD]
    assert next(one for one in plan if one.kept).kept == "it was imported in place"
    ours = before - path.stat().st_size
    assert filled.retention_plan(keep_size=in_kb(ours)) == [], "theirs takes no room of ours"
    assert len(filled.retention_plan(keep_size=in_kb(ours - 1))) == 1
    forged = [Expiring(**{name: getattr(one, name) for name in one.__slots__} | {"kept": ""}) for one in plan]
    filled.apply_retention(forged)
    assert here(filled) == {OLD}
    assert path.exists()


# -- doing it


def test_to_the_trash_and_back(filled: Archive, events: EventBus) -> None:
    before = filled.studies()
    with events.queue(StudiesExpired) as told, events.queue(StudiesChanged) as changed:
        trashed = filled.apply_retention(filled.retention_plan(keep_days=30))
        (event,) = told.drain()
        assert {uid for one in changed.drain() for uid in one.study_uids} == {OLD, NEWER}
    assert (event.study_uids, event.planned) == (frozenset({OLD, NEWER}), False)
    assert event.bytes == sum(one.bytes for one in trashed)
    assert here(filled) == {NEW, NOW}
    assert [(one.why, one.instances) for one in filled.trash()] == [("expired", 2)] * 2
    for one in trashed:
        filled.restore(one.id)
    pd.testing.assert_frame_equal(filled.studies(), before)
    assert filled.verify().ok


def test_what_has_changed_since_it_was_planned_stays(filled: Archive) -> None:
    plan = filled.retention_plan(keep_days=5)
    assert uids(plan) == [OLD, NEWER, NEW]
    send_to(filled, make(f"{OLD}.3", OLD, f"{OLD}.0", InstanceNumber=3), at=time.time() - 99 * DAY)
    quieten(filled)
    filled.protect(NEWER)
    filled.delete(NEW)
    assert filled.apply_retention(plan) == []
    assert here(filled) == {OLD, NEWER, NOW}


def test_it_ends_between_two_studies(filled: Archive) -> None:
    left = [2]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    assert len(filled._mine().retention.apply(filled.retention_plan(keep_days=5), stop)) == 2


def test_only_the_owner_applies(filled: Archive) -> None:
    with Archive.read(filled.folder) as reader:
        plan = reader.retention_plan(keep_days=30)
        assert uids(plan) == [OLD, NEWER]
        assert reader.retention_plan() == []
        with pytest.raises(ArchiveError, match="opened to read"):
            reader.apply_retention(plan)


# -- by itself


class Automatic:
    """The owner's retention with a clock that is moved by rewriting its note."""

    def __init__(self, archive: Archive, events: EventBus, **limits: object) -> None:
        self.archive, self.events, self.limits = archive, events, limits
        archive.follow(settings(**limits))
        self.queue = events.queue(StudiesExpired)
        self.chore = archive._mine().retention

    def look(self) -> list[tuple[bool, int]]:
        """(planned, studies) of each event of one run."""
        self.chore.run(lambda: False)
        return [(event.planned, len(event.study_uids)) for event in self.queue.drain()]

    def note(self) -> dict[str, float]:
        return dict(json.loads((self.archive.folder / NOTE).read_bytes()))

    def pass_time(self, since: float, looked: float) -> None:
        """So many seconds go by since the first and since the last look."""
        note = self.note()
        note["since"] -= since
        note["looked"] -= looked
        (self.archive.folder / NOTE).write_text(json.dumps(note))


@pytest.fixture
def quiet_caretaker(filled: Archive) -> Archive:
    """The archive's own caretaker is at rest: these tests do its work."""
    filled._mine()._caretaker.close()
    return filled


def test_dry_run_first(quiet_caretaker: Archive, events: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=30)
    with caplog.at_level(logging.WARNING):
        assert auto.look() == [(True, 2)]
    assert "2 studies" in caplog.text
    assert "pacskit retention" in caplog.text
    assert auto.look() == [], "told once"
    auto.pass_time(DAY - 100, AGAIN)
    assert auto.look() == []
    assert here(quiet_caretaker) == set(AGES)
    auto.pass_time(100, AGAIN)
    assert auto.look() == [(False, 2)]
    assert "archive.trash_days is 0" in caplog.text
    assert here(quiet_caretaker) == {NEW, NOW}
    assert auto.look() == []


def test_other_limits_are_told_again(quiet_caretaker: Archive, events: EventBus) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=60)
    assert auto.look() == [(True, 1)]
    auto.pass_time(2 * DAY, AGAIN)
    auto = Automatic(quiet_caretaker, events, keep_days=5)
    assert auto.look() == [(True, 3)]
    auto.pass_time(2 * DAY, AGAIN)
    quiet_caretaker.follow(settings())
    auto = Automatic(quiet_caretaker, events, keep_days=5)
    assert auto.look() == [(True, 3)], "it was off meanwhile"
    assert here(quiet_caretaker) == set(AGES)


@pytest.mark.parametrize("jump", [LONG_AGO + AGAIN, -AGAIN])
def test_a_clock_that_was_set_deletes_nothing(
    quiet_caretaker: Archive, events: EventBus, jump: float
) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=30)
    auto.look()
    auto.pass_time(2 * DAY, 0)
    auto.pass_time(jump, jump)
    assert auto.look() == [(True, 2)]
    assert here(quiet_caretaker) == set(AGES)
    auto.pass_time(DAY, AGAIN)
    assert auto.look() == [(False, 2)]


def test_a_person_confirms(quiet_caretaker: Archive, events: EventBus) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=30)
    auto.look()
    confirm(quiet_caretaker.folder, Limits(days=5))
    assert auto.look() == [(True, 2)], "that was another plan"
    confirm(quiet_caretaker.folder, Limits(days=30))
    assert auto.look() == [(False, 2)]


def test_a_damaged_note_is_a_new_beginning(quiet_caretaker: Archive, events: EventBus) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=30)
    for content in ("", "[]", "{}", '{"keep_days": 30, "keep_size": "", "since": "x", "looked": 1}'):
        (quiet_caretaker.folder / NOTE).write_text(content)
        assert auto.look() == [(True, 2)]


def test_when_it_is_due(quiet_caretaker: Archive, events: EventBus) -> None:
    auto = Automatic(quiet_caretaker, events, keep_days=30)
    assert auto.chore.due() == 0
    auto.look()
    assert AGAIN - 60 < (auto.chore.due() or 0) <= AGAIN
    quiet_caretaker.follow(settings())
    assert auto.chore.due() is None


def test_the_caretaker_does_it(folder: Path, events: EventBus) -> None:
    """From the settings to the trash, without a hand: the day has passed."""
    with Archive.create_or_open(folder, events, settings()) as archive:
        fill(archive, events)
    with (
        Archive.create_or_open(folder, events, settings()) as archive,
        events.queue(StudiesExpired) as told,
    ):
        archive.follow(settings(keep_days=30))
        event = told.get(30)
        assert event is not None
        assert event.planned
        confirm(folder, Limits(days=30))
        archive.follow(settings(keep_days=30))
        event = told.get(30)
        assert event is not None
        assert not event.planned
        assert here(archive) == {NEW, NOW}
