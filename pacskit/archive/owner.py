"""What only the owner of an archive has: the lock, the writer, the instances under way, and their care."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pacskit.archive import completeness
from pacskit.archive.backup import Backups, backup_place, suspect
from pacskit.archive.caretaker import Caretaker
from pacskit.archive.deleting import Deleting
from pacskit.archive.extra import parse
from pacskit.archive.files import INCOMING, study_folder
from pacskit.archive.header import Origin
from pacskit.archive.import_journal import IMPORTS, ImportJournal
from pacskit.archive.import_report import How, ImportReport
from pacskit.archive.import_shelf import IMPORT, Shelf
from pacskit.archive.importing import Progress, import_paths
from pacskit.archive.incoming import Incoming, Intake
from pacskit.archive.index import IndexWriter
from pacskit.archive.journal import CHECKED, PROTECTED, Journal
from pacskit.archive.keeping import Keeper
from pacskit.archive.lock import OwnerLock
from pacskit.archive.marks import IN_PLACE, Marks
from pacskit.archive.place import take_place
from pacskit.archive.rebuild import RebuildReport, rebuild, receipts_of
from pacskit.archive.recovery import Recovered, adopt, recover
from pacskit.archive.reindex import Reindexer, read_again
from pacskit.archive.remote import Entrance
from pacskit.archive.restoring import catch_up, mend, mended
from pacskit.archive.retention import Retention
from pacskit.archive.rows import Row
from pacskit.archive.sharing import Sharing
from pacskit.archive.space import Space
from pacskit.archive.stable import Quiet
from pacskit.archive.trash import Trash
from pacskit.archive.uids import check_announced
from pacskit.errors import ArchiveError
from pacskit.events import ArchiveFailed, ConflictFound, EventBus, StudiesChanged, StudyStable
from pacskit.settings.models import ArchiveSettings


class Owner:
    """What only the owner has: the lock, the writer, the instances under way."""

    def __init__(
        self, folder: Path, lock: OwnerLock, events: EventBus, settings: ArchiveSettings | None
    ) -> None:
        """Mends what an earlier owner left. Raises ArchiveError."""
        self._folder, self._lock, self._events = folder, lock, events
        self._parts = f"{folder}/{INCOMING}/{os.urandom(8).hex()}_"
        self._numbers = itertools.count()
        self._under_way: set[Incoming] = set()
        self._entrances: set[Entrance] = set()
        self._guard = threading.Lock()
        settings = settings or ArchiveSettings()
        self._safe = settings.durability == "safe"
        self.recovered = Recovered()
        """What the start mended."""
        self.space = Space(folder, settings.min_free, events)
        self._sharing = Sharing(folder, settings.group)
        self.journal = Journal(folder)
        self.trash = Trash(folder, self._safe)
        marks = self._marks = Marks(folder, self._safe)
        self._journal: ImportJournal | None = None
        self._linking: set[Path] = set()
        self.quiet = Quiet(folder, settings.stable_after, self._stable, self._safe)
        try:
            extra = settings.extra_attributes
            place = take_place(folder, settings.index)
            since = mend(place, backup_place(folder, settings.backup_folder), self.recovered)
            self.index = IndexWriter(
                place,
                self._committed,
                self._failed,
                extra=extra,
                read=partial(read_again, folder, extra=parse(extra).keywords),
            )
        except BaseException:
            self.quiet.close()
            raise
        self.reindexer = Reindexer(self.index, folder)
        self._keeper = Keeper(folder, self.index, events, marks, self.trash, self._safe, settings.duplicates)
        self._intake = Intake(
            str(folder), self._keeper, self._ended, self.space.check, self._sharing.create, self._safe
        )
        self.deleting = Deleting(
            folder, self.index, self._keeper, marks, self.trash, self._forget, self._receipt
        )
        self.backups = Backups(folder, self.index, settings)
        self.retention = Retention(folder, self.index, self.deleting, events, settings)
        chores = (self.backups, self.retention)
        self._caretaker = Caretaker(
            folder, events, marks, self.trash, self._settle, settings.trash_days, chores=chores
        )
        try:
            self._sharing.take_in(place)
            whole = self.index.new or not marks.kept
            if whole:
                rebuild(folder, self.index, RebuildReport(), None, self._imported())
            left = marks.prepare(self.index.path)
            if not whole:
                if since is not None:
                    catch_up(folder, self.index, since, self._imported(), self.recovered)
                recover(folder, self.index, left, self._safe, self._imported(), self.recovered)
            mended(self.index)
            adopt(folder, self._busy, self._keeper.keep, self.recovered)
            self.quiet.start()  # not before: a study without rows would count as deleted
        except BaseException:
            self.quiet.close()
            self.index.close()
            raise
        self.reindexer.start()
        self._caretaker.start()
        self._sharing.start()

    def incoming(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str = "",
    ) -> Incoming:
        check_announced(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        self._check()
        part = f"{self._parts}{next(self._numbers):x}.part"
        incoming = Incoming(
            self._intake, part, sop_class_uid, sop_instance_uid, transfer_syntax_uid, origin, source_ae
        )
        with self._guard:
            self._under_way.add(incoming)
        return incoming

    def entrance(self, origin: Origin) -> Entrance:
        """See Archive.entrance."""
        entrance = Entrance(
            self._intake,
            f"{self._parts}{next(self._numbers):x}-",
            origin,
            self._sharing.new_files,
            self._check,
            self._left,
        )
        with self._guard:
            self._entrances.add(entrance)
        return entrance

    def _check(self) -> None:
        """Something comes. Raises ArchiveError where nothing can be taken."""
        self._caretaker.receiving()
        self.index.check()
        self.space.check()

    def import_paths(
        self,
        paths: Iterable[Path | str],
        how: How,
        progress: Progress | None,
        cancel: threading.Event | None,
    ) -> ImportReport:
        with self._guard:
            journal = self._journal = self._journal or ImportJournal(self._folder, self._safe)
        shelf = Shelf(self._folder, self.incoming, self._keeper, self.index, journal, self._linking)
        marks = (IN_PLACE,) if how == "in-place" else ()  # before the journal's first line
        with self._marks.hold(*marks), self.quiet.importing():
            try:
                return import_paths(paths, shelf, how, progress, cancel)
            finally:
                if not self.index.failure:
                    self.index.drain()

    def _imported(self) -> ImportJournal | None:
        """None where nothing was ever imported."""
        if self._journal is None and (self._folder / IMPORTS).exists():
            self._journal = ImportJournal(self._folder, self._safe)
        return self._journal

    def rebuild(self, progress: Callable[[int], None] | None) -> RebuildReport:
        recovered, report = Recovered(), RebuildReport()
        with self._guard:
            adopt(self._folder, self._busy, self._keeper.keep, recovered)
            imported = self._imported()
        report.adopted, report.discarded = recovered.adopted, recovered.discarded
        self.index.drain()
        try:
            rebuild(self._folder, self.index, report, progress, imported)
        except ArchiveError:
            suspect(self.index.path)
            raise
        self.reindexer.wake()
        return report

    def follow(self, settings: ArchiveSettings) -> None:
        """See Archive.follow."""
        self.quiet.after = settings.stable_after
        self.space.min_free = settings.min_free
        self._keeper.policy = settings.duplicates
        self._caretaker.trash_days = settings.trash_days
        self.backups.follow(settings)
        self.retention.follow(settings)
        self._caretaker.wake()

    def check(self, study_uid: str, checked: bool) -> None:
        """See Archive.check."""
        self.journal.add(CHECKED, study_uid=study_uid, value=checked)
        self.tell_of([study_uid])

    def protect(self, study_uid: str, protected: bool) -> None:
        """See Archive.protect."""
        self.journal.add(PROTECTED, study_uid=study_uid, value=protected)
        self.tell_of([study_uid])

    def _forget(self, paths: list[str]) -> None:
        if (imported := self._imported()) is not None:
            imported.forget(paths)

    def _receipt(self, uid: str) -> tuple[int, str] | None:
        return receipts_of(self._imported())(uid)

    def _settle(self) -> None:
        """Rows queued so far are on the disk. Raises ArchiveError."""
        self.index.drain()
        self.index.checkpoint()

    def _busy(self, path: Path) -> bool:
        part = str(path)
        return (
            path in self._linking
            or any(incoming.part == part for incoming in self._under_way)
            or any(part.startswith(entrance.prefix) for entrance in self._entrances)
        )

    def _left(self, entrance: Entrance) -> None:
        with self._guard:
            self._entrances.discard(entrance)

    def _ended(self, incoming: Incoming) -> None:
        self._caretaker.receiving()
        with self._guard:
            self._under_way.discard(incoming)

    def _committed(self, rows: list[Row], conflicts: dict[str, str]) -> None:
        self._keeper.committed(rows)
        self.reindexer.committed(rows)
        self.quiet.touch({row.header.study_uid for row in rows if row.header.received_from != IMPORT})
        self.quiet.touch({row.header.study_uid for row in rows if row.header.received_from == IMPORT}, True)
        if rows:
            self._caretaker.look_at({study_folder(row.path) for row in rows} - {""})
            self.tell_of(row.header.study_uid for row in rows)
        for study_uid, reason in conflicts.items():
            self._events.publish(ConflictFound(study_uid=study_uid, reason=reason))

    def tell_of(self, study_uids: Iterable[str]) -> None:
        """Whoever shows these studies asks anew."""
        self._events.publish(StudiesChanged(study_uids=frozenset(study_uids)))

    def _stable(self, study_uid: str) -> None:
        """In the thread of `quiet`."""
        counts = completeness.counts(self.index, study_uid)
        if counts is not None:  # it may be deleted
            self._events.publish(
                StudyStable(study_uid=study_uid, series=counts.series, instances=counts.instances)
            )

    def _failed(self, reason: str) -> None:
        """In the index's thread. A full disk does not stop the services: senders hear A700 until it ends."""
        if self.index.dead:
            suspect(self.index.path)
            self._events.publish(ArchiveFailed(reason=reason))
        else:
            self.space.tell_full()

    def close(self) -> None:
        for incoming in list(self._under_way):
            incoming.discard()
        self._caretaker.close()
        self._sharing.close()
        with contextlib.suppress(ArchiveError):  # then the marks stay: the next owner looks at these studies
            self._marks.sweep(0.0, self._settle)
        self.quiet.close()
        self.reindexer.close()
        self.index.close()
        if self._journal is not None:
            self._journal.close()
        self._lock.release()
