"""What every test has: a home of its own, the marks `peer` and `soak`, the folders of real files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.peers import why_missing

ROOT = Path(__file__).resolve().parent.parent
ON_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile(
    "soak", deadline=None, max_examples=20_000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if ON_CI else "local"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: long; runs only where -m names it (make soak)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the soak tests out unless they were asked for."""
    if "soak" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.peer("storescu", ...)`: skipped where a program is missing, failed under CI=true."""
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            reason = why_missing(name)
            if reason and ON_CI:
                pytest.fail(reason, pytrace=False)
            if reason:
                pytest.skip(reason)


def _move_home(patch: pytest.MonkeyPatch, home: Path) -> None:
    places = {
        "HOME": home,
        "PACSKIT_HOME": home / "pacskit",
        "PACSKIT_SITE": home / "site.toml",
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
        "XDG_CACHE_HOME": home / "cache",
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "jupyter" / "config",
        "JUPYTER_DATA_DIR": home / "jupyter" / "data",
        "JUPYTER_RUNTIME_DIR": home / "jupyter" / "runtime",
    }
    for name in [name for name in os.environ if name.startswith("PACSKIT_") and "__" in name]:
        patch.delenv(name)  # PACSKIT_SECTION__FIELD: a setting of whoever runs the tests
    for name, path in places.items():
        patch.setenv(name, str(path))


@pytest.fixture(autouse=True, scope="session")
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test; also one font cache for all."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        _move_home(patch, home)
        patch.setenv("MPLCONFIGDIR", str(home / "matplotlib"))
        yield


@pytest.fixture(autouse=True)
def free_home(_session_home: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new, empty home: no test sees or touches the user's folders, nor another test's."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        _move_home(patch, home)
        yield home


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The few real files in the repository (tests/data/ORIGIN.md)."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The large collection of real files beside the repository, or at $PACSKIT_SHARED_DATA."""
    folder = Path(os.environ.get("PACSKIT_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set PACSKIT_SHARED_DATA to the collection of real files")
    return folder


@pytest.fixture(scope="session")
def soak_seed() -> int:
    """The seed that `make soak` prints."""
    return int(os.environ.get("PACSKIT_SOAK_SEED", "0"))
