"""The phantoms' patients: no such persons; their IDs say so. Names exercise PS3.5 character sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patient:
    """A patient: `name` as PS3.5 PN text, `birth_date` as YYYYMMDD, `sex` M, F or O."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    character_set: tuple[str, ...] = ("ISO_IR 192",)


UMLAUTS = Patient("Müller^Jürgen", "PHANTOM-CT-1", "19580312", "M", ("ISO_IR 100",))
JAPANESE = Patient(
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "PHANTOM-MR-1",
    "19710504",
    "M",
    ("ISO 2022 IR 6", "ISO 2022 IR 87"),
)
PLAIN = Patient("Phantom^Ada", "PHANTOM-US-1", "19851210", "F", ("ISO_IR 100",))
