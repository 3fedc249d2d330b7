"""Rows into the index: instances, and the counts, receipts and conflicts of their series and studies.

The answer is the same in whatever order the instances came: attributes are those of the instance
received first, the receipt is the last one's, ties go by SOP Instance UID.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from pacskit.archive.header import INSTANCE_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS, Header
from pacskit.archive.identity import conflict, folded, identity
from pacskit.archive.schema import FOLDED, instance, series, study

Values = dict[str, Any]


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


_INSERT_INSTANCE = insert(instance).on_conflict_do_nothing(index_elements=["SOPInstanceUID"])


def apply_rows(connection: Connection, rows: Iterable[Row]) -> dict[str, str]:
    """Add instances that are not there yet. Returns the conflicts that are new: study UID → sentence."""
    rows = _only_new(connection, list(rows))
    studies: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        key = (row.header.study_uid, identity(row.header.attributes))
        studies.setdefault(key, []).append(row)
    keys: list[int] = []
    for (study_uid, patient), of_study in studies.items():
        values: Values = {"identity": patient, "StudyInstanceUID": study_uid}
        study_key = _count(connection, study, values, _study_values, of_study)
        keys.append(study_key)
        by_series: dict[str, list[Row]] = {}
        for row in of_study:
            by_series.setdefault(row.header.series_uid, []).append(row)
        for series_uid, of_series in by_series.items():
            values = {"study_key": study_key, "SeriesInstanceUID": series_uid}
            series_key = _count(connection, series, values, _series_values, of_series)
            connection.execute(_INSERT_INSTANCE, [_instance_values(row, series_key) for row in of_series])
        _summarise(connection, study_key)
    return _judge(connection, list(studies))


def _only_new(connection: Connection, rows: list[Row]) -> list[Row]:
    uids = {row.header.sop_instance_uid: row for row in reversed(rows)}
    names = list(uids)
    for start in range(0, len(names), 500):
        known = select(instance.c.SOPInstanceUID).where(
            instance.c.SOPInstanceUID.in_(names[start : start + 500])
        )
        for (uid,) in connection.execute(known).all():
            del uids[uid]
    return list(uids.values())


def _study_values(row: Row) -> Values:
    found = row.header.attributes
    values = {keyword: found[keyword] for keyword in STUDY_KEYWORDS}
    return values | {f"{keyword}_folded": folded(str(found[keyword])) for keyword in FOLDED}


def _series_values(row: Row) -> Values:
    return {keyword: row.header.attributes[keyword] for keyword in SERIES_KEYWORDS}


def _instance_values(row: Row, series_key: int) -> Values:
    values = {keyword: row.header.attributes[keyword] for keyword in INSTANCE_KEYWORDS}
    return values | {
        "series_key": series_key,
        "TransferSyntaxUID": row.header.transfer_syntax_uid,
        "path": row.path,
        "bytes": row.bytes,
        "received_ms": row.header.received_ms,
        "received_from": row.header.received_from,
    }


def _count(connection: Connection, table: Table, unique: Values, attributes: Any, rows: list[Row]) -> int:
    """Insert or update the study or series row of `rows`; returns its key."""
    first, last = min(rows, key=lambda row: row.first), max(rows, key=lambda row: row.first)
    columns = ("key", "bytes", "instances", "first_ms", "first_uid", "received_ms", "received_uid")
    where = [table.c[name] == value for name, value in unique.items()]
    now = (
        connection.execute(select(*(table.c[name] for name in columns)).where(*where))
        .mappings()
        .one_or_none()
    )
    values: Values = {
        "bytes": sum(row.bytes for row in rows) + (now["bytes"] if now else 0),
        "instances": len(rows) + (now["instances"] if now else 0),
    }
    if now is None or first.first < (now["first_ms"], now["first_uid"]):
        values |= attributes(first) | {"first_ms": first.first[0], "first_uid": first.first[1]}
    if now is None or last.first > (now["received_ms"], now["received_uid"]):
        values |= {
            "received_ms": last.first[0],
            "received_uid": last.first[1],
            "received_from": last.header.received_from,
        }
    if now is None:
        key = connection.execute(insert(table).values(**(values | unique))).inserted_primary_key
        assert key is not None
        return int(key[0])
    connection.execute(update(table).where(table.c.key == now["key"]).values(**values))
    return int(now["key"])


def _summarise(connection: Connection, study_key: int) -> None:
    modalities = (
        connection.execute(select(series.c.Modality).where(series.c.study_key == study_key)).scalars().all()
    )
    together = ", ".join(sorted({modality for modality in modalities if modality}))
    values = {"series": len(modalities), "modalities": together}
    connection.execute(update(study).where(study.c.key == study_key).values(**values))


def _patient(who: str) -> tuple[str, str]:
    patient_id, issuer = who.split("\x1f")[:2]
    return patient_id, issuer


def _judge(connection: Connection, touched: list[tuple[str, str]]) -> dict[str, str]:
    """Conflicts of all studies that share a UID or a patient with the touched ones."""
    if not touched:
        return {}
    columns = (study.c.key, study.c.StudyInstanceUID, study.c.identity, study.c.conflict)

    def sharing(pairs: Iterable[tuple[str, str]]) -> dict[int, Any]:
        """Rows with the UID or the patient of one of these (study UID, identity)."""
        pairs = list(pairs)
        wheres = [study.c.StudyInstanceUID.in_(sorted({uid for uid, _ in pairs}))]
        patients = sorted({_patient(who) for _, who in pairs if _patient(who)[0]})
        if patients:
            wheres.append(tuple_(study.c.PatientID, study.c.IssuerOfPatientID).in_(patients))
        found: dict[int, Any] = {}
        for where in wheres:
            found |= {row.key: row for row in connection.execute(select(*columns).where(where)).all()}
        return found

    near = sharing(touched)
    # each of them is judged among all that share with it, not only with the touched ones
    context = sharing((row.StudyInstanceUID, row.identity) for row in near.values())
    new: dict[str, str] = {}
    changed: list[Values] = []
    by_uid: dict[str, list[tuple[str, str]]] = {}
    by_patient: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in context.values():
        pair = (row.StudyInstanceUID, row.identity)
        by_uid.setdefault(row.StudyInstanceUID, []).append(pair)
        by_patient.setdefault(_patient(row.identity), []).append(pair)
    for row in near.values():
        neighbours = by_uid[row.StudyInstanceUID] + by_patient[_patient(row.identity)]
        sentence = conflict(row.StudyInstanceUID, row.identity, neighbours)
        if sentence != row.conflict:
            changed.append({"of": row.key, "sentence": sentence})
            if not row.conflict:
                new[row.StudyInstanceUID] = sentence
    if changed:
        connection.execute(
            update(study).where(study.c.key == bindparam("of")).values(conflict=bindparam("sentence")),
            changed,
        )
    return new
