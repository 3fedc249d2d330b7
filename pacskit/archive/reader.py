"""Reading the index: each query has a snapshot of its own, beside the writer or without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from pacskit.archive import connections
from pacskit.archive.connections import reason
from pacskit.archive.extra import Extra, stored
from pacskit.archive.migration import NEWER, OLDER
from pacskit.archive.rows import driver
from pacskit.archive.schema import SCHEMA_VERSION
from pacskit.errors import ArchiveError

_UNREAD = 'SELECT key, "SOPInstanceUID", path FROM instance WHERE key>? AND unread=1 ORDER BY key LIMIT ?'

_UIDS = 'SELECT "SOPInstanceUID" FROM instance'
_PATH_OF = 'SELECT path FROM instance WHERE "SOPInstanceUID"=?'


class IndexReader:
    """Queries. Any thread."""

    def __init__(self, path: Path, pool: bool = False) -> None:
        """Raises ArchiveError where there is no index that can be read."""
        self.path = path
        self._reading = (
            connections.engine(lambda: connections.connect(path, "mode=ro"))
            if pool
            else connections.engine_without_pool(lambda: connections.connect_to_read(path))
        )
        # one snapshot for the statements of one query: a rebuild may end between them
        event.listen(self._reading, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        try:
            with self.connect() as connection:
                version = int(driver(connection).execute("PRAGMA user_version").fetchone()[0])
            if version != SCHEMA_VERSION:
                sentence = NEWER if version > SCHEMA_VERSION else OLDER
                raise ArchiveError(sentence.format(path=path, version=version, known=SCHEMA_VERSION))
        except ArchiveError:
            self._reading.dispose()
            raise

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A snapshot to read. Raises ArchiveError where the index fails."""
        try:
            with self._reading.connect() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._unreadable(error) from error

    @staticmethod
    def extra(connection: Connection) -> Extra:
        """The attributes that not every index has, in this snapshot."""
        return stored(driver(connection))

    def unread(self, after: int = 0, limit: int = -1) -> list[tuple[int, str, str]]:
        """(key, UID, path) of instances whose files are to be read again, by key; see reindex.py."""
        with self.connect() as connection:
            found = driver(connection).execute(_UNREAD, (after, limit)).fetchall()
        return [(int(key), str(uid), str(path)) for key, uid, path in found]

    def path_of(self, sop_instance_uid: str) -> str:
        """The path of a committed instance; empty where there is none."""
        with self._quick() as raw:
            found = raw.execute(_PATH_OF, (sop_instance_uid,)).fetchone()
        return str(found[0]) if found else ""

    def uids(self, at_once: int) -> Iterator[list[str]]:
        """All SOP Instance UIDs, so many at once."""
        with self._quick() as raw:
            found = raw.execute(_UIDS)
            while some := found.fetchmany(at_once):
                yield [uid for (uid,) in some]

    @contextmanager
    def _quick(self) -> Iterator[sqlite3.Connection]:
        """For one statement: without a transaction of SQLAlchemy's, which takes ten times as long."""
        try:
            pooled = self._reading.raw_connection()
            try:
                raw = pooled.driver_connection
                assert isinstance(raw, sqlite3.Connection)
                yield raw
            finally:
                pooled.close()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> ArchiveError:
        return ArchiveError(
            f"the index {self.path} cannot be read: {reason(error)}. `pacskit rebuild` makes it again"
        )

    def drain(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self._reading.dispose()
