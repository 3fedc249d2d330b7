"""Conflicts of study rows in the index, judged anew where a study row came or went."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from pacskit.archive.identity import Identity, conflicts

_COLUMNS = (
    'key, "StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName_folded", "PatientBirthDate"'
)
_SAME_STUDY = f'SELECT {_COLUMNS}, conflict FROM study WHERE "StudyInstanceUID"=?'
_SAME_PATIENT = f'SELECT {_COLUMNS}, conflict FROM study WHERE "PatientID"=? AND "IssuerOfPatientID"=?'
_ANOTHER_PATIENT = 'SELECT 1 FROM study WHERE "StudyInstanceUID"=? GROUP BY 1 HAVING count(*)>1'
_ANOTHER_NAME = (
    'SELECT 1 FROM study WHERE "PatientID"=? AND "IssuerOfPatientID"=?'
    ' AND ("PatientName_folded"<>? OR "PatientBirthDate"<>?) LIMIT 1'
)

_Row = tuple[int, str, Identity, str]
"""Key, study UID, identity, the sentence it has."""


def judge(
    connection: sqlite3.Connection,
    came: Iterable[tuple[str, Identity]],
    gone: Iterable[tuple[str, Identity]] = (),
) -> dict[str, str]:
    """Write the sentences of all study rows that share a study or a patient with these, come or gone.

    Returns those that are new: study UID → sentence.
    """
    doubtful = [*gone, *(pair for pair in came if _shared(connection, *pair))]
    if not doubtful:
        return {}
    near = _sharing(connection, doubtful)
    # each of them is judged among all that share with it, not only with the touched ones
    context = _sharing(connection, {(uid, who) for _, uid, who, _ in near.values()})
    sentences = conflicts((uid, who) for _, uid, who, _ in context.values())
    new: dict[str, str] = {}
    changed: list[tuple[str, int]] = []
    for key, uid, who, before in near.values():
        sentence = sentences[uid, who]
        if sentence != before:
            changed.append((sentence, key))
            if not before:
                new[uid] = sentence
    connection.executemany("UPDATE study SET conflict=? WHERE key=?", changed)
    return new


def _shared(connection: sqlite3.Connection, study_uid: str, who: Identity) -> bool:
    """Whether another identity has this study or this Patient ID: mostly not, and then nothing is to do."""
    if connection.execute(_ANOTHER_PATIENT, (study_uid,)).fetchone():
        return True
    return bool(who[0]) and connection.execute(_ANOTHER_NAME, who).fetchone() is not None


def _sharing(connection: sqlite3.Connection, pairs: Iterable[tuple[str, Identity]]) -> dict[int, _Row]:
    """Rows with the study or the patient of one of these, by key."""
    pairs = list(pairs)
    found: dict[int, _Row] = {}
    asked: list[tuple[str, tuple[str, ...]]] = [(_SAME_STUDY, (uid,)) for uid in {uid for uid, _ in pairs}]
    asked += [(_SAME_PATIENT, who) for who in {who[:2] for _, who in pairs if who[0]}]
    for statement, values in asked:
        for key, uid, patient_id, issuer, name, birth_date, sentence in connection.execute(statement, values):
            found[key] = (key, uid, (patient_id, issuer, name, birth_date), sentence)
    return found
