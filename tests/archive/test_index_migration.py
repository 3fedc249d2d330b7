"""An index of an older version is brought to this one in place; one of a newer version is left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pacskit.archive import migration, tables
from pacskit.archive.index import IndexReader, IndexWriter
from pacskit.archive.schema import SCHEMA_VERSION
from pacskit.errors import ArchiveError
from tests.archive import schema_1
from tests.archive.index_suite import answers, assert_same

DUMP = Path(__file__).with_name("index-schema-1.sql")


def opened(path: Path, extra: tuple[str, ...] = ()) -> IndexWriter:
    return IndexWriter(path, lambda rows, conflicts: None, lambda reason: None, extra=extra)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An index as version 0.1 made it."""
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(DUMP.read_text("utf-8"))
    connection.close()
    return path


def form(path: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(path)
    found = set(connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
    connection.close()
    return found


def test_answers_are_those_of_a_new_one(old: Path, tmp_path: Path) -> None:
    new = opened(tmp_path / "new.sqlite")
    for row in schema_1.rows():
        new.put(row)
    index = opened(old)
    assert not index.new, "its rows are kept"
    assert_same(answers(index), answers(new))
    assert len(index.unread()) == 24, "what version 0.1 did not know is still in the files"
    for row in schema_1.rows(
        EthnicGroup="x", OperatorsName="Poe^Ann", BitsAllocated=16, PatientWeight="70.0"
    ):
        index.refresh(row)
    index.drain()
    assert not index.unread()
    for query in (
        {"EthnicGroup": "x"},
        {"OperatorsName": "POE*"},
        {"PatientWeight": 70},
        {"BitsAllocated": 16},
    ):
        assert tables.count(index, "patient", query) == tables.count(index, "patient", {}) == 5
    index.close()
    new.close()
    assert [name for name, _ in form(old) ^ form(tmp_path / "new.sqlite")] == []
    again = opened(old)
    assert not again.new
    again.close()


def test_with_extra_attributes_at_once(old: Path) -> None:
    index = opened(old, ("series.KVP",))
    index.refresh(schema_1.rows(KVP="120")[0])
    index.drain()
    assert tables.count(index, "series", {"KVP": 120}) == 1
    assert len(index.unread()) == 23
    index.close()


def test_a_reader_says_who_can(old: Path) -> None:
    with pytest.raises(ArchiveError, match=f"schema 1, this pacskit needs {SCHEMA_VERSION}.*pacskit rebuild"):
        IndexReader(old)


def test_killed_in_between_it_is_the_old_one(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = form(old)

    def fails(connection: object) -> None:
        raise sqlite3.OperationalError("the power went")

    monkeypatch.setattr(migration, "_make_anew", fails)
    with pytest.raises(ArchiveError, match="the power went"):
        opened(old)
    assert form(old) == before
    monkeypatch.undo()
    index = opened(old)
    assert not index.new
    index.close()


def test_without_a_step_it_is_made_anew(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA user_version=0")
    connection.close()
    index = opened(old)
    assert index.new
    assert tables.count(index, "study", {}) == 0
    index.close()


def test_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = opened(path)
    index.put(schema_1.rows()[0])
    index.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = form(path)
    for attempt in (lambda: opened(path), lambda: IndexReader(path)):
        with pytest.raises(ArchiveError, match=r"schema 99.*Update pacskit"):
            attempt()
    assert form(path) == before
