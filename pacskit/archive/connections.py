"""Connections to the index file, through SQLAlchemy alone: opening and closing it by hand would drop
SQLite's locks (POSIX locks belong to the process)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool, QueuePool

BUSY_SECONDS = 30.0
CACHE_KIB = 65_536
"""Of the writer's page cache: the index of SOP Instance UIDs is touched all over."""
CHECKPOINT_PAGES = 4_000


def connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
        isolation_level=None,
    )
    connection.execute("PRAGMA case_sensitive_like=ON")
    return connection


def connect_to_write(path: Path) -> sqlite3.Connection:
    connection = connect(path, "mode=rwc")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """`mode=ro` beside an owner; without one (no -wal) `immutable=1`, or SQLite would make -wal and -shm."""
    if not path.with_name(f"{path.name}-wal").exists():
        return connect(path, "mode=ro&immutable=1")
    connection = connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM study LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        connection = connect(path, "mode=ro&immutable=1")
        connection.execute("SELECT 1 FROM study LIMIT 1").fetchall()
    return connection


def engine(make: Callable[[], sqlite3.Connection]) -> Engine:
    # The pool belongs to the engine, not to threads: dispose() closes every connection.
    return create_engine(
        "sqlite://", creator=make, poolclass=QueuePool, pool_size=8, max_overflow=120, hide_parameters=True
    )


def engine_without_pool(make: Callable[[], sqlite3.Connection]) -> Engine:
    # An immutable connection must not outlive one query: an owner may start at any time.
    return create_engine("sqlite://", creator=make, poolclass=NullPool, hide_parameters=True)


def code(error: Exception) -> int:
    """SQLite's primary result code; 0 for errors that are not its."""
    return int(getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) or 0) & 0xFF


def reason(error: Exception) -> str:
    """One line, without the statement and its values: those hold names."""
    return str(getattr(error, "orig", None) or error).partition("\n")[0]
