"""Documents that are generated are those of this code, and the README's picture and commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pacskit.settings import SECTIONS
from pacskit.settings.reference import page

ROOT = Path(__file__).resolve().parent.parent


def test_the_command_line_reference_is_current(tmp_path: Path) -> None:
    made = tmp_path / "cli.md"
    command = ["typer", "pacskit.cli.app", "utils", "docs", "--name", "pacskit", "--output", str(made)]
    subprocess.run([sys.executable, "-m", *command], check=True, cwd=ROOT, capture_output=True, timeout=60)
    assert made.read_text() == (ROOT / "docs" / "cli.md").read_text(), "stale: make docs"


def test_the_settings_reference_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == page(), "stale: make docs"


def test_the_settings_reference_names_every_setting() -> None:
    for section, kind in SECTIONS.items():
        for name in kind.model_fields:
            assert f"| `{section}.{name}` |" in page()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target


def test_every_make_command_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= targets
