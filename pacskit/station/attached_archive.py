"""The archive of another process: read here, written there, with the face of one that is written here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from pacskit.archive import Archive
from pacskit.archive.deleting import Restored
from pacskit.archive.import_report import How, ImportProgress, ImportReport
from pacskit.archive.importing import Progress
from pacskit.archive.query import Level
from pacskit.archive.reader import IndexReader
from pacskit.archive.rebuild import RebuildReport
from pacskit.archive.reindex import ReindexReport
from pacskit.archive.retention import Expiring
from pacskit.archive.trash import Trashed
from pacskit.services.host import plain


class ArchiveOwner(Protocol):
    """The owner, as it is reached from here. Methods raise what it raises, ServiceError where it is gone."""

    @property
    def pid(self) -> int: ...
    @property
    def there(self) -> bool: ...
    def drain(self) -> None: ...
    def work(
        self,
        ask: str,
        progress: Callable[[Any], None] | None = None,
        cancel: threading.Event | None = None,
        **arguments: Any,
    ) -> Any: ...


class AttachedArchive(Archive):
    """Reads files and index itself, after the owner has committed what it has received.

    What changes something, the owner does: `progress` is called, and errors are raised, as if it were done
    here. An interrupt ends it, and so does the end of this process.
    """

    _there: ArchiveOwner | None = None

    def follow_owner(self, owner: ArchiveOwner) -> None:
        """Called once, before anything is asked."""
        read, self._there = self._index, owner
        self._index = _Drained(read.path, owner.drain)
        read.close()

    @property
    def writable(self) -> bool:
        return self._there is not None and self._there.there and not self._closed

    def import_paths(
        self,
        paths: Iterable[Path | str],
        how: How = "copy",
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> ImportReport:
        """As Archive's; the owner's process reads the files. Relative paths are those of this process."""
        asked = [os.path.abspath(Path(path).expanduser()) for path in paths]
        data = self._have("import_paths", _of(ImportProgress, progress), cancel, paths=asked, how=how)
        report = plain.record_of(ImportReport, data)
        for number, (path, reason) in enumerate(report.skipped):
            if report.kinds[number] in ("missing", "unreadable") and os.access(path, os.R_OK):
                report.skipped[number] = (path, f"{reason}, for {self._process}; this process can read it")
        return report

    def rebuild(self, progress: Callable[[int], None] | None = None) -> RebuildReport:
        return plain.record_of(RebuildReport, self._have("rebuild", progress))

    def reindex(self, progress: Callable[[int, int], None] | None = None) -> ReindexReport:
        told = (lambda far: progress(*far)) if progress is not None else None
        return plain.record_of(ReindexReport, self._have("reindex", told))

    def check(self, study_uid: str, checked: bool = True) -> None:
        self._have("check", study_uid=study_uid, checked=checked)

    def protect(self, study_uid: str, protected: bool = True) -> None:
        self._have("protect", study_uid=study_uid, protected=protected)

    def apply_retention(self, plan: Iterable[Expiring]) -> list[Trashed]:
        done = self._have("apply_retention", plan=plain.written(list(plan)))
        return [plain.record_of(Trashed, one) for one in done]

    def delete(self, uids: str | Iterable[str], level: Level = "study") -> Trashed:
        chosen = [uids] if isinstance(uids, str) else list(uids)
        return plain.record_of(Trashed, self._have("delete", uids=chosen, level=level))

    def restore(self, trash_id: str) -> Restored:
        return plain.record_of(Restored, self._have("restore", trash_id=trash_id))

    def empty_trash(self, older_than_days: float = 0) -> int:
        return int(self._have("empty_trash", older_than_days=older_than_days))

    @property
    def _process(self) -> str:
        return f"the process that owns the archive ({self._there.pid if self._there else 'none'})"

    def _have(self, ask: str, *how: Any, **arguments: Any) -> Any:
        """Have the owner do it; the arguments are those of its `work`."""
        assert self._there is not None
        return self._there.work(ask, *how, **arguments)


class _Drained(IndexReader):
    """Whatever waits for the rows that are on their way waits for the owner's."""

    def __init__(self, path: Path, drain: Callable[[], None]) -> None:
        super().__init__(path)
        self._drain = drain

    def drain(self) -> None:
        self._drain()


def _of(kind: Any, progress: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
    return (lambda far: progress(plain.record_of(kind, far))) if progress is not None else None
