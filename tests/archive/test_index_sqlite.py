"""The SQLite index keeps the contract of every index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pacskit.archive.index import IndexReader, IndexWriter
from tests.archive.index_suite import IndexSuite


class TestSqlite(IndexSuite):
    def writer(self, place: Path, **options: Any) -> IndexWriter:
        return IndexWriter(place / "index.sqlite", **options)

    def reader(self, place: Path) -> IndexReader:
        return IndexReader(place / "index.sqlite")
