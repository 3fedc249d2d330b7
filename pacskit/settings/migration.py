"""Settings files of older versions: each step turns schema n into n + 1, in the text and in what is read.

A renamed setting goes here as one line of RENAMED with the schema that brought the new name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA = 1
RENAMED: Sequence[tuple[int, str, str]] = ()
"""(schema of the new name, old `section.field`, new `section.field`), oldest first."""

Values = Mapping[str, Any]


def schema_of(values: Values) -> int:
    """The schema a file says it has; without a word it is this version's. Raises ValueError."""
    schema = values.get("schema", SCHEMA)
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 0:
        raise ValueError(f"schema is a whole number, {SCHEMA} in this version")
    return schema


def moves(values: Values, renamed: Sequence[tuple[int, str, str]] | None = None) -> list[tuple[str, str]]:
    """(old key, new key) of what is to be moved, in this order, in a file with these values."""
    schema, here, found = schema_of(values), values, []
    for since, old, new in RENAMED if renamed is None else renamed:
        section = here.get(new.partition(".")[0], {})
        if schema < since and _has(here, old) and isinstance(section, Mapping):
            found.append((old, new))
            here = moved(here, found[-1:])
    return found


def moved(values: Values, steps: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The values with these moves made; a value that stands under the new name already wins."""
    result = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    for old, new in steps:
        section, _, field = old.partition(".")
        value = result[section].pop(field)
        if not result[section]:
            del result[section]
        section, _, field = new.partition(".")
        result.setdefault(section, {}).setdefault(field, value)
    return result


def _has(values: Values, key: str) -> bool:
    section, _, field = key.partition(".")
    found = values.get(section)
    return isinstance(found, Mapping) and field in found
