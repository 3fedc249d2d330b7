"""Archive: the face. Files are the truth, the index is a cache, one process owns it, many may read.

with Archive.create_or_open(folder, EventBus()) as archive:
    archive.import_paths([...])
    archive.studies(PatientName="A*")
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from pacskit.archive import tables
from pacskit.archive.files import INDEX, STUDIES, lay_out
from pacskit.archive.header import Origin
from pacskit.archive.importing import ImportProgress, ImportReport, import_paths
from pacskit.archive.incoming import Incoming
from pacskit.archive.index import IndexReader, IndexWriter
from pacskit.archive.keeping import Keeper
from pacskit.archive.lock import OwnerLock
from pacskit.archive.query import Level
from pacskit.archive.rebuild import RebuildReport, adopt, catch_up, rebuild
from pacskit.archive.rows import Row
from pacskit.archive.uids import check_uid
from pacskit.errors import ArchiveError
from pacskit.events import ArchiveFailed, ConflictFound, EventBus, StudiesChanged
from pacskit.imaging.series import Series
from pacskit.settings.models import ArchiveSettings

CLEAN = "clean"
"""A file that is there while no owner is: without it, the last one was killed."""


class Archive:
    """Made by `create_or_open()` (the owner) or `read()`. Any thread may use it."""

    def __init__(self, folder: Path, index: IndexReader, owner: _Owner | None = None) -> None:
        self.folder = folder
        self._index, self._owner = index, owner
        self._closed = False

    @classmethod
    def create_or_open(
        cls, folder: Path | str, events: EventBus, settings: ArchiveSettings | None = None
    ) -> Archive:
        """Own the archive in `folder`, made where there is none.

        Raises ArchiveOwned where another process has it, ArchiveError where it cannot be written.
        """
        folder = Path(folder).expanduser().absolute()
        lay_out(folder)
        lock = OwnerLock(folder)
        try:
            owner = _Owner(folder, lock, events, settings)
        except BaseException:
            lock.release()
            raise
        return cls(folder, owner.index, owner)

    @classmethod
    def read(cls, folder: Path | str) -> Archive:
        """To read only: no lock, no writing; while an owner runs or not. Raises ArchiveError."""
        folder = Path(folder).expanduser().absolute()
        if not (folder / STUDIES).is_dir():
            raise ArchiveError(f"there is no archive in {folder}")
        if not (folder / INDEX).is_file():
            raise ArchiveError(
                f"the archive {folder} has no index: `pacskit rebuild` makes it from the files"
            )
        return cls(folder, IndexReader(folder / INDEX))

    @property
    def writable(self) -> bool:
        """Whether this is the owner."""
        return self._owner is not None

    # -- storing

    def incoming(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, origin: Origin
    ) -> Incoming:
        """Begin to receive one instance; `commit()` or `discard()` ends it.

        Raises Refused 0xA900 for a UID that PS3.5 9.1 does not allow, before the disk is touched, and
        ArchiveError (0xA700) where the archive cannot be written.
        """
        return self._mine().incoming(sop_class_uid, sop_instance_uid, transfer_syntax_uid, origin)

    def import_paths(
        self, paths: Iterable[Path | str], *, progress: Callable[[ImportProgress], None] | None = None
    ) -> ImportReport:
        """Copy files into the archive, folders recursed; what is no instance is reported by name."""
        return import_paths(paths, self.folder, self._mine().incoming, progress)

    def rebuild(self, progress: Callable[[int], None] | None = None) -> RebuildReport:
        """Make the index again from the files; `progress` gets the number of instances read so far."""
        owner = self._mine()
        report = owner.rebuild(progress)
        owner.tell_of(self.studies()["study_uid"])
        return report

    # -- asking

    def drain(self) -> None:
        """Rows queued so far are committed when this returns; queries call it themselves."""
        self._index.drain()

    def studies(self, **query: Any) -> DataFrame:
        """One row a study, last received first; `query` by DICOM keywords (see `table`)."""
        self.drain()
        return tables.studies(self._index, query)

    def table(self, level: Level = "study", columns: Sequence[str] | None = None, **query: Any) -> DataFrame:
        """One row for each study, series or instance; any DICOM keyword may be a column.

        `query`: DICOM keyword = value; `*` and `?` in text, PN without regard to case, dates as
        `20260101-20261231`, a list for any of several. Columns that are not indexed are read from the
        first file of the row. Raises ValueError for an unknown keyword, naming the nearest.
        """
        self.drain()
        return tables.table(self._index, self.folder, level, columns, query)

    def series_paths(self, series_uid: str) -> list[Path]:
        """The series' files by instance number. Raises UnknownUID."""
        self.drain()
        return tables.series_paths(self._index, self.folder, series_uid)

    def series(self, series_uid: str) -> Series:
        """One series: its paths, data sets and volumes. Raises UnknownUID."""
        return Series(self.series_paths(series_uid))

    def study_of(self, series_uid: str) -> str:
        """Study Instance UID of a series. Raises UnknownUID."""
        self.drain()
        return tables.study_of(self._index, series_uid)

    # -- the end

    def close(self) -> None:
        """Commit what waits, stop the writer, close the connections, release the lock. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._owner is not None:
            self._owner.close()
        else:
            self._index.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Archive {self.folder}{'' if self.writable else ' (to read)'}>"

    def _mine(self) -> _Owner:
        if self._owner is None:
            raise ArchiveError(
                f"the archive {self.folder} was opened to read: a Station(archive=...) may write it"
            )
        if self._closed:
            raise ArchiveError(f"the archive {self.folder} is closed")
        return self._owner


class _Owner:
    """What only the owner has: the lock, the writer, the instances under way."""

    def __init__(
        self, folder: Path, lock: OwnerLock, events: EventBus, settings: ArchiveSettings | None
    ) -> None:
        self._folder, self._lock, self._events = folder, lock, events
        self._under_way: set[Incoming] = set()
        self._guard = threading.Lock()
        clean = folder / CLEAN
        was_clean = clean.exists()
        clean.unlink(missing_ok=True)
        self.index = IndexWriter(folder / INDEX, self._committed, self._failed)
        self._keeper = Keeper(folder, self.index, events, settings is None or settings.durability == "safe")
        try:
            if self.index.new:
                self.rebuild(None)
            elif not was_clean:
                report = RebuildReport()
                adopt(folder, self._busy, self._keeper.has, report)
                catch_up(folder, self.index, report)
        except BaseException:
            self.index.close()
            raise

    def incoming(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str = "",
    ) -> Incoming:
        check_uid(sop_class_uid, "Affected SOP Class UID")
        check_uid(sop_instance_uid, "Affected SOP Instance UID")
        check_uid(transfer_syntax_uid, "Transfer Syntax UID")
        self.index.check()
        with self._guard:
            incoming = Incoming(
                self._folder,
                self._keeper.keep,
                self._ended,
                sop_class_uid,
                sop_instance_uid,
                transfer_syntax_uid,
                origin,
                source_ae,
            )
            self._under_way.add(incoming)
        return incoming

    def rebuild(self, progress: Callable[[int], None] | None) -> RebuildReport:
        report = RebuildReport()
        with self._guard:
            adopt(self._folder, self._busy, self._keeper.has, report)
        self.index.drain()
        rebuild(self._folder, self.index, report, progress)
        return report

    def _busy(self, path: Path) -> bool:
        return any(incoming.part == path for incoming in self._under_way)

    def _ended(self, incoming: Incoming) -> None:
        with self._guard:
            self._under_way.discard(incoming)

    def _committed(self, rows: list[Row], conflicts: dict[str, str]) -> None:
        self._keeper.committed(rows)
        self._events.publish(StudiesChanged(study_uids=frozenset(row.header.study_uid for row in rows)))
        for study_uid, reason in conflicts.items():
            self._events.publish(ConflictFound(study_uid=study_uid, reason=reason))

    def tell_of(self, study_uids: Iterable[str]) -> None:
        """Whoever shows these studies asks anew."""
        self._events.publish(StudiesChanged(study_uids=frozenset(study_uids)))

    def _failed(self, reason: str) -> None:
        self._events.publish(ArchiveFailed(reason=reason))

    def close(self) -> None:
        for incoming in list(self._under_way):
            incoming.discard()
        self.index.close()
        if not self.index.failure:
            (self._folder / CLEAN).touch()
        self._lock.release()
