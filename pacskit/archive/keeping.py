"""The moment an instance becomes the archive's: who was first, made safe, renamed, row queued.

Files are the truth: data on the disk, rename, names on the disk, then the answer; the row follows.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pacskit import system
from pacskit.archive.asides import set_aside
from pacskit.archive.checksums import forget_sums
from pacskit.archive.duplicates import Arrived, Verdict, compare
from pacskit.archive.files import DAMAGED, STUDIES, make_folders, relative_path, study_folder
from pacskit.archive.header import Header
from pacskit.archive.incoming import Stored
from pacskit.archive.index import IndexWriter
from pacskit.archive.marks import Mark, Marks
from pacskit.archive.rows import Row
from pacskit.archive.stored_file import read_row
from pacskit.archive.trash import Trash
from pacskit.errors import Refused
from pacskit.events import EventBus, InstanceSetAside, InstanceStored, StudiesChanged

STATUS_OTHER_CONTENT = 0xC001
KNOWN_FOLDERS = 1_000
ATTEMPTS = 3
"""To rename into a folder that a deletion may take away at the same moment."""

Policy = Literal["aside", "first", "replace"]


class _Claim:
    """A UID whose row is not committed yet: being stored (path empty), or stored and queued."""

    __slots__ = ("_undecided", "path")

    def __init__(self) -> None:
        self._undecided = threading.Lock()  # an Event costs ten times as much
        self._undecided.acquire()
        self.path = ""

    def decide(self, path: str = "") -> None:
        """Where it is stored; empty where it is not."""
        self.path = path
        self._undecided.release()

    def wait(self) -> str:
        """The path, once it is decided."""
        with self._undecided:
            return self.path


class Keeper:
    """Puts received files into their places. Any number of threads."""

    def __init__(
        self,
        folder: Path,
        index: IndexWriter,
        events: EventBus,
        marks: Marks,
        trash: Trash,
        safe: bool,
        policy: Policy,
    ) -> None:
        self._folder, self._index, self._events = folder, index, events
        self._marks, self._trash, self._safe, self.policy = marks, trash, safe, policy
        self._claims: dict[str, _Claim] = {}
        self._lock = threading.Lock()
        self._path = str(folder)
        self._synced: set[str] = set()
        """Series folders whose own names are known to be on the disk."""

    def keep(self, arrived: Arrived, close: Callable[[], None]) -> Stored:
        """`place`, and tell who listens."""
        stored = self.place(arrived, close)
        self.tell(stored, arrived.header.received_from)
        return stored

    def place(self, arrived: Arrived, close: Callable[[], None]) -> Stored:
        """Raises Refused 0xC001 where another content has this UID, ArchiveError where the disk says no."""
        self._index.check()
        header = arrived.header
        uid = header.sop_instance_uid
        while True:
            claim, there = self._claim(uid)
            if claim is not None:
                break
            verdict, size = compare(self._folder / there, arrived)
            if verdict is Verdict.SAME:
                return self._stored(header, there, size, True)
            if verdict is Verdict.OTHER and self.policy != "replace":
                return self._other(there, arrived, close)
            self._index.drain()  # to take its place, its row has to be there
        try:
            relative = relative_path(header)
            stored = self._decide(arrived, relative, close)
        except BaseException:
            self._withdraw(uid, claim)
            raise
        if stored.duplicate or stored.aside:
            self._withdraw(uid, claim)
        else:
            claim.decide(relative)
        return stored

    def keep_in_place(self, header: Header, path: str, size: int) -> str:
        """Queue the row of a file that stays where it is (`path` is absolute); empty where that is done.

        Else what the index has under this UID, a path: the caller judges. Raises ArchiveError.
        """
        self._index.check()
        uid = header.sop_instance_uid
        claim, there = self._claim(uid)
        if claim is None:
            return there
        try:
            if there := self.path_of(uid):
                self._withdraw(uid, claim)
                return there
            self._index.put(Row(header, path, size))
        except BaseException:
            self._withdraw(uid, claim)
            raise
        claim.decide(path)
        self.tell(self._stored(header, path, size), header.received_from)
        return ""

    @contextmanager
    def reserve(self, uids: Iterable[str]) -> Iterator[None]:
        """Nobody stores one of these meanwhile, and their rows are in the index."""
        mine: dict[str, _Claim] = {}
        try:
            for uid in uids:
                while (claim := self._claim(uid)[0]) is None:
                    self._index.drain()
                mine[uid] = claim
            yield
        finally:
            for uid, claim in mine.items():
                self._withdraw(uid, claim)

    def committed(self, rows: list[Row]) -> None:
        """The rows are in the index: their claims are no longer needed."""
        for row in rows:
            self._claims.pop(row.header.sop_instance_uid, None)

    def path_of(self, uid: str) -> str:
        """The relative path that the index has; empty where it has none."""
        return self._index.path_of(uid)

    def _claim(self, uid: str) -> tuple[_Claim | None, str]:
        """This thread's own claim, or the path of what another stored and the index does not have yet."""
        claim = _Claim()
        while True:
            other = self._claims.setdefault(uid, claim)  # one step for all threads
            if other is claim:
                return claim, ""
            if path := other.wait():
                return None, path
            # the other one failed, or was none to keep, and took its claim away: this one may try

    def _withdraw(self, uid: str, claim: _Claim) -> None:
        with self._lock:
            if self._claims.get(uid) is claim:
                del self._claims[uid]
        claim.decide()

    def _decide(self, arrived: Arrived, relative: str, close: Callable[[], None]) -> Stored:
        there = self.path_of(arrived.header.sop_instance_uid)
        if not there:
            try:
                return self._store_new(arrived, relative, close)
            except FileExistsError:
                there = relative  # a file that the index does not know
        verdict, size = compare(self._folder / there, arrived)
        if verdict is Verdict.SAME:
            return self._stored(arrived.header, there, size, True)
        if verdict is Verdict.OTHER and self.policy != "replace":
            return self._other(there, arrived, close)
        return self._store(arrived, relative, there, verdict, close)

    def _other(self, there: str, arrived: Arrived, close: Callable[[], None]) -> Stored:
        """Another content: kept apart, or refused."""
        if self.policy == "first":
            raise Refused(
                STATUS_OTHER_CONTENT,
                "another content has this SOP Instance UID; the first is kept",
            )
        header, study_uid = arrived.header, read_row(self._folder, there).header.study_uid
        path, new = set_aside(self._folder, arrived, study_uid, self._safe, close)
        if new:
            self._events.publish(
                InstanceSetAside(
                    sop_instance_uid=header.sop_instance_uid,
                    study_uid=study_uid,
                    received_from=header.received_from,
                    path=str(path),
                )
            )
            self._events.publish(StudiesChanged(study_uids=frozenset((study_uid,))))
        uid = header.sop_instance_uid
        return Stored(uid, study_uid, header.series_uid, str(path), arrived.size, not new, aside=True)

    def _store_new(self, arrived: Arrived, relative: str, close: Callable[[], None]) -> Stored:
        """The way of nearly all. Raises FileExistsError; then what arrived is still as it was."""
        header = arrived.header
        mark = Mark(study_folder(relative), header.study_uid)
        self._marks.begin(mark)
        try:
            if self._safe:
                system.sync_data(arrived.descriptor)
            self._place(arrived.part, f"{self._path}/{relative}", close)
            self._put(Row(header, relative, arrived.size))
        finally:
            self._marks.end(mark)
        return self._stored(header, relative, arrived.size)

    def _store(
        self, arrived: Arrived, relative: str, there: str, verdict: Verdict, close: Callable[[], None]
    ) -> Stored:
        """Put it into its place; what is `there` under its UID leaves before."""
        header = arrived.header
        marks = [Mark(study_folder(relative), header.study_uid)]
        if study_folder(there) not in ("", marks[0].folder):
            marks.append(Mark(study_folder(there), self._study_of(there)))
        with self._marks.hold(*marks):
            if self._safe:
                system.sync_data(arrived.descriptor)
            forget_sums(self._folder, {there, relative})
            left = self._leave(there, verdict)
            try:
                self._place(arrived.part, f"{self._path}/{relative}", close)
                self._put(Row(header, relative, arrived.size), instead=True)
            except BaseException:
                if left is not None:
                    with contextlib.suppress(OSError):
                        left.rename(self._folder / there)
                raise
        return self._stored(header, relative, arrived.size)

    def _put(self, row: Row, instead: bool = False) -> None:
        """Queue the row of a file in its place; `instead` of the one that the UID has."""
        try:
            if instead:
                self._index.remove([row.header.sop_instance_uid])
            self._index.put(row)
        except BaseException:  # its sender is told that it failed: then it must not be here either
            with contextlib.suppress(OSError):
                os.unlink(f"{self._path}/{row.path}")
            raise

    def _study_of(self, there: str) -> str:
        try:
            return read_row(self._folder, there).header.study_uid
        except (Refused, ValueError, OSError):
            return ""

    def _leave(self, there: str, verdict: Verdict) -> Path | None:
        """Make room: replaced ones go to the trash, damaged ones apart. Raises OSError."""
        folder = study_folder(there)
        if verdict is Verdict.GONE or not folder:  # in place: the file is not ours to move
            return None
        path = self._folder / there
        if verdict is Verdict.DAMAGED:
            target = self._folder / DAMAGED / there
            make_folders(target.parent, self._folder, self._safe)
            path.rename(target)
        else:
            target = self._trash.put(self._trash.entry("replaced", f"replaced-{folder[-12:]}"), there)
        if self._safe:
            system.sync_folder(target.parent)
        return target

    def _place(self, part: str, target: str, close: Callable[[], None]) -> None:
        """Never in the place of another. Raises OSError; then the file is not there."""
        if system.CLOSE_TO_RENAME:
            if os.path.exists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            close()
        series = target.rpartition("/")[0]
        for attempt in range(ATTEMPTS):
            try:
                return self._rename(part, target, series)
            except FileNotFoundError:
                with self._lock:
                    self._synced.discard(series)
                if attempt == ATTEMPTS - 1:
                    raise
                make_folders(Path(series), self._folder / STUDIES, self._safe)
        raise AssertionError

    def _rename(self, part: str, target: str, series: str) -> None:
        if not self._safe:
            system.rename_new(part, target)
            return
        if series not in self._synced:
            folder = Path(series)
            make_folders(folder, self._folder / STUDIES, True)
            # also where another thread made them: its sync may still be under way
            system.sync_folder(folder.parent.parent)
            system.sync_folder(folder.parent)
        system.rename_new(part, target)
        try:
            system.sync_folder(series)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(target)
            raise
        with self._lock:
            if len(self._synced) >= KNOWN_FOLDERS:
                self._synced.clear()
            self._synced.add(series)

    def tell(self, stored: Stored, received_from: str) -> None:
        """An event of what is in its place."""
        if stored.aside:
            return  # that has an event of its own
        self._events.publish(
            InstanceStored(
                sop_instance_uid=stored.sop_instance_uid,
                series_uid=stored.series_uid,
                study_uid=stored.study_uid,
                received_from=received_from,
                bytes=stored.bytes,
                duplicate=stored.duplicate,
            )
        )

    def _stored(self, header: Header, relative: str, size: int, duplicate: bool = False) -> Stored:
        found, file = header.attributes, f"{self._path}/{relative}"
        uids = (found["SOPInstanceUID"], found["StudyInstanceUID"], found["SeriesInstanceUID"])
        return Stored(*uids, file, size, duplicate)
