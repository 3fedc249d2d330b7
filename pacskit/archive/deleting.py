"""Studies, series and instances to the trash, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from pacskit.archive.asides import count_aside
from pacskit.archive.checksums import forget_sums
from pacskit.archive.files import ASIDE, STUDIES, cannot_write, make_folders, study_folder, study_hash
from pacskit.archive.index import IndexWriter
from pacskit.archive.keeping import Keeper
from pacskit.archive.marks import Mark, Marks
from pacskit.archive.rows import Row
from pacskit.archive.schema import instance, series, study
from pacskit.archive.stored_file import Receipts, read_row
from pacskit.archive.trash import Trash, Trashed, Why, remove_empty, trashed
from pacskit.errors import ArchiveError, PacskitError, UnknownUID

_UID_OF = {
    "study": study.c.StudyInstanceUID,
    "series": series.c.SeriesInstanceUID,
    "instance": instance.c.SOPInstanceUID,
}
SOME = 500


@dataclass(slots=True)
class Restored:
    """What came back from the trash."""

    instances: int = 0
    study_uids: set[str] = field(default_factory=set)
    kept: list[tuple[Path, str]] = field(default_factory=list)
    """(file, why it stays in the trash)."""


class Deleting:
    """Any thread, one call at a time each."""

    def __init__(
        self,
        folder: Path,
        index: IndexWriter,
        keeper: Keeper,
        marks: Marks,
        trash: Trash,
        forget: Callable[[list[str]], None],
        receipts: Receipts,
    ) -> None:
        """`forget(paths)`: these files imported in place are no longer the archive's."""
        self._receipts = receipts
        self._folder, self._index, self._keeper = folder, index, keeper
        self._marks, self._trash, self._forget = marks, trash, forget

    def delete(self, level: str, uids: Iterable[str], why: Why = "deleted") -> tuple[Trashed, frozenset[str]]:
        """To the trash; returns the entry and the studies that changed.

        Raises UnknownUID where nothing has such a UID, ArchiveError where the disk says no (what went into
        the trash until then is there), ValueError for another level.
        """
        if level not in _UID_OF:
            raise ValueError(f"there is no level {level!r} to delete: study, series or instance")
        self._index.drain()
        wanted = list(dict.fromkeys(uids))
        found = self._find(level, wanted)
        with self._keeper.reserve(sorted(found)):
            found = self._find(level, wanted)  # what was replaced or came until then
            try:
                entry = self._trash.entry(why)
                changed = self._move(entry, found, wanted if level == "study" else [])
            except OSError as error:
                raise ArchiveError(cannot_write(self._folder, error)) from error
        made = trashed(self._folder, entry)
        assert made is not None
        return made, changed

    def _find(self, level: str, uids: list[str]) -> dict[str, tuple[str, str]]:
        """SOP Instance UID → (relative path, Study Instance UID)."""
        column = _UID_OF[level]
        statement = (
            select(column, instance.c.SOPInstanceUID, instance.c.path, study.c.StudyInstanceUID)
            .join(series, instance.c.series_key == series.c.key)
            .join(study, series.c.study_key == study.c.key)
        )
        found: dict[str, tuple[str, str]] = {}
        there: set[str] = set()
        with self._index.connect() as connection:
            for start in range(0, len(uids), SOME):
                chosen = statement.where(column.in_(uids[start : start + SOME]))
                for uid, sop, path, study_uid in connection.execute(chosen):
                    there.add(uid)
                    found[sop] = (path, study_uid)
        if unknown := [uid for uid in uids if uid not in there]:
            raise UnknownUID(f"no {level} {unknown[0]} in the archive {self._folder}")
        return found

    def _move(self, entry: str, found: dict[str, tuple[str, str]], studies: list[str]) -> frozenset[str]:
        ours = {sop: pair for sop, pair in found.items() if study_folder(pair[0])}
        marks = {Mark(study_folder(path), study_uid) for path, study_uid in ours.values()}
        moved = [sop for sop in found if sop not in ours]  # in place: only their rows go
        if moved:
            self._forget([found[sop][0] for sop in moved])
        folders: set[Path] = set()
        with self._marks.hold(*sorted(marks)):
            forget_sums(self._folder, {path for path, _ in ours.values()})
            try:
                for sop, (path, _) in ours.items():
                    try:
                        target = self._trash.put(entry, path)
                    except FileNotFoundError:
                        if (self._folder / path).exists():
                            raise
                    else:
                        folders |= {target.parent, (self._folder / path).parent}
                    moved.append(sop)
                for path in self._asides(studies):
                    folders |= {self._trash.put(entry, path).parent, (self._folder / path).parent}
                self._trash.settle(folders)
            finally:
                changed = self._index.remove(moved)
            for place in sorted(folders):
                for top in (STUDIES, ASIDE):
                    if place.is_relative_to(self._folder / top):
                        remove_empty(place, self._folder / top)
        return changed

    def _asides(self, studies: list[str]) -> list[str]:
        counts = count_aside(self._folder) if studies else {}
        found: list[Path] = []
        for uid in studies:
            if study_hash(uid) in counts:
                found += sorted((self._folder / ASIDE / study_hash(uid)).glob("*.dcm"))
        return [path.relative_to(self._folder).as_posix() for path in found]

    def restore(self, entry: str) -> Restored:
        """Back to their places, as far as no other content has taken them.

        Raises UnknownUID where there is no such entry, ArchiveError.
        """
        restored = Restored()
        base = self._folder / "trash" / entry
        try:
            for path in self._trash.files(entry):
                relative = path.relative_to(base).as_posix()
                reason = self._bring_back(path, relative, restored)
                if reason:
                    restored.kept.append((path, reason))
        except OSError as error:
            raise ArchiveError(cannot_write(self._folder, error)) from error
        self._trash.take_away(entry)
        return restored

    def _bring_back(self, path: Path, relative: str, restored: Restored) -> str:
        """Why it stays in the trash; empty where it is back."""
        target = self._folder / relative
        if relative.startswith(f"{ASIDE}/"):
            if not target.exists():
                make_folders(target.parent, self._folder, True)
                path.rename(target)
                self._trash.settle({target.parent, path.parent})
            return "it is aside already" if path.exists() else ""
        try:
            row = read_row(self._folder, path.relative_to(self._folder).as_posix(), self._receipts)
        except (PacskitError, ValueError) as error:
            return str(error)
        header = row.header
        with self._keeper.reserve([header.sop_instance_uid]):
            if self._keeper.path_of(header.sop_instance_uid) or target.exists():
                return "an instance with its UID is stored: delete that first"
            with self._marks.hold(Mark(study_folder(relative), header.study_uid)):
                make_folders(target.parent, self._folder, True)
                path.rename(target)
                self._trash.settle({target.parent, path.parent})
                self._index.put(Row(header, relative, row.bytes))
                self._index.drain()  # before others may claim the UID
        restored.instances += 1
        restored.study_uids.add(header.study_uid)
        return ""
