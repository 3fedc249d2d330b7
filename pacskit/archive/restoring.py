"""A lost or damaged index comes back from its newest good backup, and then follows what changed since.

`index.sqlite-suspect` beside the index: it failed, so the next start checks all of it. `index.sqlite-behind`:
it lacks what changed since the time in it (0: everything). That one is there before a restored or an empty
index is, and goes when all rows are on the disk: a start that is killed half-way is done again.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from sqlalchemy import select

from pacskit import system
from pacskit.archive import connections
from pacskit.archive.backup import SUSPECT, Backup, all_backups, fault_of
from pacskit.archive.connections import code, reason
from pacskit.archive.files import FILE_MODE, cannot_write, walk_files
from pacskit.archive.import_in_place import read_in_place
from pacskit.archive.import_journal import ImportJournal
from pacskit.archive.index import IndexWriter
from pacskit.archive.rebuild import BATCH, receipts_of
from pacskit.archive.recovery import Recovered
from pacskit.archive.rows import Row
from pacskit.archive.schema import SCHEMA_VERSION, instance
from pacskit.archive.stored_file import read_row
from pacskit.errors import ArchiveError, PacskitError

log = logging.getLogger(__name__)

BEHIND, COPY = "-behind", ".restoring"
MARGIN = 600.0
"""Seconds: a network drive has a clock of its own."""


def mend(index: Path, place: Path, report: Recovered) -> float | None:
    """Before the index is opened: where it is lost or damaged, the newest good backup of `place` comes there.

    Returns since when (Unix time) the index there lacks what changed: 0 for everything, None for nothing.
    Raises ArchiveError.
    """
    try:
        fault = _fault(index)
        since = _restore(index, place, fault, report) if fault else _behind(index)
        for end in (SUSPECT, COPY):
            index.with_name(index.name + end).unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(cannot_write(index.parent, error)) from error
    return since


def mended(index: IndexWriter) -> None:
    """All rows are there: nothing is behind any more. Raises ArchiveError."""
    note = index.path.with_name(index.path.name + BEHIND)
    if note.exists():
        index.drain()
        index.checkpoint()
        note.unlink(missing_ok=True)


def _fault(index: Path) -> str:
    """Empty where it can be used, as far as a look tells; all of it is read only where it is suspect."""
    if not index.is_file():
        return "missing"
    try:
        with closing(connections.connect(index, "mode=rw")) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return "empty"
            if index.with_name(index.name + SUSPECT).exists():
                found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
                return "" if found == "ok" else "damaged"
    except sqlite3.Error as error:
        if code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return f"damaged ({reason(error)})"
    return ""  # whatever else it is, whoever opens it is told


def _behind(index: Path) -> float | None:
    try:
        return float(index.with_name(index.name + BEHIND).read_text("ascii"))
    except FileNotFoundError:
        return None
    except ValueError:
        return 0.0


def _restore(index: Path, place: Path, fault: str, report: Recovered) -> float:
    since = 0.0
    copy = index.with_name(index.name + COPY)
    for backup in _readable(place):
        try:
            copy.unlink(missing_ok=True)
            copy.touch(FILE_MODE)
            shutil.copyfile(backup.path, copy)
        except OSError as error:
            log.warning("the backup %s cannot be copied: %s", backup.path, error.strerror or error)
            continue
        if wrong := fault_of(copy) or _unfit(copy):
            log.warning("the backup %s cannot be used: %s", backup.path, wrong)
            continue
        since, report.backup = backup.at.timestamp(), backup.path
        break
    system.replace_file(index.with_name(index.name + BEHIND), f"{since}\n".encode(), FILE_MODE)
    for end in ("-wal", "-shm", ""):  # the log first: it must not meet another index
        index.with_name(index.name + end).unlink(missing_ok=True)
    if report.backup is None:
        return since
    log.warning("the index %s is %s: it is restored from %s", index, fault, report.backup)
    with copy.open("rb+") as file:
        system.sync_data(file.fileno())
    copy.replace(index)
    system.sync_folder(index.parent)
    return since


def _readable(place: Path) -> Sequence[Backup]:
    try:
        return all_backups(place)
    except OSError as error:
        log.warning("the backups in %s cannot be read: %s", place, error.strerror or error)
        return ()


def _unfit(copy: Path) -> str:
    with closing(connections.connect(copy, "mode=ro&immutable=1")) as connection:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not version:
        return "it is empty"
    return f"it is of schema {version}, a newer pacskit made it" if version > SCHEMA_VERSION else ""


def catch_up(
    folder: Path, index: IndexWriter, since: float, imported: ImportJournal | None, report: Recovered
) -> None:
    """Bring a restored index to what the files are: of those it knows, only the changed ones are read.

    A file is read where the index has not its path, or another size, or where it changed (content or name)
    after `since`. Files imported in place are taken as their journal says, without a look at them. Raises
    ArchiveError.
    """
    try:
        _catch_up(folder, index, since, imported, report)
    except OSError as error:
        raise ArchiveError(
            f"{folder} cannot be read: {error.strerror}. Check the disk; the next start goes on with it"
        ) from error


def _catch_up(
    folder: Path, index: IndexWriter, since: float, imported: ImportJournal | None, report: Recovered
) -> None:
    with index.connect() as connection:
        known: dict[str, int] = dict(connection.execute(select(instance.c.path, instance.c.bytes)).all())
    stale: set[str] = set()
    reads: list[Callable[[], Row]] = []
    receipts = receipts_of(imported)
    for relative, entry in walk_files(folder):
        status = entry.stat(follow_symlinks=False)
        size = known.pop(relative, None)
        changed = max(status.st_mtime, status.st_ctime)  # on Windows the latter is when it was made
        if size != status.st_size or changed >= since - MARGIN:
            reads.append(partial(read_row, folder, relative, receipts))
            if size is not None:
                stale.add(relative)
    for path, line in imported.files("in-place") if imported is not None else ():
        place = Path(path).as_posix()
        size = known.pop(place, None)
        if size is None or line.at_ms / 1000 >= since - MARGIN:
            reads.append(partial(read_in_place, path, line))
            if size is not None:
                stale.add(place)
    report.gone += len(known)
    _remove(index, stale | known.keys())
    _write(index, reads, report)


def _remove(index: IndexWriter, paths: set[str]) -> None:
    if paths:
        with index.connect() as connection:
            rows = connection.execute(select(instance.c.path, instance.c.SOPInstanceUID))
            gone = [uid for path, uid in rows if path in paths]
        index.remove(gone)


def _write(index: IndexWriter, reads: Iterable[Callable[[], Row]], report: Recovered) -> None:
    """Past the queue: of what came before the loss nobody is told as if it were new."""
    batch: list[Row] = []
    for read in reads:
        try:
            batch.append(read())
        except (PacskitError, ValueError, OSError) as error:  # as a rebuild: it stays where it is
            log.warning("not in the index: %s", error)
            continue
        if len(batch) >= BATCH:
            index.write_now(batch)
            batch = []
        report.rows += 1
    index.write_now(batch)
