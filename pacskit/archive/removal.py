"""Rows out of the index, and rows read again: then it answers as if it had been made from what is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pacskit.archive.conflicts import judge
from pacskit.archive.identity import Identity, identity, patient_key
from pacskit.archive.levels import PATIENT, SERIES, STUDY, Level, summarise
from pacskit.archive.rows import Ledger, Row


class _Below:
    """How a level's counts follow from the rows below."""

    def __init__(self, table: str, own_key: str, sums: str, first: str, last: str) -> None:
        self.own_key = own_key
        where = f'FROM {table} WHERE "{own_key}"=?'
        self.sums = f"SELECT count(*), {sums} {where}"
        self.first = f"SELECT {first} {where} ORDER BY 1, 2 LIMIT 1"
        self.last = f"SELECT {last}, received_from {where} ORDER BY 1 DESC, 2 DESC LIMIT 1"


_UID = 'received_ms, "SOPInstanceUID"'
_COUNTED = ("first_ms, first_uid", "received_ms, received_uid")
_BELOW = {
    SERIES: _Below("instance", "series_key", "sum(bytes)", _UID, _UID),
    STUDY: _Below("series", "study_key", "sum(instances), sum(bytes)", *_COUNTED),
    PATIENT: _Below("study", "patient_key", "sum(series), sum(instances), sum(bytes)", *_COUNTED),
}
_PATH = 'SELECT path FROM instance WHERE "SOPInstanceUID"=?'
_RECEIPT = 'SELECT path, bytes, received_ms, received_from FROM instance WHERE "SOPInstanceUID"=?'
_STUDY = """SELECT "StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName_folded",
"PatientBirthDate" FROM study WHERE key=?"""
_ABOVE = """SELECT series.key, series.first_uid, series."SeriesInstanceUID", study.key, study.first_uid,
study."StudyInstanceUID", patient.key, patient.first_uid, patient.identity FROM instance
JOIN series ON series.key=series_key JOIN study ON study.key=study_key
JOIN patient ON patient.key=patient_key WHERE "SOPInstanceUID"=?"""


@dataclass(slots=True)
class Removed:
    """What a removal did."""

    studies: frozenset[str] = frozenset()
    """Study Instance UIDs that instances were taken from."""
    heirs: tuple[str, ...] = ()
    """Paths of instances that are now the first of their series, study or patient. They are `unread`: the
    attributes stay the removed one's until their files are read (not here: a network drive may hang)."""


def remove(connection: sqlite3.Connection, ledger: Ledger, uids: Iterable[str]) -> Removed:
    """Take instances out. Unknown UIDs change nothing."""
    ledger.forget()
    keys: set[int] = set()
    for uid in uids:
        found = connection.execute('SELECT key, series_key FROM instance WHERE "SOPInstanceUID"=?', (uid,))
        for key, series_key in found.fetchall():
            keys.add(series_key)
            connection.execute("DELETE FROM instance WHERE key=?", (key,))
    touched: set[str] = set()
    gone: list[tuple[str, Identity]] = []
    heirs: dict[str, None] = {}
    for level, above in ((SERIES, "study_key"), (STUDY, "patient_key"), (PATIENT, "")):
        parents: set[int] = set()
        for key in keys:
            if above:
                parents.add(_one(connection, f"SELECT {above} FROM {level.name} WHERE key=?", key))
            if level is STUDY:
                study_uid, *who = connection.execute(_STUDY, (key,)).fetchone()
                touched.add(study_uid)
            left, heir = _recount(connection, level, key)
            if heir:
                heirs[heir] = None
            if level is STUDY and left:
                summarise(connection, key)
            elif level is STUDY:
                gone.append((study_uid, (who[0], who[1], who[2], who[3])))
        keys = parents
    judge(connection, (), gone)
    paths = [connection.execute(_PATH, (uid,)).fetchone()[0] for uid in heirs]
    connection.executemany('UPDATE instance SET unread=1 WHERE "SOPInstanceUID"=?', [(uid,) for uid in heirs])
    return Removed(frozenset(touched), tuple(paths))


def _one(connection: sqlite3.Connection, statement: str, key: int | str) -> int:
    return int(connection.execute(statement, (key,)).fetchone()[0])


def _recount(connection: sqlite3.Connection, level: Level, key: int) -> tuple[bool, str]:
    """Whether anything is left, and the UID of its first instance where that is another one now."""
    below = _BELOW[level]
    sums = connection.execute(below.sums, (key,)).fetchone()
    if not sums[0]:
        connection.execute(f"DELETE FROM {level.name} WHERE key=?", (key,))
        return False, ""
    first = connection.execute(below.first, (key,)).fetchone()
    last = connection.execute(below.last, (key,)).fetchone()
    before = connection.execute(f"SELECT first_uid FROM {level.name} WHERE key=?", (key,)).fetchone()[0]
    connection.execute(level.update, (*sums, *first, *last, key))
    return True, first[1] if first[1] != before else ""


def refresh(connection: sqlite3.Connection, ledger: Ledger, rows: Iterable[Row]) -> dict[str, str]:
    """Rows whose files were read again: their attributes, and those of what they are the first instance of.

    Returns the conflicts that are new, as apply_rows: another version may decode a name otherwise.
    """
    new: dict[str, str] = {}
    for row in rows:
        header = row.header
        above = connection.execute(_ABOVE, (header.sop_instance_uid,)).fetchone()
        if above is None:
            continue  # removed meanwhile
        series, series_first, series_uid, study, study_first, study_uid, patient, patient_first, who = above
        is_now = patient_key(identity(header.attributes), header.study_uid)
        if (series_uid, study_uid, who) != (header.series_uid, header.study_uid, is_now):
            path, size, ms, sender = connection.execute(_RECEIPT, (header.sop_instance_uid,)).fetchone()
            remove(connection, ledger, [header.sop_instance_uid])
            moved = Row(replace(header, received_ms=ms, received_from=sender), path, size)
            new |= ledger.apply(connection, [moved])
            continue
        ledger.describe_instance(connection, header)
        for level, key, first in (
            (SERIES, series, series_first),
            (STUDY, study, study_first),
            (PATIENT, patient, patient_first),
        ):
            if first == header.sop_instance_uid:
                ledger.describe(connection, level, key, header)
                if level is SERIES:
                    summarise(connection, study)
    return new
