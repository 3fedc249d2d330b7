"""A user's and a site's settings file in a home of the test's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pacskit.settings import Layer, Settings
from pacskit.settings.stack import SettingsStack


@dataclass(frozen=True)
class Home:
    """Where `free_home` has PACSKIT_HOME and PACSKIT_SITE."""

    user: Path
    site: Path

    def write(self, content: str | bytes) -> None:
        self.user.parent.mkdir(parents=True, exist_ok=True)
        self.user.write_bytes(content.encode() if isinstance(content, str) else content)

    def share(self, content: str) -> None:
        self.site.write_text(content, encoding="utf-8", newline="")

    def text(self) -> str:
        return self.user.read_bytes().decode()

    def stack(
        self,
        code: Mapping[str, Mapping[str, Any]] | None = None,
        layers: Sequence[Layer] = (),
        **environ: str,
    ) -> SettingsStack:
        """Nothing of the tests' own environment counts as a setting."""
        return SettingsStack(code, layers, environ)

    def save(self, changes: Mapping[str, Mapping[str, Any]], *, shared: bool = False) -> Settings:
        """As `pacskit settings set` does it: read, plan, write."""
        stack = self.stack()
        plan = stack.plan(changes, save=True, shared=shared)
        saved = stack.carry_out(plan)
        for name in ("listener", "secure_listener", "his", "web", "archive", "viewer"):
            assert saved.section(name) == plan.settings.section(name)  # what was announced is what came
        return saved

    def problems(self) -> list[str]:
        return [str(problem) for problem in self.stack().settings.problems]


@pytest.fixture
def home(free_home: Path) -> Home:
    return Home(free_home / "pacskit" / "settings.toml", free_home / "site.toml")
