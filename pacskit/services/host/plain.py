"""Records, events and errors as JSON values and back. Only names known here are made again."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin, get_type_hints

from pacskit import errors, events
from pacskit.errors import PacskitError
from pacskit.events import Event

R = TypeVar("R")
_EVENTS: dict[str, type[Event]] = {
    name: kind for name, kind in vars(events).items() if inspect.isclass(kind) and issubclass(kind, Event)
}
_ERRORS: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, PacskitError)
}
_ERRORS |= {"ValueError": ValueError, "TypeError": TypeError}
"""The last two: what a caller did wrong."""


_known: dict[Any, dict[str, Any]] = {}


def _fields(kind: Any) -> dict[str, Any]:
    """Field → what a list becomes again: a frozenset or a tuple; else nothing."""
    if kind not in _known:
        hints = get_type_hints(kind)
        _known[kind] = {
            field.name: origin if (origin := get_origin(hints[field.name])) in (frozenset, tuple) else None
            for field in dataclasses.fields(kind)
        }
    return _known[kind]


def record(value: Any) -> dict[str, Any]:
    """A dataclass of plain values, tuples and frozensets."""
    found = {}
    for name, collection in _fields(type(value)).items():
        item = getattr(value, name)
        found[name] = item if collection is None else list(item)
    return found


def record_of(kind: type[R], data: Mapping[str, Any]) -> R:
    """The record again; fields that this version doesn't know are left out. Raises TypeError."""
    fields = _fields(kind)
    known = {name: item for name, item in data.items() if name in fields}
    return kind(**{name: fields[name](item) if fields[name] else item for name, item in known.items()})


def event(value: Event) -> dict[str, Any]:
    return {"event": type(value).__name__, **record(value)}


def event_of(data: Mapping[str, Any]) -> Event | None:
    """None for one that this version doesn't know."""
    kind = _EVENTS.get(str(data.get("event")))
    try:
        return record_of(kind, data) if kind is not None else None
    except TypeError:
        return None


def error(value: Exception) -> dict[str, Any]:
    """With its attributes; what is no sentence for people is only named: its text may hold anything."""
    name = type(value).__name__
    if name not in _ERRORS:
        sentence = f"the station's own process failed ({name}): its log says more"
        return {"error": "PacskitError", "says": sentence, "has": {}}
    has = {k: v for k, v in vars(value).items() if isinstance(v, str | int | float | bool | None)}
    return {"error": name, "says": str(value), "has": has}


def error_of(data: Mapping[str, Any]) -> Exception:
    """The same class, sentence and attributes, without running its constructor."""
    kind = _ERRORS.get(str(data.get("error")), PacskitError)
    found = kind.__new__(kind)
    found.args = (str(data.get("says", "")),)
    has = data.get("has")
    vars(found).update(has if isinstance(has, dict) else {})
    return found
