"""Settings: one snapshot of all sections, merged from layers; each value knows its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacskit.errors import SettingError
from pacskit.settings import models, values
from pacskit.settings.layers import DEFAULT, HUB, LENIENT, ORDER, SITE, USER, Layer, Problem, Source
from pacskit.settings.models import SECTIONS, SERVICES, Section


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a value comes from, and what it hides."""

    key: str
    value: Any
    source: str
    file: Path | None = None
    line: int = 0
    hidden: tuple[tuple[str, Any], ...] = ()
    """(source, value) of what lower layers say, the nearest first."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One snapshot of all sections."""

    station: models.StationSettings
    listener: models.ListenerSettings
    secure_listener: models.SecureListenerSettings
    his: models.HisSettings
    web: models.WebSettings
    archive: models.ArchiveSettings
    viewer: models.ViewerSettings
    hooks: models.HooksSettings
    sources: Mapping[str, Source] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    _stacks: Mapping[str, tuple[tuple[Source, Any], ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def resolve(cls, layers: Iterable[Layer], problems: Iterable[Problem] = ()) -> Settings:
        """Merge layers, later ones win. Raises SettingError for what is wrong in a strict one.

        `problems` are those already met in reading the layers.
        """
        merging = _Merging(problems)
        for layer in layers:
            merging.add(layer)
        merging.check_ports()
        sections: dict[str, Any] = {
            name: kind.model_validate({n: stack[-1][1] for n, stack in merging.stacks[name].items()})
            for name, kind in SECTIONS.items()
        }
        stacks = {
            f"{section}.{name}": tuple(stack)
            for section, fields in merging.stacks.items()
            for name, stack in fields.items()
        }
        sources = {key: stack[-1][0] for key, stack in stacks.items()}
        return cls(**sections, sources=sources, problems=tuple(merging.problems), _stacks=stacks)

    def explain(self, key: str) -> Explanation:
        """The value of `section.field` and where it stands. Raises SettingError."""
        kind, name = _known(key)
        source = self.sources.get(key, Source())
        hidden = [(str(s), value) for s, value in reversed(self._stacks.get(key, ())[:-1])]
        if key in self._stacks:
            hidden.append((DEFAULT, kind.model_fields[name].default))
        value = getattr(self.section(kind.section), name)
        return Explanation(key, value, source.layer, source.file, source.line, tuple(hidden))

    def section(self, name: str) -> Any:
        """A section by its name. Raises SettingError."""
        if name not in SECTIONS:
            raise SettingError(name, f"is not a section; the sections are {', '.join(SECTIONS)}")
        return getattr(self, name)

    def default(self, section: str, name: str) -> Any:
        """The value without anybody's wish: the model's, or that of a JupyterHub."""
        for source, value in self._stacks.get(f"{section}.{name}", ()):
            if source.layer == HUB:
                return value
        return SECTIONS[section].model_fields[name].default

    def check_port(self, section: str, port: int | str) -> None:
        """Raises ValueError where another service has this port, running or not (seed 12.1.4)."""
        for other in SERVICES:
            if other != section and port == self.section(other).port and port not in (0, "auto"):
                raise ValueError(_same_port(port, other))

    def source(self, section: str, name: str) -> Source:
        return self.sources.get(f"{section}.{name}", Source())

    def blocking(self, section: str) -> tuple[Problem, ...]:
        """What keeps the service of this section from being started by settings that nobody meant."""
        return tuple(p for p in self.problems if p.effect == "blocks" and p.section in ("", section))


class _Merging:
    """The layers so far: section → field → what each said, the last one counts."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.stacks: dict[str, dict[str, list[tuple[Source, Any]]]] = {name: {} for name in SECTIONS}
        self.problems = list(problems)

    def add(self, layer: Layer) -> None:
        for section, fields in layer.values.items():
            if section not in SECTIONS and fields == {}:
                continue
            if section not in SECTIONS:
                self._unknown(layer, section or '""', "", values.near(section, SECTIONS))
                continue
            if not isinstance(fields, Mapping):
                self._wrong(layer, section, "", f"is a section: write [{section}] and its settings below")
                continue
            if layer.source == SITE:  # a shared section hides the user's own values of it
                for name, stack in list(self.stacks[section].items()):
                    self.stacks[section][name] = [entry for entry in stack if entry[0].layer != USER]
                    if not self.stacks[section][name]:
                        del self.stacks[section][name]
                self.problems = [p for p in self.problems if p.source.layer != USER or p.section != section]
            for name, value in fields.items():
                self._field(layer, SECTIONS[section], name, value)

    def _field(self, layer: Layer, kind: type[Section], name: str, value: Any) -> None:
        section = kind.section
        if name not in kind.model_fields:
            self._unknown(layer, section, name or '""', values.near(name, kind.model_fields))
            return
        if name == "shared" and layer.source != SITE:
            self._wrong(layer, section, name, "counts in the site file only: share it there", "ignored")
            return
        try:
            checked = values.validated(kind, name, value)
            if layer.file is not None:
                values.storable(kind, name, checked)
        except ValueError as error:
            says_all = values.is_secret(kind, name) or not str(error).startswith("must be ")
            found = "" if says_all else f", not {_short(value)}"
            self._wrong(layer, section, name, f"{error}{found}")
            return
        if (
            layer.file is not None
            and section == "web"
            and name == "password"
            and values.plain(checked) != value
        ):
            self._wrong(
                layer,
                section,
                name,
                "stands there in plain: set it again, and only its hash is kept",
                "ignored",
            )
        self.stacks[section].setdefault(name, []).append((self._source(layer, section, name), checked))

    def check_ports(self) -> None:
        """Ports of services differ, enabled or not (seed 12.1.4): the later layer's port is the wrong one."""
        seen: dict[int, str] = {}
        order = sorted(SERVICES, key=self._rank)
        for section in order:
            stack = self._stack(section)
            port = stack[-1][1] if stack else SECTIONS[section].model_fields["port"].default
            if not isinstance(port, int) or port == 0:
                continue
            if port in seen:
                sentence = _same_port(port, seen[port])
                source = stack[-1][0] if stack else Source()
                if source.layer not in LENIENT:
                    raise SettingError(f"{section}.port", sentence, str(source))
                self.problems.append(Problem(f"{section}.port", sentence, source, section=section))
            seen.setdefault(port, section)

    def _rank(self, section: str) -> int:
        stack = self._stack(section)
        return ORDER.index(stack[-1][0].layer) if stack and stack[-1][0].layer in ORDER else 0

    def _stack(self, section: str) -> Sequence[tuple[Source, Any]]:
        return self.stacks[section].get("port", ())

    def _unknown(self, layer: Layer, section: str, name: str, near: str) -> None:
        """A name like a known one may be a slip of the pen, which must not pass for the default."""
        what, names = ("setting", SECTIONS[section].model_fields) if name else ("section", SECTIONS)
        has = f"{section} has" if name else "the sections are"
        sentence = f"is not a {what}{values.did_you_mean(near)}; {has} {', '.join(names)}"
        effect = "blocks" if near and not layer.newer else "ignored"
        self._wrong(layer, section, name, sentence, effect, of=section if name else near)

    def _wrong(
        self, layer: Layer, section: str, name: str, sentence: str, effect: Any = "blocks", of: str = ""
    ) -> None:
        key = f"{section}.{name}" if name else section
        source = self._source(layer, section, name)
        if layer.strict:
            raise SettingError(key, sentence, str(source))
        self.problems.append(Problem(key, sentence, source, effect, of or section))

    def _source(self, layer: Layer, section: str, name: str) -> Source:
        return Source(layer.source, layer.file, layer.line(section, name) if layer.file else 0)


def _same_port(port: int | str, other: str) -> str:
    return f"{port} is the {SECTIONS[other].label}'s port too; services' ports must differ"


def _known(key: str) -> tuple[type[Section], str]:
    try:
        return values.known(key)
    except KeyError as error:
        raise SettingError(key, str(error.args[0])) from None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "this"
    return text if len(text) <= 60 else f"{text[:57]}..."
