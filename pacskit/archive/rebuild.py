"""The index again from the files, which are the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from sqlalchemy import delete

from pacskit.archive.files import walk_files
from pacskit.archive.import_in_place import read_in_place
from pacskit.archive.import_journal import ImportJournal
from pacskit.archive.import_shelf import IMPORT
from pacskit.archive.index import IndexWriter
from pacskit.archive.rows import Row, apply_rows
from pacskit.archive.schema import instance, patient, series, study
from pacskit.archive.stored_file import Receipts, read_row
from pacskit.errors import PacskitError

BATCH = 500


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild found."""

    instances: int = 0
    adopted: int = 0
    """Complete files that were left in incoming/ and are now in their places."""
    discarded: int = 0
    """Incomplete ones, thrown away: their senders were never told that they are stored."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are no longer what was stored; they stay where they are."""


def _rows(
    folder: Path,
    report: RebuildReport,
    progress: Callable[[int], None] | None,
    imported: ImportJournal | None,
) -> Iterator[Row]:
    for path, read in _files(folder, imported):
        try:
            row = read()
        except (PacskitError, ValueError, OSError) as error:
            report.unreadable.append((folder / path, str(error)))
            continue
        report.instances += 1
        if progress is not None:
            progress(report.instances)
        yield row


def _files(folder: Path, imported: ImportJournal | None) -> Iterator[tuple[str, Callable[[], Row]]]:
    """(path as the index has it, how to read its row): the archive's own files, then those in place."""
    receipts = receipts_of(imported)
    for relative, _ in walk_files(folder):
        yield relative, partial(read_row, folder, relative, receipts)
    for path, entry in imported.files("in-place") if imported else ():
        yield Path(path).as_posix(), partial(read_in_place, path, entry)


def receipts_of(imported: ImportJournal | None) -> Receipts:
    """Of linked files; the journal is read when the first one is met."""

    @cache
    def all_of_them() -> dict[str, tuple[int, str]]:
        files = imported.files("link") if imported else ()
        return {entry.uid: (entry.at_ms, IMPORT) for _, entry in files}

    return lambda uid: all_of_them().get(uid)


def rebuild(
    folder: Path,
    index: IndexWriter,
    report: RebuildReport,
    progress: Callable[[int], None] | None,
    imported: ImportJournal | None = None,
) -> None:
    """Replace all rows in one transaction: readers see the old index until it is done."""
    with index.transaction() as connection:
        for table in (instance, series, study, patient):
            connection.execute(delete(table))
        batch: list[Row] = []
        for row in _rows(folder, report, progress, imported):
            batch.append(row)
            if len(batch) >= BATCH:
                apply_rows(connection, batch)
                batch.clear()
        apply_rows(connection, batch)
