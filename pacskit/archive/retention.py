"""Old studies go to the trash where `archive.keep_days` or `archive.keep_size` say so: both off by default.

Dry run first: what a new setting would do is told, and done a day later, or when a person says so
(`pacskit retention --apply`). Also where the last look is long ago: the clock may have been set.
`retention.json` says what was told, and when.

Only room in studies/ counts for `keep_size`, not the trash: what is there is on its way out, or waits for a
person; were it counted, each look would send more after it. The disk gets room when the trash is emptied.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select

from pacskit import system
from pacskit.archive.deleting import Deleting
from pacskit.archive.files import DIRTY, FILE_MODE, STUDIES, cannot_write
from pacskit.archive.import_journal import IMPORTS
from pacskit.archive.index import IndexWriter
from pacskit.archive.journal import protected_studies
from pacskit.archive.reader import IndexReader
from pacskit.archive.schema import instance, series, study
from pacskit.archive.stable import unstable_studies
from pacskit.archive.trash import Trashed
from pacskit.errors import ArchiveError, UnknownUID
from pacskit.events import EventBus, StudiesChanged, StudiesExpired
from pacskit.settings.models import ArchiveSettings
from pacskit.settings.sizes import check_room_or_none, room_in_bytes

log = logging.getLogger(__name__)

NOTE = "retention.json"
DAY = 86_400.0
AGAIN = 3600.0
"""Seconds between two looks."""
LONG_AGO = 7 * DAY


@dataclass(frozen=True, slots=True)
class Expiring:
    """A study whose time is over. `pandas.DataFrame(plan)` makes a table of them."""

    study_uid: str
    patient_id: str
    study_date: str
    """As in DICOM: YYYYMMDD."""
    received_at: datetime
    """When its last instance came."""
    instances: int
    bytes: int
    reason: str
    """Which limit it is over."""
    kept: str = ""
    """Why it stays nevertheless: protected, not stable yet, or imported in place. Empty: it goes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`archive.keep_days` and `archive.keep_size`; 0 and "" are none. Raises ValueError where it is made."""

    days: int = 0
    size: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.days, bool) or not isinstance(self.days, int) or self.days < 0:
            raise ValueError(f"days to keep are a whole number, 0 for ever, not {self.days!r}")
        object.__setattr__(self, "size", check_room_or_none(self.size))

    @classmethod
    def of(cls, settings: ArchiveSettings) -> Limits:
        return cls(settings.keep_days, settings.keep_size)

    def __bool__(self) -> bool:
        return bool(self.days or self.size)


def plan(folder: Path, index: IndexReader, limits: Limits) -> list[Expiring]:
    """What is over these limits now, the longest not received first; nothing is changed. Any process."""
    if not limits:
        return []
    latest = time.time() - limits.days * DAY if limits.days else float("-inf")
    own, in_place = _studies(index), _in_place(folder, index)
    over = float("-inf")
    if limits.size:
        disk = shutil.disk_usage(folder).total
        over = sum(one.bytes for one in own) - sum(in_place.values()) - room_in_bytes(limits.size, disk)
    keep = _keep(folder, in_place)
    found = []
    for one in own:
        if one.received_at.timestamp() < latest:
            reason = f"nothing received for {limits.days} days"
        elif over > 0:
            reason = f"studies have more than {limits.size}"
        else:
            continue
        kept = keep(one.study_uid)
        found.append(replace(one, reason=reason, kept=kept))
        if not kept:
            over -= one.bytes
    return found


def _studies(index: IndexReader, study_uid: str = "") -> list[Expiring]:
    """One for each Study Instance UID (two patients may have the same), the longest not received first."""
    last = func.max(study.c.received_ms)
    of = study.c.StudyInstanceUID
    statement = select(
        of,
        func.min(study.c.PatientID),
        func.max(study.c.StudyDate),
        last,
        func.sum(study.c.instances),
        func.sum(study.c.bytes),
    )
    if study_uid:
        statement = statement.where(of == study_uid)
    index.drain()
    with index.connect() as connection:
        rows = connection.execute(statement.group_by(of).order_by(last, of)).all()
    return [
        Expiring(uid, patient, date, datetime.fromtimestamp(ms / 1000, UTC), count, size, "")
        for uid, patient, date, ms, count, size in rows
    ]


def _in_place(folder: Path, index: IndexReader, study_uid: str = "") -> dict[str, int]:
    """Study Instance UID → bytes of its files that were imported in place."""
    if not (folder / IMPORTS).exists():
        return {}
    statement = (
        select(study.c.StudyInstanceUID, func.sum(instance.c.bytes))
        .join(series, series.c.study_key == study.c.key)
        .join(instance, instance.c.series_key == series.c.key)
        .where(~instance.c.path.startswith(f"{STUDIES}/"))
        .group_by(study.c.StudyInstanceUID)
    )
    if study_uid:
        statement = statement.where(study.c.StudyInstanceUID == study_uid)
    with index.connect() as connection:
        return dict(connection.execute(statement).all())


def _keep(folder: Path, in_place: dict[str, int]) -> Callable[[str], str]:
    """Why a study stays, as things are now; empty where it may go."""
    protected, moving = protected_studies(folder), unstable_studies(folder) | _marked(folder)

    def kept(study_uid: str) -> str:
        if study_uid in protected:
            return "it is protected"
        if study_uid in moving:
            return "it is not stable yet"
        return "it was imported in place" if study_uid in in_place else ""

    return kept


def _marked(folder: Path) -> frozenset[str]:
    """Studies of which something was written within the last seconds: marks.py."""
    try:
        return frozenset(name.partition("~")[2] for name in os.listdir(folder / DIRTY))
    except FileNotFoundError:
        return frozenset()


def confirm(folder: Path, limits: Limits) -> None:
    """A person has seen the plan: the owner, running now or later, need not wait a day. Any process."""
    _write(folder, limits, 0.0)


def _write(folder: Path, limits: Limits, since: float) -> None:
    content = {"keep_days": limits.days, "keep_size": limits.size, "since": since, "looked": time.time()}
    try:
        system.replace_file(folder / NOTE, json.dumps(content).encode() + b"\n", FILE_MODE)
    except OSError as error:
        raise ArchiveError(cannot_write(folder, error)) from error


def _told(folder: Path, limits: Limits) -> float | None:
    """Since when these limits are known and looked at again and again; None where they are to be told."""
    now = time.time()
    try:
        note = json.loads((folder / NOTE).read_bytes())
        same = (note["keep_days"], note["keep_size"]) == (limits.days, limits.size)
        since, looked = float(note["since"]), float(note["looked"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return since if same and since <= looked <= now <= looked + LONG_AGO else None


class Retention:
    """The owner's. Any thread."""

    def __init__(
        self,
        folder: Path,
        index: IndexWriter,
        deleting: Deleting,
        events: EventBus,
        settings: ArchiveSettings,
    ) -> None:
        self._folder, self._index, self._deleting, self._events = folder, index, deleting, events
        self.follow(settings)

    def follow(self, settings: ArchiveSettings) -> None:
        self.limits, self._trash_days = Limits.of(settings), settings.trash_days
        if not self.limits:  # switched on again, they are new
            with contextlib.suppress(OSError):
                (self._folder / NOTE).unlink()
        self._next = time.monotonic()

    def due(self) -> float | None:
        """See caretaker.Chore."""
        return max(self._next - time.monotonic(), 0.0) if self.limits else None

    def run(self, stop: Callable[[], bool]) -> None:
        """Tell, or do what was told a day ago. Raises ArchiveError."""
        self._next = time.monotonic() + AGAIN
        limits = self.limits
        since = _told(self._folder, limits)
        _write(self._folder, limits, time.time() if since is None else since)
        if since is None:
            self._tell([one for one in plan(self._folder, self._index, limits) if not one.kept], True)
        elif time.time() - since >= DAY:
            self.apply(plan(self._folder, self._index, limits), stop)

    def apply(self, expiring: Iterable[Expiring], stop: Callable[[], bool] = lambda: False) -> list[Trashed]:
        """To the trash, an entry for each study; what has changed since it was planned stays.

        Raises ArchiveError where the disk says no: what went until then is in the trash.
        """
        trashed: list[Trashed] = []
        gone: list[Expiring] = []
        try:
            for one in expiring:
                if stop():
                    break
                if one.kept or not self._as_planned(one):
                    continue
                try:
                    entry, changed = self._deleting.delete("study", [one.study_uid], "expired")
                except UnknownUID:  # a person was faster
                    continue
                trashed.append(entry)
                gone.append(one)
                self._events.publish(StudiesChanged(study_uids=changed))
        finally:
            if gone:
                self._tell(gone, False)
        return trashed

    def _as_planned(self, one: Expiring) -> bool:
        """Looked at for each study: since the plan, something may have come, or a person protected it."""
        now = _studies(self._index, one.study_uid)
        if not now or (now[0].received_at, now[0].instances) != (one.received_at, one.instances):
            return False
        return not _keep(self._folder, _in_place(self._folder, self._index, one.study_uid))(one.study_uid)

    def _tell(self, studies: list[Expiring], planned: bool) -> None:
        size = sum(one.bytes for one in studies)
        if planned:
            when = "would go to the trash now; this is done from a day on, see pacskit retention"
        elif self._trash_days:
            when = f"are in the trash now, and are deleted for good after {self._trash_days} days"
        else:
            when = "are in the trash now, which gives room when a person empties it: archive.trash_days is 0"
        log.warning("retention: %d studies (%.1f MB) %s", len(studies), size / 1e6, when)
        if studies:
            uids = frozenset(one.study_uid for one in studies)
            self._events.publish(StudiesExpired(study_uids=uids, bytes=size, planned=planned))
