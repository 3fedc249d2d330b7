"""What a killed owner or a power cut left behind: mended at the next start, without a walk over all files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from pacskit import system
from pacskit.archive.duplicates import Arrived
from pacskit.archive.files import DAMAGED, INCOMING, STUDIES, make_folders, study_folder, walk_files
from pacskit.archive.header import size_of
from pacskit.archive.import_in_place import read_in_place
from pacskit.archive.import_journal import ImportJournal
from pacskit.archive.incoming import UNFINISHED, Stored
from pacskit.archive.index import IndexReader, IndexWriter
from pacskit.archive.marks import IN_PLACE, Mark
from pacskit.archive.rebuild import receipts_of
from pacskit.archive.rows import Row
from pacskit.archive.schema import instance, series, study
from pacskit.archive.stored_file import read_row
from pacskit.errors import ArchiveError, PacskitError
from pacskit.imaging.part10 import META_LIMIT, read_head

Keep = Callable[[Arrived, Callable[[], None]], Stored]


@dataclass(slots=True)
class Recovered:
    """What was found after an owner that did not end by itself."""

    studies: int = 0
    """Looked at, because they were marked."""
    rows: int = 0
    """Of files that were stored and not indexed."""
    gone: int = 0
    """Rows without their files."""
    adopted: int = 0
    """Complete files that were left in incoming/ and are now in their places."""
    discarded: int = 0
    """Incomplete ones, thrown away: their senders were never told that they are stored."""
    backup: Path | None = None
    """What the index, lost or damaged, was restored from; `rows` and `gone` then tell what changed since."""
    damaged: list[Path] = field(default_factory=list)
    """Half files of a machine that died without `safe`, moved to damaged/."""


def recover(
    folder: Path,
    index: IndexWriter,
    marks: Iterable[Mark],
    safe: bool,
    imported: ImportJournal | None,
    report: Recovered,
) -> None:
    """Bring the rows of the marked studies to what their files are. Raises ArchiveError."""
    receipts = receipts_of(imported)
    for mark in sorted(marks):
        if mark == IN_PLACE:
            _recover_in_place(index, imported, report)
            continue
        report.studies += 1
        known = _known(index, mark)
        wanted: dict[str, Row] = {}
        place = folder / STUDIES / mark.folder
        try:
            for relative, _ in walk_files(folder, f"{STUDIES}/{mark.folder}"):
                try:
                    wanted[relative] = read_row(folder, relative, receipts)
                except (PacskitError, ValueError):
                    report.damaged.append(_put_apart(folder, relative, safe))
            if safe and place.is_dir():
                _sync(place)
        except OSError as error:
            raise ArchiveError(
                f"{place} cannot be read: {error.strerror}. Check the disk; nothing of it was changed"
            ) from error
        rows = [row for relative, row in wanted.items() if known.get(relative) != _facts(row)]
        gone = {facts[0] for relative, facts in known.items() if relative not in wanted}
        report.gone += len(gone)
        report.rows += len(rows)
        if gone := gone | {row.header.sop_instance_uid for row in rows}:
            index.remove(gone)
        for row in rows:
            index.put(row)


def _recover_in_place(index: IndexWriter, imported: ImportJournal | None, report: Recovered) -> None:
    """Their entries in the journal came before their rows."""
    statement = select(instance.c.path).where(~instance.c.path.startswith(f"{STUDIES}/"))
    with index.connect() as connection:
        known = set(connection.execute(statement).scalars())
    for path, entry in imported.files("in-place") if imported is not None else ():
        if Path(path).as_posix() not in known:
            with contextlib.suppress(PacskitError, ValueError, OSError):
                index.put(read_in_place(path, entry))
                report.rows += 1


def _facts(row: Row) -> tuple[str, int, int]:
    return (row.header.sop_instance_uid, row.bytes, row.header.received_ms)


def _known(index: IndexReader, mark: Mark) -> dict[str, tuple[str, int, int]]:
    """Relative path → UID, bytes and time of receipt of the rows of a marked study."""
    columns = (instance.c.path, instance.c.SOPInstanceUID, instance.c.bytes, instance.c.received_ms)
    statement = (
        select(*columns)
        .join(series, instance.c.series_key == series.c.key)
        .join(study, series.c.study_key == study.c.key)
        .where(study.c.StudyInstanceUID == mark.study_uid)
    )
    with index.connect() as connection:
        rows = connection.execute(statement).all()
    return {path: (uid, size, at) for path, uid, size, at in rows if study_folder(path) == mark.folder}


def _put_apart(folder: Path, relative: str, safe: bool) -> Path:
    target = folder / DAMAGED / relative
    make_folders(target.parent, folder, safe)
    (folder / relative).replace(target)
    return target


def _sync(place: Path) -> None:
    """The names a killed owner made: whoever sends such a file again is told at once that it is stored."""
    for entry in os.scandir(place):
        if entry.is_dir(follow_symlinks=False):
            system.sync_folder(entry.path)
    system.sync_folder(place)
    system.sync_folder(place.parent)


def adopt(folder: Path, busy: Callable[[Path], bool], keep: Keep, report: Recovered) -> None:
    """Bring complete files of incoming/ to their places, throw away the rest but the `busy` ones."""
    for path in sorted((folder / INCOMING).iterdir()):
        if busy(path):
            continue
        try:
            stored = _adopt_one(folder, path, keep)
        except (PacskitError, ValueError, OSError) as error:
            if isinstance(error, ArchiveError | OSError):
                continue  # the disk says no: it stays for the next start
            stored = None
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if stored is None or stored.duplicate:
            report.discarded += 1
        else:
            report.adopted += 1


def _adopt_one(folder: Path, path: Path, keep: Keep) -> Stored | None:
    """None for an incomplete one; raises ValueError and Refused for others that are none."""
    descriptor = os.open(path, os.O_RDONLY | system.BINARY)
    open_now = True

    def close() -> None:
        nonlocal open_now
        if open_now:
            open_now = False
            os.close(descriptor)

    try:
        start = system.read_at(descriptor, META_LIMIT, 0)
        if start.startswith(UNFINISHED):
            return None
        head = read_head(start)
        size = os.fstat(descriptor).st_size
        if size_of(head) not in (None, size - head.offset):
            return None
        row = read_row(folder, f"{INCOMING}/{path.name}")
        return keep(Arrived(str(path), descriptor, row.header, head.offset, size), close)
    finally:
        close()
