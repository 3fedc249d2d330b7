"""Copies of the index, made while it is in use: after a loss they save the hours of a rebuild.

backups/index-<UTC time it was begun>.sqlite, mode 0600. Each was checked whole before it got its name.
How an index comes back from one stands in restoring.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pacskit import system
from pacskit.archive import connections
from pacskit.archive.checksums import Cancelled
from pacskit.archive.connections import code, reason
from pacskit.archive.files import FILE_MODE, FOLDER_MODE, FORMAT, cannot_write, short_hash
from pacskit.archive.reader import IndexReader
from pacskit.archive.rows import driver
from pacskit.errors import ArchiveError
from pacskit.settings.models import ArchiveSettings
from pacskit.settings.sizes import room_in_bytes

log = logging.getLogger(__name__)

BACKUPS, SUSPECT = "backups", "-suspect"
PIECE = 1000
"""Pages (4 KiB) copied and synced at once, so that no receiver's sync waits for more than these."""
PAUSE = 0.01
"""Seconds between two pieces."""
AGAIN = 3600.0
"""Seconds after a backup that failed."""
_NAME = "index-%Y%m%dT%H%M%SZ.sqlite"


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy of an index."""

    path: Path
    at: datetime
    """When it was begun: it has all that was committed until then."""
    bytes: int


def backup_place(folder: Path, wanted: Path | None) -> Path:
    """`backups/` of the archive; in a folder for several archives, one that belongs to this one's path."""
    if wanted is None:
        return folder / BACKUPS
    return wanted.expanduser() / f"{folder.name}-{short_hash(os.path.realpath(folder), 12)}"


def all_backups(place: Path) -> list[Backup]:
    """The newest first; what a wrong clock dated into the future comes last. Raises OSError."""
    found = []
    try:
        for entry in os.scandir(place):
            try:
                at = datetime.strptime(entry.name, _NAME).replace(tzinfo=UTC)
            except ValueError:
                continue  # not ours, or not finished
            found.append(Backup(Path(entry.path), at, entry.stat().st_size))
    except FileNotFoundError:
        return []
    soon = datetime.now(UTC) + timedelta(hours=1)
    return sorted(found, key=lambda one: (one.at < soon, one.at), reverse=True)


def back_up(
    index: IndexReader,
    place: Path,
    *,
    min_free: str = "0 MB",
    stop: Callable[[], bool] = lambda: False,
    pause: float = PAUSE,
) -> Backup:
    """Copy the index as it is now; receiving and queries go on. Any process.

    Raises ArchiveError where the disk says no or the index turns out to be damaged, Cancelled once `stop()`.
    """
    begun = datetime.now(UTC).replace(microsecond=0)
    target = place / begun.strftime(_NAME)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        place.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        _clean(place)
        _check_room(index.path, place, min_free)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | system.BINARY, FILE_MODE)
        try:
            try:
                _copy(index, part, descriptor, stop, pause)
                system.sync_data(descriptor)
            finally:
                os.close(descriptor)
            if wrong := fault_of(part):
                suspect(index.path)
                raise ArchiveError(
                    f"no backup of the index {index.path}, it is damaged ({wrong}): close the archive and "
                    "open it again, which mends it"
                )
            size = part.stat().st_size
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        system.sync_folder(place)
    except OSError as error:
        raise ArchiveError(cannot_write(place, error)) from error
    return Backup(target, begun, size)


def _copy(index: IndexReader, part: Path, descriptor: int, stop: Callable[[], bool], pause: float) -> None:
    def between(status: int, remaining: int, total: int) -> None:
        if stop():
            raise Cancelled
        system.sync_data(descriptor)
        if remaining and pause:
            time.sleep(pause)

    # nolock: nobody else knows the file, and network drives may have no locks
    with index.connect() as connection, closing(connections.connect(part, "mode=rw&nolock=1")) as copy:
        # One snapshot from here on: else each commit of the writer would begin the copy anew
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        try:
            copy.execute("PRAGMA journal_mode=OFF").fetchall()
            copy.execute("PRAGMA synchronous=OFF")
            driver(connection).backup(copy, pages=PIECE, progress=between)
        except sqlite3.Error as error:
            if code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                suspect(index.path)
            raise ArchiveError(f"the index cannot be copied to {part.parent}: {reason(error)}") from error


def fault_of(backup: Path) -> str:
    """What is wrong with a copy that nobody writes; empty for a good one. Reads all of it."""
    try:
        with closing(connections.connect(backup, "mode=ro&immutable=1")) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return reason(error)
    return "" if found == "ok" else found.partition("\n")[0]


def suspect(index: Path) -> None:
    """It failed: the next start checks all of it (restoring.py)."""
    with contextlib.suppress(OSError):  # then it fails again
        index.with_name(index.name + SUSPECT).touch(FILE_MODE)


def _clean(place: Path) -> None:
    """What killed ones left; another process may be at work on a young one."""
    for left in place.glob("index-*.part"):
        if time.time() - left.stat().st_mtime > 86_400:
            left.unlink(missing_ok=True)


def _check_room(index: Path, place: Path, min_free: str) -> None:
    disk, needed = shutil.disk_usage(place), index.stat().st_size
    if disk.free - needed < room_in_bytes(min_free, disk.total):
        raise ArchiveError(
            f"no room for a backup of the index ({needed / 1e6:.0f} MB) in {place}: {disk.free / 1e6:.0f} MB "
            f"are free, of which archive.min_free keeps {min_free}. Make room, or set archive.backup_folder"
        )


class Backups:
    """The owner's: one each `archive.backup_every` hours, the oldest go. Any thread."""

    def __init__(self, folder: Path, index: IndexReader, settings: ArchiveSettings) -> None:
        self._folder, self._index = folder, index
        self._lock = threading.Lock()
        self._told = ""
        self.follow(settings)

    def follow(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._place = backup_place(self._folder, settings.backup_folder)
        self._every = settings.backup_every * 3600.0
        self._next = time.monotonic()  # to look at what is there, in the caretaker's thread: a mount may hang

    def _age(self) -> float:
        """Seconds since the last backup; of a new archive, since it was made. Endless by a wrong clock."""
        try:
            before = [one.at.timestamp() for one in all_backups(self._place)[:1]]
            age = time.time() - (before or [(self._folder / FORMAT).stat().st_mtime])[0]
        except OSError:  # it is tried, and what is wrong is told
            return float("inf")
        return age if age >= 0 else float("inf")

    def due(self) -> float | None:
        """See caretaker.Chore."""
        return max(self._next - time.monotonic(), 0.0) if self._every else None

    def run(self, stop: Callable[[], bool]) -> None:
        wait = self._every - self._age()
        self._next = time.monotonic() + (wait if wait > 0 else min(AGAIN, self._every))
        if wait > 0:
            return
        try:
            with self._index.connect() as connection:
                empty = not driver(connection).execute("SELECT 1 FROM instance LIMIT 1").fetchall()
            if not empty:
                self.make(stop)
            self._told = ""
        except Cancelled:
            return
        except ArchiveError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.warning("no backup of the index: %s", error)
            return
        self._next = time.monotonic() + self._every

    def make(self, stop: Callable[[], bool] = lambda: False) -> Backup:
        """One now. Raises as `back_up`."""
        with self._lock:
            made = back_up(self._index, self._place, min_free=self._settings.min_free, stop=stop)
            log.info("the index is backed up: %s, %.1f MB", made.path, made.bytes / 1e6)
            with contextlib.suppress(OSError):  # the next one tries again
                for old in all_backups(self._place)[self._settings.backup_keep :]:
                    old.path.unlink(missing_ok=True)
        return made
