"""Settings from layers: default < environment < code or command line. Each value knows its source."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import platformdirs
from pydantic import ValidationError

from pacskit.errors import SettingError
from pacskit.settings.models import (
    ArchiveSettings,
    ListenerSettings,
    Section,
    StationSettings,
    ViewerSettings,
)

SECTIONS: dict[str, type[Section]] = {
    kind.section: kind for kind in (StationSettings, ListenerSettings, ArchiveSettings, ViewerSettings)
}
PREFIX = "PACSKIT_"
FOLDERS = frozenset({"PACSKIT_HOME", "PACSKIT_SITE"})


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place: section → field → value."""

    source: str
    values: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a value comes from."""

    key: str
    value: Any
    source: str


def _parsed(text: str) -> Any:
    """A JSON array is a list; all else is one value, as it stands."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def pairs_layer(source: str, pairs: Iterable[tuple[str, str]]) -> Layer:
    """A layer from (`section.field`, text) pairs, as on the command line. Raises SettingError."""
    values: dict[str, dict[str, Any]] = {}
    for key, text in pairs:
        section, dot, name = key.partition(".")
        if not dot:
            raise SettingError(key, "is not of the form section.field", source)
        values.setdefault(section, {})[name] = _parsed(text)
    return Layer(source, values)


def environment_layer(environ: Mapping[str, str] | None = None) -> Layer:
    """`PACSKIT_SECTION__FIELD` → `section.field`."""
    found = os.environ if environ is None else environ
    return pairs_layer(
        "environment",
        (
            (name.removeprefix(PREFIX).lower().replace("__", ".", 1), text)
            for name, text in sorted(found.items())
            if name.startswith(PREFIX) and name not in FOLDERS and "__" in name
        ),
    )


def default_folder() -> str:
    """Where settings and the default archive are: PACSKIT_HOME, else the platform's data folder."""
    return os.environ.get("PACSKIT_HOME") or platformdirs.user_data_dir("pacskit", appauthor=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """One snapshot of all sections."""

    station: StationSettings
    listener: ListenerSettings
    archive: ArchiveSettings
    viewer: ViewerSettings
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def resolve(cls, layers: Iterable[Layer]) -> Settings:
        """Merge layers, later ones win. Raises SettingError naming key, problem and source."""
        values: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        sources: dict[str, str] = {}
        for layer in layers:
            for section, fields in layer.values.items():
                if section not in SECTIONS:
                    known = ", ".join(SECTIONS)
                    raise SettingError(section, f"is not a section; the sections are {known}", layer.source)
                for name, value in fields.items():
                    if name not in SECTIONS[section].model_fields:
                        known = ", ".join(SECTIONS[section].model_fields)
                        raise SettingError(
                            f"{section}.{name}", f"is not a setting; {section} has {known}", layer.source
                        )
                    values[section][name] = value
                    sources[f"{section}.{name}"] = layer.source
        sections = {name: _section(kind, values[name], sources) for name, kind in SECTIONS.items()}
        return cls(**sections, sources=sources)  # type: ignore[arg-type]

    def explain(self, key: str) -> Explanation:
        """The value of `section.field` and the layer it came from. Raises SettingError."""
        section, _, name = key.partition(".")
        if section not in SECTIONS or name not in SECTIONS[section].model_fields:
            raise SettingError(key, "is not a setting")
        return Explanation(key, getattr(getattr(self, section), name), self.sources.get(key, "default"))


def _section(kind: type[Section], values: Mapping[str, Any], sources: Mapping[str, str]) -> Section:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{kind.section}.{first['loc'][0]}"
        problem = first["msg"].removeprefix("Value error, ")
        raise SettingError(key, f"{problem}, not {first['input']!r}", sources.get(key, "default")) from None
