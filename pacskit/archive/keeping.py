"""The moment an instance becomes the archive's: who was first, made safe, renamed, row queued.

Files are the truth: data on the disk, rename, names on the disk, then the answer; the row follows.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import bindparam, select

from pacskit import system
from pacskit.archive.files import FOLDER_MODE, relative_path
from pacskit.archive.header import Header
from pacskit.archive.incoming import Stored
from pacskit.archive.index import IndexWriter
from pacskit.archive.rows import Row
from pacskit.archive.schema import instance
from pacskit.errors import ArchiveError, Refused
from pacskit.events import EventBus, InstanceStored
from pacskit.imaging.part10 import META_LIMIT, read_head

STATUS_OTHER_CONTENT = 0xC001
KNOWN_FOLDERS = 10_000
_PIECE = 1 << 20
_PATH_OF = select(instance.c.path).where(instance.c.SOPInstanceUID == bindparam("uid"))


class _Claim:
    """A UID whose row is not committed yet: being stored (path empty), or stored and queued."""

    __slots__ = ("decided", "path")

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.path = ""


class Keeper:
    """Puts received files into their places. Any number of threads."""

    def __init__(self, folder: Path, index: IndexWriter, events: EventBus, safe: bool) -> None:
        self._folder, self._index, self._events, self._safe = folder, index, events, safe
        self._claims: dict[str, _Claim] = {}
        self._lock = threading.Lock()
        self._synced: set[Path] = set()
        """Series folders whose own names are known to be on the disk."""

    def keep(
        self, part: Path, descriptor: int, header: Header, data_offset: int, close: Callable[[], None]
    ) -> Stored:
        """Raises Refused 0xC001 where another content has this UID, ArchiveError where the disk says no."""
        self._index.check()
        uid = header.sop_instance_uid
        relative = relative_path(header)
        size = os.fstat(descriptor).st_size
        while True:
            with self._lock:
                other = self._claims.get(uid)
                if other is None:
                    claim = self._claims[uid] = _Claim()
                    break
            other.decided.wait()
            if other.path:
                return self._judge(other.path, descriptor, header, data_offset, size)
            # the other one failed, and took its claim away: this one may try
        try:
            there = self._path_of(uid) or (relative if (self._folder / relative).exists() else "")
            if there:
                self._withdraw(uid, claim)
                return self._judge(there, descriptor, header, data_offset, size)
            if self._safe:
                system.sync_data(descriptor)
            close()
            self._place(part, self._folder / relative)
            try:
                self._index.put(Row(header, relative, size))
            except BaseException:  # its sender is told that it failed: then it must not be here either
                with contextlib.suppress(OSError):
                    (self._folder / relative).unlink()
                raise
        except BaseException:
            self._withdraw(uid, claim)
            raise
        claim.path = relative
        claim.decided.set()
        return self._told(header, relative, size, False)

    def committed(self, rows: list[Row]) -> None:
        """The rows are in the index: their claims are no longer needed."""
        with self._lock:
            for row in rows:
                self._claims.pop(row.header.sop_instance_uid, None)

    def _withdraw(self, uid: str, claim: _Claim) -> None:
        with self._lock:
            if self._claims.get(uid) is claim:
                del self._claims[uid]
        claim.decided.set()

    def has(self, uid: str) -> bool:
        """Whether the index has this instance."""
        return bool(self._path_of(uid))

    def _path_of(self, uid: str) -> str:
        with self._index.connect() as connection:
            return str(connection.execute(_PATH_OF, {"uid": uid}).scalar() or "")

    def _place(self, part: Path, target: Path) -> None:
        if not self._safe:
            try:
                part.rename(target)
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
                part.rename(target)
            return
        series = target.parent
        if series not in self._synced:
            series.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            series.mkdir(exist_ok=True, mode=FOLDER_MODE)
            # also where another thread made them: its sync may still be under way
            system.sync_folder(series.parent.parent)
            system.sync_folder(series.parent)
        part.rename(target)
        system.sync_folder(series)
        with self._lock:
            if len(self._synced) >= KNOWN_FOLDERS:
                self._synced.clear()
            self._synced.add(series)

    def _judge(self, there: str, descriptor: int, header: Header, data_offset: int, size: int) -> Stored:
        """Same UID again: the same data set is a duplicate, another one is refused; the first stays."""
        path = self._folder / there
        try:
            with path.open("rb") as file:
                old_offset = read_head(file.read(META_LIMIT)).offset
                old_size = os.fstat(file.fileno()).st_size
                same = old_size - old_offset == size - data_offset and _equal(
                    file.fileno(), old_offset, descriptor, data_offset, size - data_offset
                )
        except FileNotFoundError as error:
            raise ArchiveError(
                f"{there} of the archive {self._folder} is missing, though the index has it: "
                "`pacskit rebuild` mends that"
            ) from error
        except ValueError as error:
            raise ArchiveError(f"{there} of the archive {self._folder} is damaged: {error}") from error
        if not same:
            raise Refused(
                STATUS_OTHER_CONTENT,
                "another content is already stored under this SOP Instance UID; the first is kept",
            )
        return self._told(header, there, old_size, True)

    def _told(self, header: Header, relative: str, size: int, duplicate: bool) -> Stored:
        uid, series, study = header.sop_instance_uid, header.series_uid, header.study_uid
        self._events.publish(
            InstanceStored(
                sop_instance_uid=uid,
                series_uid=series,
                study_uid=study,
                received_from=header.received_from,
                bytes=size,
                duplicate=duplicate,
            )
        )
        return Stored(uid, study, series, self._folder / relative, size, duplicate)


def _equal(one: int, one_at: int, other: int, other_at: int, size: int) -> bool:
    done = 0
    while done < size:
        length = min(_PIECE, size - done)
        piece = system.read_at(one, length, one_at + done)
        if not piece or piece != system.read_at(other, len(piece), other_at + done):
            return False
        done += len(piece)
    return True
