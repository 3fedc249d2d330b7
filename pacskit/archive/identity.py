"""Who a patient is: Patient ID and its issuer, and where that is doubtful, a conflict instead of a merge."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from pacskit.archive.header import Attributes

Identity = tuple[str, str, str, str]
"""Patient ID, issuer, folded name, birth date."""


_TWO_PATIENTS = "this study came under two patients (ID, issuer, name or birth date differ)"


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A name to compare and match: NFKC, case folded, no needless spaces and delimiters (PS3.5 6.2.1)."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "\\".join(_folded_value(value) for value in text.split("\\"))


def _folded_value(text: str) -> str:
    groups = []
    for group in text.split("="):
        components = [" ".join(component.split()) for component in group.split("^")]
        groups.append("^".join(components).rstrip("^"))
    return "=".join(groups).rstrip("=")


def identity(attributes: Attributes) -> Identity:
    """Equal for instances that may share a study row."""
    return (
        str(attributes["PatientID"]),
        str(attributes["IssuerOfPatientID"]),
        folded(str(attributes["PatientName"])),
        str(attributes["PatientBirthDate"]),
    )


def patient_key(who: Identity, study_uid: str) -> str:
    """Equal for the studies of one patient row; without a Patient ID each study has a patient of its own."""
    return "\x1f".join(who if who[0] else (*who, study_uid))


def _differ(one: Identity, other: Identity) -> bool:
    """Whether these are two patients: ID or issuer differ, or name or birth date where both have one.

    A name or birth date that one of them leaves out contradicts nothing; the rows stay apart all the same,
    since a third instance may come that decides it otherwise, and answers must not depend on the order.
    """
    return one[:2] != other[:2] or any(
        mine != theirs for mine, theirs in zip(one[2:], other[2:], strict=True) if mine and theirs
    )


def conflicts(rows: Iterable[tuple[str, Identity]]) -> dict[tuple[str, Identity], str]:
    """(study UID, identity) → why that study row is doubtful; empty where it is not. In any order.

    `rows` has all that share a study or a Patient ID with one another. The sentence names studies, never
    patients: it may be shown where identifiers are masked.
    """
    of_study: dict[str, set[Identity]] = defaultdict(set)
    of_patient: dict[tuple[str, str], dict[Identity, set[str]]] = defaultdict(lambda: defaultdict(set))
    for study_uid, who in rows:
        of_study[study_uid].add(who)
        of_patient[who[:2]][who].add(study_uid)
    found: dict[tuple[str, Identity], str] = {}
    for namesakes in of_patient.values():
        for who, studies in namesakes.items():
            others = [uids for other, uids in namesakes.items() if who[0] and _differ(who, other)]
            elsewhere = set().union(*others)
            ordered = sorted(elsewhere)[:2]
            for study_uid in studies:
                sentences = []
                if any(_differ(who, other) for other in of_study[study_uid]):
                    sentences.append(_TWO_PATIENTS)
                count = len(elsewhere) - (study_uid in elsewhere)
                if count:
                    first = ordered[1] if ordered[0] == study_uid else ordered[0]
                    more = f" and {count - 1} more" if count > 1 else ""
                    sentences.append(
                        f"the same Patient ID has another name or birth date in study {first}{more}"
                    )
                found[study_uid, who] = "; ".join(sentences)
    return found
