"""`archive.extra_attributes`: what the index keeps beyond the attributes that every index has.

`EchoTime` is kept of each instance; `series.EchoTime` (`study.`, `patient.`) of each series, as its first
instance says. Where one is added, all instances become `unread`, and their files are read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pacskit.archive.header import KEYWORDS
from pacskit.archive.schema import LEVELS
from pacskit.settings.attributes import level_and_keyword

_OWN = frozenset(KEYWORDS) | {"TransferSyntaxUID"}


@dataclass(frozen=True)
class Extra:
    """Extra attributes by level."""

    of: Mapping[str, tuple[str, ...]]
    """Each level → its keywords."""

    @property
    def names(self) -> tuple[str, ...]:
        """As in the settings."""
        return tuple(
            keyword if level == "instance" else f"{level}.{keyword}"
            for level, keywords in self.of.items()
            for keyword in keywords
        )

    @property
    def keywords(self) -> tuple[str, ...]:
        return tuple(keyword for keywords in self.of.values() for keyword in keywords)

    def in_header(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a header was read for all of them."""
        return all(keyword in attributes for keyword in self.keywords)


def parse(names: Iterable[str]) -> Extra:
    """Of one attribute the first level counts; what every index has is left out. Raises ValueError."""
    found: dict[str, list[str]] = {level: [] for level in LEVELS}
    seen = set(_OWN)
    for name in names:
        level, keyword = level_and_keyword(name)
        if keyword not in seen:
            seen.add(keyword)
            found[level].append(keyword)
    return Extra({level: tuple(keywords) for level, keywords in found.items()})


def stored(connection: sqlite3.Connection) -> Extra:
    """Those of this index."""
    return parse(name for (name,) in connection.execute("SELECT name FROM extra_attribute ORDER BY key"))
