"""Patient, study and series rows: their counts, their receipt, and the attributes of their first instance."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from pydicom.datadict import dictionary_VR

from pacskit.archive.header import Header
from pacskit.archive.identity import folded
from pacskit.archive.schema import KEYWORDS_OF, kind


class _Counted(Protocol):
    @property
    def header(self) -> Header: ...

    @property
    def first(self) -> tuple[int, str]: ...


class Level:
    """The statements of one level."""

    def __init__(self, name: str, depth: int, unique: tuple[str, ...], counts: tuple[str, ...]) -> None:
        self.name, self.depth, self.unique = name, depth, unique
        self.counts = (*counts, *("instances", "bytes", "first_ms", "first_uid"))
        self.counts += ("received_ms", "received_uid", "received_from")
        where = " AND ".join(f'"{column}"=?' for column in unique)
        self._find = f"SELECT key, {', '.join(self.counts)} FROM {name} WHERE {where}"
        columns = ", ".join(f'"{column}"' for column in unique)
        self._insert = f"INSERT INTO {name} ({columns}) VALUES ({', '.join('?' * len(unique))})"
        self.update = f"UPDATE {name} SET {', '.join(f'{column}=?' for column in self.counts)} WHERE key=?"

    def find_or_insert(self, connection: sqlite3.Connection, unique: Sequence[Any]) -> Count:
        found = connection.execute(self._find, unique).fetchone()
        if found is not None:
            return Count(self, found[0], dict(zip(self.counts, found[1:], strict=True)))
        return Count(self, int(connection.execute(self._insert, unique).lastrowid or 0), {})


PATIENT = Level("patient", 0, ("identity",), ("studies", "series"))
STUDY = Level("study", 1, ("StudyInstanceUID", "patient_key"), ("series",))
SERIES = Level("series", 2, ("SeriesInstanceUID", "study_key"), ())

_MODALITIES = 'SELECT DISTINCT "Modality" FROM series WHERE study_key=? AND "Modality"<>?'


def summarise(connection: sqlite3.Connection, study_key: int) -> None:
    """Write which modalities a study has."""
    found = sorted(modality for (modality,) in connection.execute(_MODALITIES, (study_key, "")))
    connection.execute("UPDATE study SET modalities=? WHERE key=?", (", ".join(found), study_key))


class Count:
    """What the index knows of one patient, study or series; `write()` brings it there."""

    __slots__ = (
        *("bytes", "describe_by", "first", "instances", "key", "last", "level", "new", "received_from"),
        *("series", "studies", "summarise"),
    )

    def __init__(self, level: Level, key: int, known: dict[str, Any]) -> None:
        self.level, self.key, self.new = level, key, not known
        self.studies: int = known.get("studies", 0)
        self.series: int = known.get("series", 0)
        self.instances: int = known.get("instances", 0)
        self.bytes: int = known.get("bytes", 0)
        self.first: tuple[int, str] = (known.get("first_ms", 0), known.get("first_uid", ""))
        self.last: tuple[int, str] = (known.get("received_ms", 0), known.get("received_uid", ""))
        self.received_from: str = known.get("received_from", "")
        self.describe_by: Header | None = None
        """The new first instance's, whose attributes are to be written."""
        self.summarise = False
        """Whether a study's modalities are to be gathered again."""

    def add(self, instances: int, size: int, first: _Counted, last: _Counted) -> None:
        """`first` and `last`: the earliest and the latest of these instances."""
        if not self.instances or first.first < self.first:
            self.first, self.describe_by = first.first, first.header
        if not self.instances or last.first > self.last:
            self.last, self.received_from = last.first, last.header.received_from
        self.instances += instances
        self.bytes += size

    def write(self, connection: sqlite3.Connection) -> None:
        own = (self.studies, self.series)[self.level.depth :]
        values = (self.instances, self.bytes, *self.first, *self.last, self.received_from, self.key)
        connection.execute(self.level.update, (*own, *values))
        if self.summarise:
            summarise(connection, self.key)
        self.describe_by, self.summarise = None, False


@cache
def attributes(level: str, extra: tuple[str, ...]) -> Attributes:
    """Made once: asking the dictionary for each keyword takes a while."""
    return Attributes(level, extra)


def _as_it_is(value: Any) -> Any:
    return value


def _real(value: Any) -> float | None:
    """DS (PS3.5 6.2); None for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


class Attributes:
    """The attribute columns of one level (and extra ones), with the values a header gives them."""

    def __init__(self, level: str, extra: Sequence[str] = ()) -> None:
        self.columns: list[str] = []
        self._values: list[tuple[str, Callable[[Any], Any], Any]] = []
        for keyword in (*KEYWORDS_OF.get(level, ()), *extra):
            what = kind(keyword)
            missing = "" if what == "text" else None
            self._values.append((keyword, _real if what == "real" else _as_it_is, missing))
            self.columns.append(keyword)
            if dictionary_VR(keyword) == "PN":
                self._values.append((keyword, folded, missing))
                self.columns.append(f"{keyword}_folded")
        self._update = ", ".join(f'"{column}"=?' for column in self.columns)

    def values(self, header: Header) -> list[Any]:
        found = header.attributes
        return [value(found.get(keyword, missing)) for keyword, value, missing in self._values]

    def write(self, connection: sqlite3.Connection, table: str, key: int, header: Header) -> None:
        values = (*self.values(header), key)
        connection.execute(f"UPDATE {table} SET {self._update} WHERE key=?", values)
