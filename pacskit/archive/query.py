"""Matching by DICOM keywords (PS3.4 C.2.2.2) as SQL: single value, lists, wildcards, ranges, universal."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydicom.datadict import dictionary_VR, keyword_dict
from sqlalchemy import ColumnElement, Select, and_, false, literal_column, or_, select

from pacskit.archive.extra import Extra
from pacskit.archive.identity import folded
from pacskit.archive.schema import KEYWORDS_OF, LEVELS, TYPES, instance, kind, patient, series, several, study

Level = Literal["patient", "study", "series", "instance"]
SYNONYMS = {"ModalitiesInStudy": "Modality", "SOPClassesInStudy": "SOPClassUID"}
_HOME: dict[str, str] = {
    keyword: level
    for level in ("study", "series", "instance")  # a study has its patient's attributes too
    for keyword in KEYWORDS_OF[level]
} | {"TransferSyntaxUID": "instance"}
_RANGES = frozenset(("DA", "TM"))


class Catalogue:
    """Where the index has each attribute, for queries at one level."""

    def __init__(self, level: str, extra: Extra) -> None:
        """Raises ValueError for what is no level."""
        self.depth = check_level(level)
        self.level = level
        self._extra = {keyword: where for where, keywords in extra.of.items() for keyword in keywords}
        self.with_patient = level == "patient" or bool(extra.of["patient"])
        """Whether the patients' table is needed for this query."""

    def home(self, keyword: str) -> str | None:
        """The level that has this keyword; None for one that is not in the index."""
        if self.level == "patient" and keyword in KEYWORDS_OF["patient"]:
            return "patient"
        return _HOME.get(keyword) or self._extra.get(keyword)

    def column(self, keyword: str, suffix: str = "") -> ColumnElement[Any] | None:
        """Its column, joined in or below."""
        home = self.home(keyword)
        if home is None:
            return None
        if keyword in self._extra:
            return literal_column(f'{home}."{keyword}{suffix}"', TYPES[kind(keyword)])
        return LEVELS[home].c[keyword + suffix]


def check_keyword(keyword: str) -> None:
    """Raises ValueError naming the nearest for what is no keyword of PS3.6."""
    if keyword in keyword_dict:
        return
    near = difflib.get_close_matches(keyword, [*_HOME, *SYNONYMS], 1) or difflib.get_close_matches(
        keyword, list(keyword_dict), 1, 0.5
    )
    hint = f": did you mean {near[0]}?" if near else ""
    raise ValueError(f"{keyword!r} is no DICOM keyword{hint}")


def check_level(level: str) -> int:
    """0 patient, 1 study, 2 series, 3 instance. Raises ValueError."""
    if level not in LEVELS:
        raise ValueError(f"level is patient, study, series or instance, not {level!r}")
    return list(LEVELS).index(level)


def where(catalogue: Catalogue, query: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Conditions on the joined tables down to the catalogue's level.

    Keys below the level match where one row below meets all of them. Raises ValueError for a keyword that is
    unknown or not in the index.
    """
    own: list[ColumnElement[bool]] = []
    below: dict[int, list[ColumnElement[bool]]] = {}
    for keyword, value in query.items():
        check_keyword(keyword)
        keyword = SYNONYMS.get(keyword, keyword)
        home = catalogue.home(keyword)
        if home is None:
            raise ValueError(
                f"{keyword} is not in the index: ask for columns=[{keyword!r}] and filter the DataFrame, "
                "or add it to archive.extra_attributes"
            )
        condition = _condition(catalogue, keyword, value)
        if condition is None:
            continue
        at = check_level(home)
        (own if at <= catalogue.depth else below.setdefault(at, [])).append(condition)
    if below:
        own.append(LEVELS[catalogue.level].c.key.in_(_keys_above(catalogue.depth, below)))
    return own


_UP = (patient.c.key, study.c.patient_key, series.c.study_key, instance.c.series_key)


def _keys_above(depth: int, below: Mapping[int, list[ColumnElement[bool]]]) -> Select[Any]:
    """Keys of the level at `depth` with a row below that meets all conditions."""
    tables = list(LEVELS.values())
    source: Any = tables[depth + 1]
    for deeper in range(depth + 2, max(below) + 1):
        source = source.join(tables[deeper], _UP[deeper] == tables[deeper - 1].c.key)
    conditions = [condition for group in below.values() for condition in group]
    return select(_UP[depth + 1]).select_from(source).where(*conditions)


def _condition(catalogue: Catalogue, keyword: str, value: Any) -> ColumnElement[bool] | None:
    """None: matches everything (PS3.4 C.2.2.2.3)."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        parts = [_condition(catalogue, keyword, one) for one in value]
        given = [part for part in parts if part is not None]
        if parts and len(given) < len(parts):
            return None
        return or_(*given) if given else false()  # a list of nothing matches nothing
    if value is None:
        return None
    vr = dictionary_VR(keyword)
    if isinstance(value, datetime.date | datetime.time):
        value = value.strftime("%Y%m%d" if isinstance(value, datetime.date) else "%H%M%S")
    text = str(value).strip(" ")
    if text in ("", "*"):
        return None
    column = catalogue.column(keyword)
    assert column is not None
    if vr == "UI" and "\\" in text:
        return _condition(catalogue, keyword, text.split("\\"))
    if kind(keyword) != "text":
        try:
            return column == (int(text) if kind(keyword) == "whole" else float(text))
        except ValueError as error:
            raise ValueError(f"{keyword} is a number, not {text!r}") from error
    if vr in _RANGES and "-" in text:
        return _range(column, vr, text)
    if vr == "PN":
        names = catalogue.column(keyword, "_folded")
        assert names is not None
        groups = "=" if "=" not in text else ""
        return _within(names, folded(text), groups + "\\" * several(keyword), True)
    wild = vr != "UI" and any(sign in text for sign in "*?")
    return _within(column, text, "\\" * several(keyword), wild)


def _within(column: ColumnElement[Any], text: str, signs: str, wild: bool) -> ColumnElement[bool]:
    """`text` matches the whole value, or a part of it between `signs`.

    Those are `=` between a name's component groups, alphabetic, ideographic, phonetic (PS3.5 6.2.1), and `\\`
    between several values, of which one has to match (PS3.4 C.2.2.2).
    """
    if not wild and not signs:
        return column == text
    pattern = _like(text) if wild else _literal(text)
    before = ["", *(f"%{_literal(sign)}" for sign in signs)]
    after = ["", *(f"{_literal(sign)}%" for sign in signs)]
    return or_(*(column.like(f"{start}{pattern}{end}", escape="\\") for start in before for end in after))


def _range(column: ColumnElement[Any], vr: str, text: str) -> ColumnElement[bool]:
    """PS3.4 C.2.2.2.5: `a-b`, `a-`, `-b`, both ends included; rows without a value do not match.

    Also ISO dates (2026-01-31), alone, since people write them.
    """
    if vr == "DA" and text.count("-") == 2 and len(text) == 10:
        return column == text.replace("-", "")
    low, _, high = text.replace(":", "").partition("-")
    for end in (low, high):
        if end and not (end.strip().replace(".", "").isdigit() and (vr != "DA" or len(end.strip()) == 8)):
            raise ValueError(
                f"{text!r} is no range of {'dates: 20260101-20261231' if vr == 'DA' else 'times'}"
            )
    conditions: list[ColumnElement[bool]] = [column != ""]
    if low.strip():
        conditions.append(column >= low.strip())
    if high.strip():
        # a time of fewer digits means the whole of its second, minute or hour: 9 sorts after any digit
        conditions.append(column <= (high.strip() if vr == "DA" else high.strip() + ":"))
    return and_(*conditions)


def _literal(text: str) -> str:
    for sign in "\\%_":
        text = text.replace(sign, "\\" + sign)
    return text


def _like(text: str) -> str:
    return _literal(text).replace("*", "%").replace("?", "_")
