"""Matching by DICOM keywords (PS3.4 C.2.2.2) as SQL: single value, lists, wildcards, ranges, universal."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydicom.datadict import dictionary_VR, keyword_dict
from sqlalchemy import ColumnElement, Select, Table, and_, or_, select

from pacskit.archive.header import INSTANCE_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS
from pacskit.archive.identity import folded
from pacskit.archive.schema import FOLDED, instance, series, study

Level = Literal["study", "series", "instance"]
LEVELS: dict[str, Table] = {"study": study, "series": series, "instance": instance}
SYNONYMS = {"ModalitiesInStudy": "Modality"}
_HOME: dict[str, Table] = {
    **dict.fromkeys(STUDY_KEYWORDS, study),
    **dict.fromkeys(SERIES_KEYWORDS, series),
    **dict.fromkeys((*INSTANCE_KEYWORDS, "TransferSyntaxUID"), instance),
}
_RANGES = frozenset(("DA", "TM"))


def home(keyword: str) -> Table | None:
    """The table that has this keyword; None for one that is not in the index."""
    return _HOME.get(keyword)


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
    """0 study, 1 series, 2 instance. Raises ValueError."""
    if level not in LEVELS:
        raise ValueError(f"level is study, series or instance, not {level!r}")
    return list(LEVELS).index(level)


def where(level: str, query: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Conditions on the joined tables down to `level`.

    Keys below the level match where one series (one instance) below meets all of them. Raises ValueError
    for a keyword that is unknown or not in the index.
    """
    depth = check_level(level)
    tables = list(LEVELS.values())
    own: list[ColumnElement[bool]] = []
    below: dict[int, list[ColumnElement[bool]]] = {}
    for keyword, value in query.items():
        check_keyword(keyword)
        keyword = SYNONYMS.get(keyword, keyword)
        table = home(keyword)
        if table is None:
            raise ValueError(
                f"{keyword} is not in the index: ask for columns=[{keyword!r}] and filter the DataFrame"
            )
        condition = _condition(table, keyword, value)
        if condition is None:
            continue
        at = tables.index(table)
        (own if at <= depth else below.setdefault(at, [])).append(condition)
    if below:
        own.append(LEVELS[level].c.key.in_(_keys_above(depth, below)))
    return own


def _keys_above(depth: int, below: Mapping[int, list[ColumnElement[bool]]]) -> Select[Any]:
    conditions = [condition for group in below.values() for condition in group]
    if depth == 1:
        return select(instance.c.series_key).where(*conditions)
    source: Any = series
    if 2 in below:
        source = series.join(instance, instance.c.series_key == series.c.key)
    return select(series.c.study_key).select_from(source).where(*conditions)


def _condition(table: Table, keyword: str, value: Any) -> ColumnElement[bool] | None:
    """None: matches everything (PS3.4 C.2.2.2.3)."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        parts = [_condition(table, keyword, one) for one in value]
        given = [part for part in parts if part is not None]
        if parts and len(given) < len(parts):
            return None
        return or_(*given) if given else table.c.key.is_(None)  # a list of nothing matches nothing
    if value is None:
        return None
    vr = dictionary_VR(keyword)
    if isinstance(value, datetime.date | datetime.time):
        value = value.strftime("%Y%m%d" if isinstance(value, datetime.date) else "%H%M%S")
    text = str(value).strip(" ")
    if text in ("", "*"):
        return None
    if vr == "UI" and "\\" in text:
        return _condition(table, keyword, text.split("\\"))
    if vr in ("IS", "US"):
        try:
            return table.c[keyword] == int(text)
        except ValueError as error:
            raise ValueError(f"{keyword} is a number, not {text!r}") from error
    if vr in _RANGES and "-" in text:
        return _range(table.c[keyword], vr, text)
    if vr == "PN":
        return _name(table.c[f"{keyword}_folded"] if keyword in FOLDED else table.c[keyword], text)
    if vr != "UI" and any(sign in text for sign in "*?"):
        return table.c[keyword].like(_like(text), escape="\\")
    return table.c[keyword] == text


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


def _name(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """A name matches in any of its component groups (PS3.5 6.2.1): alphabetic, ideographic, phonetic."""
    pattern = _like(folded(text))
    patterns = [pattern] if "=" in text else [pattern, f"{pattern}=%", f"%={pattern}", f"%={pattern}=%"]
    return or_(*(column.like(one, escape="\\") for one in patterns))


def _like(text: str) -> str:
    for sign in "\\%_":
        text = text.replace(sign, "\\" + sign)
    return text.replace("*", "%").replace("?", "_")
