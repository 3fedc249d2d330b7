"""Fixtures of the browser tests: skipped with a reason without Chromium, but never where CI=true."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jupyterlab")

from driven_lab import jupyterlab  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402

PROJECT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("Chromium is not installed here")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder JupyterLab serves: a copy of the project's notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(PROJECT / "notebooks", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with jupyterlab(folder, tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture(scope="session")
def artifacts() -> Path:
    folder = PROJECT / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
