"""Archive: the face. Files are the truth, the index is a cache, one process owns it, many may read.

with Archive.create_or_open(folder, EventBus()) as archive:
    archive.import_paths([...])
    archive.studies(PatientName="A*")
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from pacskit.archive.access import is_there, not_open
from pacskit.archive.asking import Asking
from pacskit.archive.backup import Backup, back_up, backup_place
from pacskit.archive.deleting import Restored
from pacskit.archive.files import STUDIES, lay_out
from pacskit.archive.header import Origin
from pacskit.archive.import_report import How, ImportReport
from pacskit.archive.importing import Progress
from pacskit.archive.incoming import Incoming
from pacskit.archive.index import IndexReader
from pacskit.archive.lock import OwnerLock
from pacskit.archive.owner import Owner
from pacskit.archive.place import find_place
from pacskit.archive.query import Level
from pacskit.archive.rebuild import RebuildReport
from pacskit.archive.recovery import Recovered
from pacskit.archive.reindex import ReindexReport
from pacskit.archive.remote import Entrance
from pacskit.archive.retention import Expiring, Limits, plan
from pacskit.archive.space import Storage
from pacskit.archive.trash import Trashed
from pacskit.archive.verify import VerifyProgress, VerifyReport, verify
from pacskit.errors import ArchiveError, UnknownUID
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings


class Archive(Asking):
    """Made by `create_or_open()` (the owner) or `read()`. Any thread may use it."""

    def __init__(self, folder: Path, index: IndexReader, owner: Owner | None = None) -> None:
        super().__init__(folder, index)
        self._owner = owner
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
            owner = Owner(folder, lock, events, settings)
        except BaseException:
            lock.release()
            raise
        return cls(folder, owner.index, owner)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Archive:
        """To read only: no lock, no writing; while an owner runs or not. Raises ArchiveError."""
        folder = Path(folder).expanduser().absolute()
        if not is_there(folder, folder / STUDIES):
            raise ArchiveError(f"there is no archive in {folder}")
        index = find_place(folder)
        if not is_there(folder, index):
            raise ArchiveError(
                f"the archive {folder} has no index: `pacskit rebuild` makes it from the files"
            )
        try:
            return cls(folder, IndexReader(index))
        except ArchiveError as error:
            if os.access(index, os.R_OK):
                raise
            raise ArchiveError(not_open(folder, index)) from error

    @property
    def writable(self) -> bool:
        """Whether it can be changed from here: this is the owner, or reaches it."""
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

    def entrance(self, origin: Origin) -> Entrance:
        """Where another process of this computer brings what one association sends; `close()` ends it.

        `origin`: of all of it but for the time. Raises ArchiveError.
        """
        return self._mine().entrance(origin)

    def import_paths(
        self,
        paths: Iterable[Path | str],
        how: How = "copy",
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> ImportReport:
        """Take files, folders (recursed) and what DICOMDIRs list; what cannot be taken is reported by name.

        `copy`; `link`: hard links where the file system can, a file changed later is changed here as well;
        `in-place`: files stay where they are, are never written, moved or deleted, and must stay there.
        Doing it again passes over what is here, by size and time. `progress` is called at most ten times a
        second, in this thread. Once `cancel` is set it ends soon: what is stored stays.
        Raises ArchiveError where the archive cannot be written.
        """
        return self._mine().import_paths(paths, how, progress, cancel)

    def rebuild(self, progress: Callable[[int], None] | None = None) -> RebuildReport:
        """Make the index again from the files; `progress` gets the number of instances read so far."""
        owner = self._mine()
        report = owner.rebuild(progress)
        owner.tell_of(self.studies()["study_uid"])
        return report

    def reindex(self, progress: Callable[[int, int], None] | None = None) -> ReindexReport:
        """Read the files whose rows have not all attributes yet; `progress` gets (done, of how many).

        The owner does it by itself in the background; this waits for it. Raises ArchiveError.
        """
        return self._mine().reindexer.run(progress)

    @property
    def stable_after(self) -> float:
        """Seconds without anything new after which a study is told as stable."""
        return self._mine().quiet.after

    @stable_after.setter
    def stable_after(self, seconds: float) -> None:
        self._mine().quiet.after = seconds

    @property
    def queued(self) -> int:
        """Rows of stored instances that the index does not have yet; 0 where another process writes it."""
        return self._owner.index.queued if self._owner is not None else 0

    def storage(self) -> Storage:
        """The archive's disk: what is free, and when it will be full."""
        return self._mine().space.look()

    def verify(
        self,
        progress: Callable[[VerifyProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> VerifyReport:
        """Read every file and compare it with the index and its checksums; nothing is changed."""
        return verify(self.folder, self._index, progress, cancel)

    def backup(self, to: Path | None = None) -> Backup:
        """Copy the index to `backups/` now, beside whatever goes on; the next start mends by it what it must.

        The owner does it every `archive.backup_every` hours to `archive.backup_folder`, and deletes old ones.
        Opened to read, `to` stands for that folder. Raises ArchiveError.
        """
        self.drain()
        if self._owner is not None:
            return self._mine().backups.make()
        return back_up(self._index, backup_place(self.folder, to))

    @property
    def recovered(self) -> Recovered:
        """What this owner mended at its start."""
        return self._mine().recovered

    def follow(self, settings: ArchiveSettings) -> None:
        """Take over what may change while it is open: all but `folder` and `durability`."""
        self._mine().follow(settings)

    # -- what a person does to studies

    def check(self, study_uid: str, checked: bool = True) -> None:
        """Mark a study as checked, or not; kept by every rebuild. Raises UnknownUID, ArchiveError."""
        self._known(study_uid).check(study_uid, checked)

    def protect(self, study_uid: str, protected: bool = True) -> None:
        """Keep a study from retention, or not; kept by every rebuild. Raises UnknownUID, ArchiveError."""
        self._known(study_uid).protect(study_uid, protected)

    def retention_plan(self, keep_days: int | None = None, keep_size: str | None = None) -> list[Expiring]:
        """What is over the limits now, and what of it stays and why; nothing is changed.

        Without limits those of the settings, of which an archive opened to read has none.
        `pandas.DataFrame(plan)` makes a table. Raises ValueError for what is no limit.
        """
        limits = self._owner.retention.limits if self._owner is not None else Limits()
        if keep_days is not None or keep_size is not None:
            limits = Limits(keep_days or 0, keep_size or "")
        return plan(self.folder, self._index, limits)

    def apply_retention(self, plan: Iterable[Expiring]) -> list[Trashed]:
        """The studies of a plan to the trash, but what is protected, or has changed since.

        Returns an entry for each study. Room is made when the trash is emptied. Raises ArchiveError.
        """
        return self._mine().retention.apply(plan)

    def delete(self, uids: str | Iterable[str], level: Level = "study") -> Trashed:
        """Studies (series, instances) to the trash; `restore(its id)` brings them back.

        Raises UnknownUID, before anything is moved, and ArchiveError.
        """
        owner = self._mine()
        trashed, changed = owner.deleting.delete(level, [uids] if isinstance(uids, str) else uids)
        owner.tell_of(changed)
        return trashed

    def restore(self, trash_id: str) -> Restored:
        """Bring an entry of the trash back; what is stored again meanwhile stays there. Raises UnknownUID."""
        owner = self._mine()
        restored = owner.deleting.restore(trash_id)
        owner.tell_of(restored.study_uids)
        return restored

    def empty_trash(self, older_than_days: float = 0) -> int:
        """Delete for good what went into the trash so many days ago; returns the bytes freed."""
        return self._mine().trash.empty(older_than_days)

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

    def _known(self, study_uid: str) -> Owner:
        """Whoever marks this study. Raises UnknownUID, ArchiveError."""
        owner = self._mine()
        if self.table("study", columns=[], StudyInstanceUID=study_uid).empty:
            raise UnknownUID(f"no study {study_uid} in the archive {self.folder}")
        return owner

    def _mine(self) -> Owner:
        if self._owner is None:
            raise ArchiveError(
                f"the archive {self.folder} was opened to read: a Station(archive=...) may write it"
            )
        if self._closed:
            raise ArchiveError(f"the archive {self.folder} is closed")
        return self._owner
