"""Records, events and errors as JSON values and back. Only names known here are made again."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

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


_Make = Callable[[Any], Any]
_known: dict[Any, dict[str, _Make | None]] = {}


def _fields(kind: Any) -> dict[str, _Make | None]:
    """Field → what makes it of a JSON value again; None for one that is a JSON value itself."""
    if kind not in _known:
        hints = get_type_hints(kind)
        _known[kind] = {field.name: _maker(hints[field.name]) for field in dataclasses.fields(kind)}
    return _known[kind]


def _maker(hint: Any) -> _Make | None:
    origin, within = get_origin(hint), get_args(hint)
    if NoneType in within:
        make = _maker(next(one for one in within if one is not NoneType))
        return partial(_or_none, make) if make else None
    if origin is tuple and within[-1] is not ...:
        makers = [_maker(one) for one in within]
        return lambda values: tuple(make(v) if make else v for make, v in zip(makers, values, strict=True))
    if origin in (frozenset, set, tuple, list):
        make = _maker(within[0])
        return (lambda values: origin(map(make, values))) if make else origin
    if hint is datetime:
        return datetime.fromisoformat
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return partial(record_of, hint)
    return Path if hint is Path else None


def _or_none(make: _Make, value: Any) -> Any:
    return None if value is None else make(value)


def record(value: Any) -> dict[str, Any]:
    """A dataclass of values that are JSON's, or `written` as such."""
    return {
        name: getattr(value, name) if make is None else written(getattr(value, name))
        for name, make in _fields(type(value)).items()
    }


def written(value: Any) -> Any:
    """Records, paths, times (with their zone) and collections of them as JSON values."""
    match value:
        case Path():
            return str(value)
        case datetime():
            return value.isoformat()
        case frozenset() | set() | tuple() | list():
            return [written(one) for one in value]
    return record(value) if dataclasses.is_dataclass(value) else value


def record_of(kind: type[R], data: Mapping[str, Any]) -> R:
    """The record again; fields that this version doesn't know are left out. Raises TypeError, ValueError."""
    fields = _fields(kind)
    known = {name: item for name, item in data.items() if name in fields}
    return kind(**{name: make(item) if (make := fields[name]) else item for name, item in known.items()})


def event(value: Event) -> dict[str, Any]:
    return {"event": type(value).__name__, **record(value)}


def event_of(data: Mapping[str, Any]) -> Event | None:
    """None for one that this version doesn't know."""
    kind = _EVENTS.get(str(data.get("event")))
    try:
        return record_of(kind, data) if kind is not None else None
    except (TypeError, ValueError):
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
