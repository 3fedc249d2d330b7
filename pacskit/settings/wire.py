"""A settings snapshot as JSON values and back, for another process of the same user.

Secrets are as they are kept (passwords as hashes), so only for a channel that nobody else reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacskit.settings import values
from pacskit.settings.layers import CODE, Problem, Source
from pacskit.settings.models import SECTIONS, Section
from pacskit.settings.settings import Settings


def to_plain(settings: Settings) -> dict[str, Any]:
    """All layers' values with their sources, and the problems."""
    stacks = {
        key: [[*_source(source), values.plain(value)] for source, value in stack]
        for key, stack in settings._stacks.items()
    }
    problems = [[p.key, p.sentence, *_source(p.source), p.effect, p.section] for p in settings.problems]
    return {"stacks": stacks, "problems": problems}


def from_plain(data: Mapping[str, Any]) -> Settings:
    """The snapshot again. A field that this version doesn't know, or allows less of, is left out."""
    stacks: dict[str, tuple[tuple[Source, Any], ...]] = {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key, entries in data["stacks"].items():
        section, _, name = key.partition(".")
        if section not in SECTIONS or name not in SECTIONS[section].model_fields:
            continue
        kind = SECTIONS[section]
        try:
            stack = tuple((_source_of(*where), values.validated(kind, name, v)) for *where, v in entries)
        except ValueError:
            continue
        stacks[key] = stack
        sections[section][name] = stack[-1][1]
    problems = tuple(
        Problem(key, sentence, _source_of(*where), effect, of)
        for key, sentence, *where, effect, of in data["problems"]
    )
    models: dict[str, Any] = {n: SECTIONS[n].model_validate(fields) for n, fields in sections.items()}
    sources = {key: stack[-1][0] for key, stack in stacks.items()}
    return Settings(**models, sources=sources, problems=problems, _stacks=stacks)


def section_to_plain(section: Section) -> dict[str, Any]:
    return {name: values.plain(getattr(section, name)) for name in type(section).model_fields}


def section_from_plain(name: str, data: Mapping[str, Any]) -> Any:
    """Raises ValueError."""
    kind = SECTIONS[name]
    known = {n: values.validated(kind, n, v) for n, v in data.items() if n in kind.model_fields}
    return kind.model_validate(known)


def code_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """What code and unsaved changes say: section → field → plain value."""
    found: dict[str, dict[str, Any]] = {}
    for key, stack in settings._stacks.items():
        for source, value in stack:
            if source.layer == CODE:
                section, _, name = key.partition(".")
                found.setdefault(section, {})[name] = values.plain(value)
    return found


def plain_fields(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A change, or a layer's values, as a person wrote them, but files as this process finds them. What JSON
    has no word for becomes text."""
    return {
        section: {name: _plain(values.settled(section, name, value)) for name, value in fields.items()}
        for section, fields in changes.items()
    }


def _plain(value: Any) -> Any:
    found = values.plain(value)
    if isinstance(found, list):
        return [_plain(item) for item in found]
    return found if isinstance(found, str | int | float | bool | None) else str(found)


def _source(source: Source) -> list[Any]:
    return [source.layer, str(source.file) if source.file is not None else None, source.line]


def _source_of(layer: str, file: str | None, line: int) -> Source:
    return Source(layer, Path(file) if file is not None else None, line)
