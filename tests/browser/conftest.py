"""Fixtures of the browser tests: skipped with a reason without Chromium, but never where CI=true."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("jupyterlab")

from driven_lab import SECOND, Kernel, jupyterlab  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from tests import second_user  # noqa: E402
from tests.second_user import SecondUser  # noqa: E402

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


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1600, "height": 1100})
    yield page
    page.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder JupyterLab serves: a copy of the project's notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(PROJECT / "notebooks", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's PACSKIT_SITE, for the kernels of both users; it does not exist, unless a test writes it."""
    user = second_user.second_user()
    return (user.shared() if user else tmp_path_factory.mktemp("site")) / "site.toml"


@pytest.fixture(scope="session")
def address(folder: Path, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab with the kernels `python3` and, where there is one, SECOND: the second user's.

    Their PACSKIT_HOME is one for the whole session: `driven_lab.environ` gives a notebook its own.
    """
    user = second_user.second_user()
    kernels = [Kernel(SECOND, user.kernel_argv(), user.places())] if user else []
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PACSKIT_SITE": str(site),
        "PACSKIT_HOME": str(home / "pacskit"),
    }  # no other test's settings
    with jupyterlab(folder, home, environment=environment, kernels=kernels) as address:
        yield address


@pytest.fixture
def second(address: str) -> SecondUser:
    """The user of the kernel SECOND; the test is skipped where there is none."""
    return second_user.needed()


@pytest.fixture(scope="session")
def artifacts() -> Path:
    folder = PROJECT / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
