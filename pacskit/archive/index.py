"""The index: one writer thread behind a bounded queue, readers with connections of their own.

A row follows its file; `drain()` waits until the rows queued so far are committed.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from pacskit.archive import connections
from pacskit.archive.connections import code, reason
from pacskit.archive.extra import stored
from pacskit.archive.migration import prepare
from pacskit.archive.reader import IndexReader
from pacskit.archive.removal import Removed, refresh, remove
from pacskit.archive.rows import Ledger, Row, driver
from pacskit.archive.uid_filter import UidFilter
from pacskit.errors import ArchiveError

__all__ = ["IndexReader", "IndexWriter"]

log = logging.getLogger(__name__)

QUEUE_LIMIT = 10_000
"""Rows that may wait; a receiver that is faster than the index waits then."""
BATCH = 500
LEARN_AT_ONCE = 2000
GATHER_SECONDS = 0.02
"""How long a row may wait for others to be committed with, where nobody drains."""
FULL_SECONDS = 1.0
"""Between two attempts to write to a full disk."""

Read = Callable[[str], Row | None]
"""The row of a stored file by its path in the index; None where it cannot be read."""
Committed = Callable[[list[Row], dict[str, str]], None]
"""Called in the writer's thread with the rows of a batch and its new conflicts (study UID → sentence)."""


@dataclass(slots=True)
class _Removal:
    uids: Sequence[str]
    answer: Removed


@dataclass(frozen=True, slots=True)
class _Reading:
    row: Row
    """Of an instance that is in the index, read again."""


_Item = Row | _Removal | _Reading


class IndexWriter(IndexReader):
    """The owner's index: reads, and writes in one thread."""

    def __init__(
        self,
        path: Path,
        committed: Committed,
        failed: Callable[[str], None],
        *,
        extra: Iterable[str] = (),
        read: Read | None = None,
    ) -> None:
        """Makes the tables where they are missing; `new` says so.

        `extra`: archive.extra_attributes. `read` gives the row of a stored file again, for `remove`. Raises
        ArchiveError, ValueError for an extra attribute that cannot be kept.
        """
        self._committed, self._failed, self._read = committed, failed, read
        extra = tuple(extra)
        self._writing = connections.engine(lambda: connections.connect_to_write(path))
        event.listen(self._writing, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            try:
                self.new = self._prepare(path, extra)
            except (SQLAlchemyError, sqlite3.Error) as error:
                if code(error) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                self._writing.dispose()  # damaged: it is a cache, the files have everything
                for end in ("", "-wal", "-shm"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
                self.new = self._prepare(path, extra)
            super().__init__(path, pool=True)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            self._writing.dispose()
            raise ArchiveError(f"the index {path} cannot be written: {reason(error)}") from error
        except BaseException:
            self._writing.dispose()
            raise
        with self.connect() as connection:
            self._ledger = Ledger(stored(driver(connection)))
        self._changed = threading.Condition()
        self._one_writer = threading.Lock()
        self._waiting: deque[_Item] = deque()
        self._queued = self._done = 0
        self._hurry = 0
        """Threads that drain: the writer does not wait for more rows."""
        self._closing = False
        self.failure = ""
        self.dead = False
        """Whether a failure is for good; a full disk is none, it is tried again."""
        self._learning = self._learn()
        self._thread = threading.Thread(target=self._run, name="pacskit-index", daemon=True)
        self._thread.start()

    def _prepare(self, path: Path, extra: Sequence[str]) -> bool:
        with self._writing.connect() as connection:
            driver(connection).execute("PRAGMA journal_mode=WAL")
        with self._writing.begin() as connection:
            return prepare(connection, path, extra)

    def _learn(self) -> threading.Thread:
        """Tell the filter which UIDs are here; until then, each is asked of the index."""
        known = self._known = UidFilter()
        thread = threading.Thread(target=self._tell, args=(known,), name="pacskit-uids", daemon=True)
        thread.start()
        return thread

    def _tell(self, known: UidFilter) -> None:
        try:
            for uids in self.uids(LEARN_AT_ONCE):
                if self._closing or known is not self._known:
                    return
                known.add(uids)
        except ArchiveError as error:
            log.warning("duplicates are asked of the index: %s", error)
        else:
            known.complete = True

    def path_of(self, sop_instance_uid: str) -> str:
        """As the reader's; that one is not here is mostly known without asking."""
        return "" if self._known.lacks(sop_instance_uid) else super().path_of(sop_instance_uid)

    @property
    def queued(self) -> int:
        """Rows that are not committed yet; asked without the lock, so the earlier figure first."""
        done = self._done
        return self._queued - done

    def put(self, row: Row) -> None:
        """Queue a row; waits while the queue is full. Raises ArchiveError once the writer has died."""
        self._put(row)

    def refresh(self, row: Row) -> None:
        """Queue a row whose file was read again: its attributes are written; as `put`."""
        self._put(_Reading(row))

    def remove(self, sop_instance_uids: Iterable[str]) -> frozenset[str]:
        """Take instances out, after what is queued; their counts and receipts are right when it returns.

        Returns the Study Instance UIDs they were in. Where the first instance of a study went, the file of
        the next one is read in this thread, for its attributes; where it cannot be, they wait for `reindex`.
        Not to be called in `committed`. Raises ArchiveError.
        """
        removal = _Removal(tuple(sop_instance_uids), Removed())
        self._put(removal)
        self.drain()
        for path in removal.answer.heirs:
            if self._read is not None and (row := self._read(path)) is not None:
                self.refresh(row)
        self.drain()
        return removal.answer.studies

    def _put(self, item: _Item) -> None:
        with self._changed:
            while len(self._waiting) >= QUEUE_LIMIT and not (self.failure or self._closing):
                self._changed.wait()
            self.check()
            self._waiting.append(item)
            self._queued += 1
            if len(self._waiting) in (1, BATCH):
                self._changed.notify_all()

    def check(self) -> None:
        """Raises ArchiveError where rows can no longer be written."""
        if self.failure:
            raise ArchiveError(f"the archive's index failed, nothing more is taken: {self.failure}")
        if self._closing:
            raise ArchiveError("the archive is closed")

    def drain(self) -> None:
        """Every row queued before this call is committed when it returns. Raises ArchiveError."""
        with self._changed:
            goal = self._queued
            if self._done < goal:
                self._hurry += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._done >= goal or self.failure)
                self._hurry -= 1
            if self.failure:
                raise ArchiveError(f"the archive's index failed: {self.failure}")

    def checkpoint(self) -> None:
        """What is committed is on the disk when this returns, and not only in the system's cache.

        Raises ArchiveError.
        """
        try:
            with self._one_writer, self._writing.connect() as connection:
                driver(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ArchiveError(f"the index {self.path} cannot be written: {reason(error)}") from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One write outside the queue (rebuild); the writer's thread waits meanwhile, however long."""
        try:
            with self._one_writer:
                self._ledger.forget()
                with self._writing.begin() as connection:
                    yield connection
                self._learning = self._learn()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ArchiveError(f"the index {self.path} cannot be written: {reason(error)}") from error

    @contextmanager
    def _begin(self) -> Iterator[sqlite3.Connection]:
        """The writer's own transaction: by SQLAlchemy it costs a small batch half its time."""
        pooled = self._writing.raw_connection()
        try:
            raw = pooled.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute("BEGIN IMMEDIATE")
            with raw:  # commits, or rolls back
                yield raw
        finally:
            pooled.close()

    def write_now(self, batch: Sequence[_Item]) -> dict[str, str]:
        """One batch in this thread, past the queue, nobody told; returns the new conflicts."""
        with self._one_writer, self._begin() as raw:
            self._known.add([item.header.sop_instance_uid for item in batch if isinstance(item, Row)])
            return self._write(raw, batch)

    def _run(self) -> None:
        while batch := self._next():
            rows = [item for item in batch if isinstance(item, Row)]
            try:
                conflicts = self.write_now(batch)
                self._committed(rows, conflicts)
            except Exception as error:  # noqa: BLE001 - whatever it was, it must be told
                self._ledger.forget()
                if self._give_up(error, batch):
                    return
                continue
            with self._changed:
                self.failure = ""
                self._done += len(batch)
                self._changed.notify_all()

    def _next(self) -> list[_Item]:
        """The next batch; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(
                lambda: len(self._waiting) >= BATCH or self._hurry or self._closing, GATHER_SECONDS
            )
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._changed.notify_all()
        return batch

    def _write(self, raw: sqlite3.Connection, batch: Sequence[_Item]) -> dict[str, str]:
        """In the order they came; rows that follow one another go together."""
        conflicts: dict[str, str] = {}
        rows: list[Row] = []
        for item in batch:
            if isinstance(item, Row):
                rows.append(item)
                continue
            conflicts |= self._ledger.apply(raw, rows)
            rows = []
            if isinstance(item, _Removal):
                item.answer = remove(raw, self._ledger, item.uids)
            else:
                conflicts |= refresh(raw, self._ledger, [item.row])
        return conflicts | self._ledger.apply(raw, rows)

    def _give_up(self, error: Exception, batch: Sequence[_Item]) -> bool:
        """Tell it, once. A full disk ends: the rows wait and are tried again; anything else does not."""
        for_good = code(error) != sqlite3.SQLITE_FULL
        with self._changed:
            told, self.failure = self.failure, reason(error)
            self.dead = for_good
            if for_good:
                self._waiting.clear()
            else:
                self._waiting.extendleft(reversed(batch))
            self._changed.notify_all()
        if not told or for_good:
            log.error("the index cannot be written", exc_info=error)
            self._failed(self.failure)
        with self._changed:
            return for_good or bool(self._changed.wait_for(lambda: self._closing, FULL_SECONDS))

    def close(self) -> None:
        """Commit what waits, end the thread, close the connections. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._learning.join()
        super().close()
        self._writing.dispose()
