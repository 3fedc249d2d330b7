"""Files of older versions: renamed settings are read under their new names, and moved at the next save."""

from __future__ import annotations

import tomllib

import pytest

from pacskit.settings import migration
from tests.settings.conftest import Home

STEPS = (
    (2, "dicom.aet", "listener.ae_title"),
    (2, "dicom.port", "listener.tcp"),
    (3, "listener.tcp", "listener.port"),
    (3, "viewer.hide", "viewer.mask_identifiers"),
)


@pytest.fixture(autouse=True)
def _third_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "SCHEMA", 3)
    monkeypatch.setattr(migration, "RENAMED", STEPS)


OLD = """\
# mine
schema = 1 # the first
[dicom] # about it
# a name
aet = "OLD" # its name
port = 104 # its port
[viewer]
hide = true
[future]
hide = 1
"""


def test_an_old_file_is_read_as_it_is(home: Home) -> None:
    home.write(OLD)
    settings = home.stack().settings
    assert (settings.listener.ae_title, settings.listener.port, settings.viewer.mask_identifiers) == (
        "OLD",
        104,
        True,
    )
    assert [problem.key for problem in settings.problems] == ["future"]
    assert settings.explain("listener.port").line == 6  # where it stands, under its old name
    assert settings.explain("listener.ae_title").line == 5
    assert settings.explain("viewer.mask_identifiers").line == 8
    assert home.text() == OLD


def test_the_next_save_moves_it(home: Home) -> None:
    home.write(OLD)
    before = home.stack().settings
    saved = home.save({"web": {"user": "x"}})
    assert tomllib.loads(home.text()) == {
        "schema": 3,
        "dicom": {},
        "listener": {"ae_title": "OLD", "port": 104},
        "viewer": {"mask_identifiers": True},
        "future": {"hide": 1},
        "web": {"user": "x"},
    }
    for remark in ("# mine", "# the first", "# about it", "# a name", "# its name", "# its port"):
        assert home.text().count(remark) == 1
    assert saved.listener == before.listener
    assert [problem.key for problem in saved.problems] == ["future"]
    assert saved.explain("listener.port").line == home.text().split("\n").index("port = 104") + 1
    again = home.text()
    home.save({"web": {"user": "x"}})
    assert home.text() == again


def test_a_change_of_what_is_moved(home: Home) -> None:
    home.write(OLD)
    saved = home.save({"listener": {"port": 105, "ae_title": "PACSKIT"}})
    assert (saved.listener.port, saved.listener.ae_title) == (105, "PACSKIT")
    assert "aet" not in tomllib.loads(home.text())["dicom"]
    assert "ae_title" not in tomllib.loads(home.text())["listener"]


@pytest.mark.parametrize(
    ("text", "port", "line"),
    [
        ("schema = 1\n[dicom]\nport = 104\n[listener]\nport = 105\n", 105, 5),  # the new name wins
        ("schema = 2\n[listener]\ntcp = 106\n", 106, 3),
        ("schema = 3\n[listener]\ntcp = 106\n", 11112, 0),  # no name of this schema any more
        ("[listener]\ntcp = 106\n", 11112, 0),
        ("schema = 0\n[dicom]\nport = 104\n", 104, 3),
        ("schema = 1\ndicom.port = 104\n", 104, 2),
        ("schema = 1\nlistener = 5\n[dicom]\nport = 104\n", 11112, 0),
        ("schema = 1\ndicom = 5\n", 11112, 0),
    ],
)
def test_names_of_each_schema(home: Home, text: str, port: int, line: int) -> None:
    home.write(text)
    explained = home.stack().settings.explain("listener.port")
    assert (explained.value, explained.line) == (port, line)
    saved = home.save({"web": {"user": "x"}})
    assert saved.listener.port == port
    assert tomllib.loads(home.text())["schema"] == 3


def test_wrong_under_its_old_name(home: Home) -> None:
    home.write("schema = 1\n[dicom]\n\nport = 'many'\n")
    [problem] = home.stack().settings.problems
    assert (problem.key, problem.source.line) == ("listener.port", 4)


def test_a_broken_old_file_loses_nothing(home: Home) -> None:
    home.write("schema = 1\n[dicom]\nport = 104\n[viewer]\nhide = \n")
    saved = home.save({"web": {"user": "x"}})
    assert saved.listener.port == 104
    assert "[viewer]\nhide = \n" in home.text()
    assert [problem.key for problem in saved.problems] == ["viewer"]


def test_this_versions_steps_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert [since for since, _, _ in migration.RENAMED] == sorted(since for since, _, _ in migration.RENAMED)
    assert all(since <= migration.SCHEMA for since, _, _ in migration.RENAMED)
