"""The index again from the files, which are the truth; and what a killed owner left behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, select

from pacskit import system
from pacskit.archive.files import INCOMING, relative_path, walk_files
from pacskit.archive.header import Header, read_attributes, receipt
from pacskit.archive.incoming import UNFINISHED
from pacskit.archive.index import IndexReader, IndexWriter
from pacskit.archive.rows import Row, apply_rows
from pacskit.archive.schema import instance, series, study
from pacskit.errors import PacskitError
from pacskit.imaging.part10 import META_LIMIT, read_head

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


def read_row(folder: Path, relative: str) -> Row:
    """The row of a stored file, receipt included. Raises Refused, ValueError or OSError."""
    descriptor = os.open(folder / relative, os.O_RDONLY | system.BINARY)
    try:
        status = os.fstat(descriptor)
        head = read_head(system.read_at(descriptor, META_LIMIT, 0))
        attributes = read_attributes(
            lambda size, offset: system.read_at(descriptor, size, offset),
            head.offset,
            status.st_size,
            head.transfer_syntax_uid,
        )
        received_ms, received_from = receipt(head, status.st_mtime_ns // 1_000_000)
        return Row(
            Header(attributes, head.transfer_syntax_uid, received_ms, received_from), relative, status.st_size
        )
    finally:
        os.close(descriptor)


def adopt(
    folder: Path, busy: Callable[[Path], bool], stored: Callable[[str], bool], report: RebuildReport
) -> None:
    """Move complete files of incoming/ to their places, throw away the rest but the `busy` ones."""
    for path in sorted((folder / INCOMING).iterdir()):
        if busy(path):
            continue
        try:
            if _unfinished(path):
                raise ValueError("it was still being received")
            row = read_row(folder, f"{INCOMING}/{path.name}")
            target = folder / relative_path(row.header)
            if target.exists() or stored(row.header.sop_instance_uid):
                raise FileExistsError(target)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | system.BINARY)
            try:
                system.sync_data(descriptor)
            finally:
                os.close(descriptor)
            path.rename(target)
            for name in (target.parent, target.parent.parent, target.parent.parent.parent):
                system.sync_folder(name)
            report.adopted += 1
        except (PacskitError, ValueError, OSError):
            with contextlib.suppress(OSError):
                path.unlink()
            report.discarded += 1


def _unfinished(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(UNFINISHED)) == UNFINISHED


def _rows(
    folder: Path, known: frozenset[str], report: RebuildReport, progress: Callable[[int], None] | None
) -> Iterator[Row]:
    for relative, _ in walk_files(folder):
        if relative in known:
            continue
        try:
            row = read_row(folder, relative)
        except (PacskitError, ValueError, OSError) as error:
            report.unreadable.append((folder / relative, str(error)))
            continue
        report.instances += 1
        if progress is not None:
            progress(report.instances)
        yield row


def rebuild(
    folder: Path, index: IndexWriter, report: RebuildReport, progress: Callable[[int], None] | None
) -> None:
    """Replace all rows in one transaction: readers see the old index until it is done."""
    with index.transaction() as connection:
        for table in (instance, series, study):
            connection.execute(delete(table))
        batch: list[Row] = []
        for row in _rows(folder, frozenset(), report, progress):
            batch.append(row)
            if len(batch) >= BATCH:
                apply_rows(connection, batch)
                batch.clear()
        apply_rows(connection, batch)


def catch_up(folder: Path, index: IndexWriter, report: RebuildReport) -> None:
    """After an owner that was killed: rows of the files it stored and did not get to index."""
    for row in _rows(folder, known_paths(index), report, None):
        index.put(row)


def known_paths(index: IndexReader) -> frozenset[str]:
    """Relative paths of all indexed files."""
    with index.connect() as connection:
        return frozenset(connection.execute(select(instance.c.path)).scalars())
