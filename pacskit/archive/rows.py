"""Rows into the index: instances, and the counts and receipts of their series, studies and patients.

The answer is the same in whatever order the instances came: attributes are those of the instance
received first, the receipt is the last one's, ties go by SOP Instance UID.

The statements are SQLite's own, prepared once: this runs beside the receivers and shares the GIL with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from pacskit.archive.conflicts import judge
from pacskit.archive.extra import Extra, stored
from pacskit.archive.header import INSTANCE_KEYWORDS, Header
from pacskit.archive.identity import Identity, identity, patient_key
from pacskit.archive.levels import PATIENT, SERIES, STUDY, Count, Level, attributes

KNOWN = 2_000
"""Patients, studies and series whose counts are remembered between batches."""
MANY = 32
"""Rows of one INSERT: each statement lets go of the GIL and has to get it back."""
_OWN_COLUMNS = ("series_key", "TransferSyntaxUID", "path", "bytes", "received_ms", "received_from", "unread")
_GROUP = itemgetter(
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate"),
    *("StudyInstanceUID", "SeriesInstanceUID"),
)
_INSTANCE = itemgetter(*INSTANCE_KEYWORDS)
_KEY_OF = 'SELECT key FROM instance WHERE "SOPInstanceUID"=?'


@dataclass(frozen=True, slots=True)
class Row:
    """One stored instance."""

    header: Header
    path: str
    """Relative to the archive's folder, with `/`."""
    bytes: int
    """The file's size."""

    @property
    def first(self) -> tuple[int, str]:
        return (self.header.received_ms, self.header.sop_instance_uid)


def apply_rows(connection: Connection, rows: Iterable[Row]) -> dict[str, str]:
    """Add instances that are not there yet. Returns the conflicts that are new: study UID → sentence."""
    raw = driver(connection)
    return Ledger(stored(raw)).apply(raw, list(rows))


def driver(connection: Connection) -> sqlite3.Connection:
    """The sqlite3 connection under one of SQLAlchemy's, in the same transaction."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


class Ledger:
    """Adds rows, and remembers the counts between batches; `forget()` after anyone else wrote."""

    def __init__(self, extra: Extra) -> None:
        self.extra, self._names = extra, extra.names
        self._attributes = {
            level: attributes(level.name, extra.of[level.name]) for level in (PATIENT, STUDY, SERIES)
        }
        self._instance = attributes("instance", extra.of["instance"])
        self._extra = attributes("", extra.of["instance"])
        self._columns = (*INSTANCE_KEYWORDS, *_OWN_COLUMNS, *self._extra.columns)
        self._known: dict[tuple[Any, ...], Count] = {}

    def forget(self) -> None:
        self._known.clear()

    def apply(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> dict[str, str]:
        """See apply_rows."""
        if len(self._known) > KNOWN:
            self.forget()
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in _only_new(connection, rows):
            groups.setdefault(_GROUP(row.header.attributes), []).append(row)
        touched: dict[Count, None] = {}
        instances: list[tuple[Any, ...]] = []
        came: list[tuple[str, Identity]] = []
        for (*_, study_uid, series_uid), members in groups.items():
            who = identity(members[0].header.attributes)
            patient = self._count(connection, PATIENT, patient_key(who, study_uid))
            study = self._count(connection, STUDY, study_uid, patient.key)
            series = self._count(connection, SERIES, series_uid, study.key)
            if study.new:
                study.new = False
                patient.studies += 1
                came.append((study_uid, who))
            if series.new:
                series.new = False
                patient.series += 1
                study.series += 1
            first, last = min(members, key=_first), max(members, key=_first)
            together = sum(row.bytes for row in members)
            for count in (patient, study, series):
                count.add(len(members), together, first, last)
                touched[count] = None
            if series.describe_by is not None:  # its modality may be another
                study.summarise = True
            instances += [self._values(row, series.key) for row in members]
        self._insert(connection, instances)
        self._write(connection, touched)
        return judge(connection, came)

    def _count(self, connection: sqlite3.Connection, level: Level, *unique: Any) -> Count:
        key = (level, *unique)
        count = self._known.get(key)
        if count is None:
            count = self._known[key] = level.find_or_insert(connection, unique)
        return count

    def _values(self, row: Row, series_key: int) -> tuple[Any, ...]:
        header = row.header
        values = (
            *_INSTANCE(header.attributes),
            series_key,
            header.transfer_syntax_uid,
            row.path,
            row.bytes,
            header.received_ms,
            header.received_from,
            self._unread(header),
        )
        return (*values, *self._extra.values(header)) if self._extra.columns else values

    def _unread(self, header: Header) -> int:
        """1: the file is to be read again, for attributes that this header was not read for."""
        return int(bool(self._names) and not self.extra.in_header(header.attributes))

    def describe(self, connection: sqlite3.Connection, level: Level, key: int, header: Header) -> None:
        """Write the attributes of a patient, study or series."""
        self._attributes[level].write(connection, level.name, key, header)

    def describe_instance(self, connection: sqlite3.Connection, header: Header) -> None:
        """Write the attributes of an instance that is in the index, and that it has them."""
        uid = header.sop_instance_uid
        (key,) = connection.execute(_KEY_OF, (uid,)).fetchone()
        self._instance.write(connection, "instance", key, header)
        connection.execute("UPDATE instance SET unread=? WHERE key=?", (self._unread(header), key))

    def _insert(self, connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        at, many = 0, MANY
        while at < len(rows):
            while many > len(rows) - at:
                many //= 2
            values = tuple(chain.from_iterable(rows[at : at + many]))
            connection.execute(_insert_statement(self._columns, many), values)
            at += many

    def _write(self, connection: sqlite3.Connection, touched: Iterable[Count]) -> None:
        """Series first: a study's modalities are theirs."""
        for count in sorted(touched, key=_depth, reverse=True):
            header: Header | None = count.describe_by
            count.write(connection)
            if header is not None:
                self.describe(connection, count.level, count.key, header)


def _first(row: Row) -> tuple[int, str]:
    header = row.header
    return (header.received_ms, header.attributes["SOPInstanceUID"])


def _depth(count: Count) -> int:
    return count.level.depth


def _only_new(connection: sqlite3.Connection, rows: Sequence[Row]) -> Iterable[Row]:
    """The first row of each UID that the index has not."""
    found = {row.header.attributes["SOPInstanceUID"]: row for row in reversed(rows)}
    uids = list(found)
    for start in range(0, len(uids), 512):
        some = uids[start : start + 512]
        room = 1 << (len(some) - 1).bit_length()  # a few lengths only, so that statements stay prepared
        some += some[:1] * (room - len(some))
        for (uid,) in connection.execute(_known_statement(room), some).fetchall():
            del found[uid]
    return reversed(found.values())


@cache
def _known_statement(count: int) -> str:
    return f'SELECT "SOPInstanceUID" FROM instance WHERE "SOPInstanceUID" IN ({",".join("?" * count)})'


@cache
def _insert_statement(columns: tuple[str, ...], rows: int) -> str:
    names = ",".join(f'"{name}"' for name in columns)
    one = f"({','.join('?' * len(columns))})"
    return f"INSERT INTO instance ({names}) VALUES {','.join([one] * rows)}"
