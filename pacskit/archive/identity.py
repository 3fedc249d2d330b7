"""Who a patient is: Patient ID and its issuer, and where that is doubtful, a conflict instead of a merge."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from pacskit.archive.header import Attributes


def folded(name: str) -> str:
    """A name to compare and match: NFKC, case folded, no needless spaces and delimiters (PS3.5 6.2.1)."""
    text = unicodedata.normalize("NFKC", name).casefold()
    groups = []
    for group in text.split("="):
        components = [" ".join(component.split()) for component in group.split("^")]
        groups.append("^".join(components).rstrip("^"))
    return "=".join(groups).rstrip("=")


def identity(attributes: Attributes) -> str:
    """Equal for instances that may share a study row: ID, issuer, normalised name and birth date."""
    parts = (
        str(attributes["PatientID"]),
        str(attributes["IssuerOfPatientID"]),
        folded(str(attributes["PatientName"])),
        str(attributes["PatientBirthDate"]),
    )
    return "\x1f".join(parts)


def _differ(one: list[str]) -> Callable[[list[str]], bool]:
    """Whether another is another patient: ID or issuer, or name or birth date where both have one.

    A name or birth date that one of them leaves out contradicts nothing; the rows stay apart all the same,
    since a third instance may come that decides it otherwise, and answers must not depend on the order.
    """

    def differs(other: list[str]) -> bool:
        return one[:2] != other[:2] or any(
            mine != theirs for mine, theirs in zip(one[2:], other[2:], strict=True) if mine and theirs
        )

    return differs


def conflict(study_uid: str, own: str, others: Iterable[tuple[str, str]]) -> str:
    """Why this study row is doubtful; empty where it is not. `others` are (study UID, identity) in any order.

    The sentence names studies, never patients: it may be shown where identifiers are masked.
    """
    patient = own.split("\x1f")
    differs = _differ(patient)
    same_study = False
    same_id: set[str] = set()
    for other_uid, other in others:
        who = other.split("\x1f")
        if not differs(who):
            continue
        if other_uid == study_uid:
            same_study = True
        elif patient[0] and who[:2] == patient[:2]:
            same_id.add(other_uid)
    sentences = []
    if same_study:
        sentences.append("this study came under two patients (ID, issuer, name or birth date differ)")
    if same_id:
        first = min(same_id)
        more = f" and {len(same_id) - 1} more" if len(same_id) > 1 else ""
        sentences.append(f"the same Patient ID has another name or birth date in study {first}{more}")
    return "; ".join(sentences)
