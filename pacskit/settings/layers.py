"""Where values come from: environment, command line, code, files. A layer carries; settings.py judges."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pacskit.errors import SettingError
from pacskit.settings import values
from pacskit.settings.models import SECTIONS, SERVICES

PREFIX = "PACSKIT_"
DEFAULT, HUB, USER, SITE = "default", "JupyterHub", "user file", "site file"
ENVIRONMENT, COMMAND_LINE, CODE = "environment", "command line", "code"
ORDER = (DEFAULT, HUB, USER, SITE, ENVIRONMENT, COMMAND_LINE, CODE)
"""The later one wins."""
LENIENT = frozenset({USER, SITE, ENVIRONMENT})
FIXED = frozenset({ENVIRONMENT, COMMAND_LINE})
"""What is set there cannot be changed by a file or a panel (INTERFACES)."""


def _nowhere(section: str, field: str) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place: section → field → value.

    What is wrong in a `strict` layer raises; elsewhere it is a Problem, and the rest still counts.
    """

    source: str
    values: Mapping[str, Mapping[str, Any]] = field(repr=False)
    strict: bool = True
    file: Path | None = None
    line: Callable[[str, str], int] = _nowhere
    newer: bool = False
    """Written by a newer version: names unknown here may be right there."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one value stands."""

    layer: str = DEFAULT
    file: Path | None = None
    line: int = 0

    def __str__(self) -> str:
        """`user file FILE, line 3`, `environment`, ..."""
        if self.file is None:
            return self.layer
        return f"{self.layer} {self.file}" + (f", line {self.line}" if self.line else "")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file or the environment; `str()` says what, where, and what happens."""

    key: str
    sentence: str
    source: Source
    effect: Literal["blocks", "ignored"] = "blocks"
    """blocks: the service of this section is not started by settings nobody meant. ignored: no harm."""

    section: str = ""
    """Whose service is meant; empty: nobody knows, so it may be any."""

    def __str__(self) -> str:
        what = f"{self.key}: {self.sentence}" if self.key else self.sentence
        if self.source.layer == ENVIRONMENT and self.key:
            more = "" if "." in self.key else "__..."
            return f"environment {variable(self.key)}{more}: {self.sentence}"
        return f"{self.source}: {what}"


def variable(key: str) -> str:
    """`listener.port` → `PACSKIT_LISTENER__PORT`."""
    return PREFIX + key.upper().replace(".", "__")


def pairs_layer(source: str, pairs: Iterable[tuple[str, str]], *, strict: bool = True) -> Layer:
    """A layer from (`section.field`, text) pairs, as on the command line. Raises SettingError."""
    found: dict[str, dict[str, Any]] = {}
    for key, text in pairs:
        section, dot, name = key.partition(".")
        if not dot:
            raise SettingError(key, "is not of the form section.field", source)
        found.setdefault(section, {})[name] = values.typed(text)
    return Layer(source, found, strict)


def environment_layer(environ: Mapping[str, str] | None = None) -> Layer:
    """`PACSKIT_SECTION__FIELD` → `section.field`. A single underscore, the usual slip, is told."""
    found = os.environ if environ is None else environ
    pairs = [
        (name.removeprefix(PREFIX).lower().replace("__", ".", 1), text)
        for name, text in sorted(found.items())
        if name.startswith(PREFIX) and ("__" in name.removeprefix(PREFIX) or name in _slips())
    ]
    return pairs_layer(
        ENVIRONMENT, ((key if "." in key else f"{key}.", text) for key, text in pairs), strict=False
    )


@functools.cache
def _slips() -> frozenset[str]:
    """PACSKIT_LISTENER_PORT and its like."""
    keys = (f"{section}.{field}" for section, kind in SECTIONS.items() for field in kind.model_fields)
    return frozenset(PREFIX + key.upper().replace(".", "_") for key in keys)


def hub_layer(environ: Mapping[str, str] | None = None) -> Layer:
    """On a JupyterHub many people may share a host: ports are `auto` there unless somebody says else."""
    found = os.environ if environ is None else environ
    on_hub = "JUPYTERHUB_SERVICE_PREFIX" in found or "JUPYTERHUB_API_TOKEN" in found
    return Layer(HUB, {section: {"port": "auto"} for section in SERVICES} if on_hub else {})
