"""Indexes of older versions: each step turns the tables of schema n into n + 1, and stays as it is for ever.

After the steps the tables are made anew in this version's form with what the old ones had. Attributes that
are new are then read from the files in the background (reindex.py): the index answers meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import Connection

from pacskit.archive.extra import Extra, parse, stored
from pacskit.archive.rows import driver
from pacskit.archive.schema import SCHEMA_VERSION, attribute, metadata
from pacskit.errors import ArchiveError

NEWER = (
    "the index {path} is of schema {version}, this pacskit knows {known}: a newer one made it. Update"
    " pacskit, or move the index away: it is then made again from the files"
)
OLDER = (
    "the index {path} is of schema {version}, this pacskit needs {known}: whoever opens the archive to write"
    " brings it there, or `pacskit rebuild`"
)

_IDENTITY = (
    """CASE WHEN study."PatientID"='' THEN study.identity || char(31) || study."StudyInstanceUID" """
    "ELSE study.identity END"
)
_OF_PATIENT = (
    '"PatientName","PatientID","IssuerOfPatientID","PatientBirthDate","PatientSex","PatientName_folded"'
)
_PATIENTS = (
    "CREATE TABLE patient (key INTEGER PRIMARY KEY, identity TEXT UNIQUE, studies, series, instances, bytes,"
    f" first_ms, first_uid, received_ms, received_uid, received_from, {_OF_PATIENT})",
    "INSERT INTO patient (identity, studies, series, instances, bytes) SELECT " + _IDENTITY + ", count(*),"
    " sum(series), sum(instances), sum(bytes) FROM study GROUP BY 1",
    "ALTER TABLE study ADD COLUMN patient_key INTEGER",
    "UPDATE study SET patient_key=(SELECT key FROM patient WHERE identity=" + _IDENTITY + ")",
    "CREATE INDEX migrating ON study (patient_key)",
    f"UPDATE patient SET (first_ms, first_uid, {_OF_PATIENT})=(SELECT first_ms, first_uid, {_OF_PATIENT}"
    " FROM study WHERE patient_key=patient.key ORDER BY first_ms, first_uid LIMIT 1)",
    "UPDATE patient SET (received_ms, received_uid, received_from)=(SELECT received_ms, received_uid,"
    " received_from FROM study WHERE patient_key=patient.key ORDER BY received_ms DESC, received_uid DESC"
    " LIMIT 1)",
)


def _run(statements: Iterable[str]) -> Callable[[sqlite3.Connection], None]:
    def step(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return step


STEPS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _run(_PATIENTS)}
"""Schema n → how its tables become those of n + 1. Where there is none, the index is made from the files."""


def prepare(connection: Connection, path: object, extra: Iterable[str]) -> bool:
    """Bring the tables to this version, in the transaction of `connection`. Whether they are empty now.

    Raises ArchiveError where a newer version made them.
    """
    raw = driver(connection)
    version = int(raw.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise ArchiveError(NEWER.format(path=path, version=version, known=SCHEMA_VERSION))
    names = _tables(raw)
    new = not names or not _complete(raw, version, names)
    if new:
        for name in names:
            raw.execute(f'DROP TABLE IF EXISTS "{name}"')
    elif version < SCHEMA_VERSION:
        for step in range(version, SCHEMA_VERSION):
            STEPS[step](raw)
        _make_anew(connection)
    metadata.create_all(connection)
    _set_extra(raw, parse(extra))
    raw.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    return new


def _tables(raw: sqlite3.Connection) -> list[str]:
    found = raw.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found]


def _complete(raw: sqlite3.Connection, version: int, names: list[str]) -> bool:
    """Whether what is there can be used: all tables, or all steps to them."""
    if version == SCHEMA_VERSION:
        return set(metadata.tables) <= set(names)
    steps = all(step in STEPS for step in range(version, SCHEMA_VERSION))
    return steps and {"study", "series", "instance"} <= set(names)


def _make_anew(connection: Connection) -> None:
    """Each table in this version's form, with the columns that the old one had too."""
    raw = driver(connection)
    made = raw.execute("SELECT name FROM sqlite_master WHERE type='index' AND sql NOTNULL").fetchall()
    for (index,) in made:
        raw.execute(f'DROP INDEX "{index}"')
    old = [name for name in _tables(raw) if name in metadata.tables]
    for name in old:
        raw.execute(f'ALTER TABLE "{name}" RENAME TO "old_{name}"')
    metadata.create_all(connection)
    if "extra_attribute" in old:
        names = [name for (name,) in raw.execute("SELECT name FROM old_extra_attribute ORDER BY key")]
        _add_columns(raw, parse(names))
    for name in old:
        here = _columns(raw, name)
        both = ", ".join(f'"{column}"' for column in _columns(raw, f"old_{name}") if column in here)
        raw.execute(f'INSERT INTO "{name}" ({both}) SELECT {both} FROM "old_{name}" WHERE true')
        raw.execute(f'DROP TABLE "old_{name}"')
    raw.execute("UPDATE instance SET unread=1")


def _columns(raw: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in raw.execute(f'PRAGMA table_info("{table}")')]


def _set_extra(raw: sqlite3.Connection, extra: Extra) -> None:
    """Where one is added, all files are to be read again; what is no longer wanted is just not kept."""
    before = stored(raw).names
    if before == extra.names:
        return
    _add_columns(raw, extra)
    if not set(extra.names) <= set(before):
        raw.execute("UPDATE instance SET unread=1")
    raw.execute("DELETE FROM extra_attribute")
    raw.executemany("INSERT INTO extra_attribute (name) VALUES (?)", [(name,) for name in extra.names])


def _add_columns(raw: sqlite3.Connection, extra: Extra) -> None:
    for level, keywords in extra.of.items():
        there = _columns(raw, level)
        for column in (column for keyword in keywords for column in attribute(keyword)):
            if column.name not in there:
                text = " NOT NULL DEFAULT ''" if not column.nullable else ""
                raw.execute(f'ALTER TABLE {level} ADD COLUMN "{column.name}" {column.type.compile()}{text}')
