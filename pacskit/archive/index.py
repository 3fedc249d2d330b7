"""The index: one writer thread behind a bounded queue, readers with connections of their own.

A row follows its file; `drain()` waits until the rows queued so far are committed. The file
index.sqlite is opened through SQLAlchemy alone: opening and closing it by hand would drop SQLite's locks.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool

from pacskit.archive.rows import Row, apply_rows
from pacskit.archive.schema import SCHEMA_VERSION, metadata
from pacskit.errors import ArchiveError

log = logging.getLogger(__name__)

QUEUE_LIMIT = 10_000
"""Rows that may wait; a receiver that is faster than the index waits then."""
BATCH = 500
BUSY_SECONDS = 30.0
FULL_SECONDS = 1.0
"""Between two attempts to write to a full disk."""

Committed = Callable[[list[Row], dict[str, str]], None]
"""Called in the writer's thread with the rows of a batch and its new conflicts (study UID → sentence)."""


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
        isolation_level=None,
    )
    connection.execute("PRAGMA case_sensitive_like=ON")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """`mode=ro` beside an owner; without one (no -wal) `immutable=1`, or SQLite would make -wal and -shm."""
    if not path.with_name(f"{path.name}-wal").exists():
        return _connect(path, "mode=ro&immutable=1")
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM study LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        connection = _connect(path, "mode=ro&immutable=1")
        connection.execute("SELECT 1 FROM study LIMIT 1").fetchall()
    return connection


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for errors that are not its."""
    return int(getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) or 0) & 0xFF


def _reason(error: Exception) -> str:
    """One line, without the statement and its values: those hold names."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]


def _engine(connect: Callable[[], sqlite3.Connection]) -> Engine:
    # The pool belongs to the engine, not to threads: dispose() closes every connection.
    return create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=8, max_overflow=120, hide_parameters=True
    )


def _engine_without_pool(connect: Callable[[], sqlite3.Connection]) -> Engine:
    # An immutable connection must not outlive one query: an owner may start at any time.
    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


class IndexReader:
    """Queries. Any thread."""

    def __init__(self, path: Path, pool: bool = False) -> None:
        """Raises ArchiveError where there is no index that can be read."""
        self.path = path
        self._reading = (
            _engine(lambda: _connect(path, "mode=ro"))
            if pool
            else _engine_without_pool(lambda: _connect_to_read(path))
        )
        # one snapshot for the statements of one query: a rebuild may end between them
        event.listen(self._reading, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        try:
            with self.connect() as connection:
                version = connection.execute(text("PRAGMA user_version")).scalar()
        except ArchiveError:
            self._reading.dispose()
            raise
        if version != SCHEMA_VERSION:
            self._reading.dispose()
            raise ArchiveError(
                f"the index {path} is of another version of pacskit: `pacskit rebuild` makes it again"
            )

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A snapshot to read. Raises ArchiveError where the index fails."""
        try:
            with self._reading.connect() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ArchiveError(
                f"the index {self.path} cannot be read: {_reason(error)}. `pacskit rebuild` makes it again"
            ) from error

    def drain(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self._reading.dispose()


class IndexWriter(IndexReader):
    """The owner's index: reads, and writes in one thread."""

    def __init__(self, path: Path, committed: Committed, failed: Callable[[str], None]) -> None:
        """Makes the tables where they are missing; `new` says so. Raises ArchiveError."""
        self._committed, self._failed = committed, failed
        self._writing = _engine(lambda: _connect(path, "mode=rwc"))
        event.listen(self._writing, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            try:
                self.new = self._prepare()
            except (SQLAlchemyError, sqlite3.Error) as error:
                if _code(error) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise
                self._writing.dispose()  # damaged: it is a cache, the files have everything
                for end in ("", "-wal", "-shm"):
                    path.with_name(path.name + end).unlink(missing_ok=True)
                self.new = self._prepare()
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            self._writing.dispose()
            raise ArchiveError(f"the index {path} cannot be written: {_reason(error)}") from error
        super().__init__(path, pool=True)
        self._changed = threading.Condition()
        self._one_writer = threading.Lock()
        self._waiting: deque[Row] = deque()
        self._queued = self._done = 0
        self._closing = False
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="pacskit-index", daemon=True)
        self._thread.start()

    def _prepare(self) -> bool:
        with self._writing.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=NORMAL")
            version = int(raw.execute("PRAGMA user_version").fetchone()[0])
        with self._writing.begin() as connection:
            names = (
                connection.execute(text("SELECT name FROM sqlite_master WHERE type='table'")).scalars().all()
            )
            new = version != SCHEMA_VERSION or not set(metadata.tables) <= set(names)
            if new:
                for name in names:
                    connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{name}"')
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        return new

    def put(self, row: Row) -> None:
        """Queue a row; waits while the queue is full. Raises ArchiveError once the writer has died."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < QUEUE_LIMIT or self.failure or self._closing)
            self.check()
            self._waiting.append(row)
            self._queued += 1
            if len(self._waiting) == 1:
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
            self._changed.wait_for(lambda: self._done >= goal or self.failure)
            if self.failure:
                raise ArchiveError(f"the archive's index failed: {self.failure}")

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One write outside the queue (rebuild); the writer's thread waits meanwhile, however long."""
        try:
            with self._one_writer, self._writing.begin() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ArchiveError(f"the index {self.path} cannot be written: {_reason(error)}") from error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._changed.notify_all()
            try:
                with self._one_writer, self._writing.begin() as connection:
                    conflicts = apply_rows(connection, batch)
                self._committed(batch, conflicts)
            except Exception as error:  # noqa: BLE001 - whatever it was, it must be told
                if self._give_up(error, batch):
                    return
                continue
            with self._changed:
                self.failure = ""
                self._done += len(batch)
                self._changed.notify_all()

    def _give_up(self, error: Exception, batch: list[Row]) -> bool:
        """Tell it, once. A full disk ends: the rows wait and are tried again; anything else does not."""
        for_good = _code(error) != sqlite3.SQLITE_FULL
        with self._changed:
            told, self.failure = self.failure, _reason(error)
            if for_good:
                self._waiting.clear()
            else:
                self._waiting.extendleft(reversed(batch))
            self._changed.notify_all()
        if not told:
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
        super().close()
        self._writing.dispose()
