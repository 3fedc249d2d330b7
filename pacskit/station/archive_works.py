"""What the owner of an archive does to it for another process; attached_archive.py is that one's end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pacskit.archive import Archive
from pacskit.archive.deleting import Restored
from pacskit.archive.import_report import How, ImportReport
from pacskit.archive.query import Level
from pacskit.archive.rebuild import RebuildReport
from pacskit.archive.reindex import ReindexReport
from pacskit.archive.retention import Expiring
from pacskit.archive.trash import Trashed
from pacskit.errors import ServiceError
from pacskit.services.host import plain


class ArchiveWorks:
    """One question: Archive's methods of these names, with arguments as they come over the channel."""

    names = frozenset(
        {
            *("import_paths", "rebuild", "reindex", "check", "protect", "delete", "restore", "empty_trash"),
            "apply_retention",
        }
    )

    def __init__(self, archive: Archive, tell: Callable[[Any], None], cancel: threading.Event) -> None:
        self._archive, self._tell, self._cancel = archive, tell, cancel

    def import_paths(self, paths: Sequence[str], how: How) -> ImportReport:
        return self._archive.import_paths(paths, how, progress=self._told, cancel=self._cancel)

    def rebuild(self) -> RebuildReport:
        return self._archive.rebuild(self._told_or_ended)

    def reindex(self) -> ReindexReport:
        return self._archive.reindex(lambda done, total: self._told_or_ended((done, total)))

    def check(self, study_uid: str, checked: bool) -> None:
        self._archive.check(study_uid, checked)

    def protect(self, study_uid: str, protected: bool) -> None:
        self._archive.protect(study_uid, protected)

    def delete(self, uids: Sequence[str], level: Level) -> Trashed:
        return self._archive.delete(uids, level)

    def restore(self, trash_id: str) -> Restored:
        return self._archive.restore(trash_id)

    def empty_trash(self, older_than_days: float) -> int:
        return self._archive.empty_trash(older_than_days)

    def apply_retention(self, plan: Sequence[Mapping[str, Any]]) -> list[Trashed]:
        return self._archive.apply_retention([plain.record_of(Expiring, one) for one in plan])

    def _told(self, far: object) -> None:
        self._tell(plain.written(far))

    def _told_or_ended(self, far: object) -> None:
        """For works that cannot be cancelled: an error in their progress ends them, as it does here."""
        if self._cancel.is_set():
            raise ServiceError("it was cancelled")
        self._told(far)
