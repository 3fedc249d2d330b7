"""Attributes that rows have not yet: of extra_attributes that were added, or of a newer pacskit.

Their files are read again, in a thread of their own; the index answers meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.multival import MultiValue

from pacskit.archive.header import Header
from pacskit.archive.import_source import open_source
from pacskit.archive.index import IndexWriter
from pacskit.archive.rows import Row
from pacskit.archive.schema import kind
from pacskit.errors import ArchiveError, PacskitError

log = logging.getLogger(__name__)

PAGE = 200
"""Files between two looks at the index, and between two reports of progress."""
HANGING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ReindexReport:
    """What was done since the archive was opened."""

    read: int = 0
    unreadable: int = 0
    """Files that could not be read; `run()` and the next start try again."""

    def __str__(self) -> str:
        failed = f", {self.unreadable} could not be read" if self.unreadable else ""
        return f"{self.read} instances read again{failed}"


def read_again(folder: Path, path: str, extra: Iterable[str]) -> Row | None:
    """The row of a stored file with its extra attributes, receipt left out; None where it cannot be read."""
    full = str(folder / path)
    try:
        with open_source(full, os.stat(full)) as source:
            attributes = source.attributes | extra_values(full, extra)
            return Row(Header(attributes, source.transfer_syntax_uid), path, source.size)
    except (PacskitError, OSError, ValueError):
        return None


def extra_values(path: str, keywords: Iterable[str]) -> dict[str, Any]:
    """The header's scan reads what every index has; pydicom reads the rest."""
    wanted = list(keywords)
    if not wanted:
        return {}
    try:
        with pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=wanted) as dataset:
            return {keyword: _plain(keyword, dataset.get(keyword)) for keyword in wanted}
    except Exception:  # noqa: BLE001 - pydicom raises many kinds; what it cannot read is empty
        return {keyword: _plain(keyword, None) for keyword in wanted}


def _plain(keyword: str, value: Any) -> Any:
    what = kind(keyword)
    if what == "text":
        values = value if isinstance(value, MultiValue | list | tuple) else [value]
        return "\\".join("" if one is None else str(one).strip(" ") for one in values)
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return int(value) if what == "whole" else float(value)
    return None


class Reindexer:
    """Reads what is unread, whenever there is some. `start()` begins, `close()` ends soon."""

    def __init__(self, index: IndexWriter, folder: Path) -> None:
        self._index, self._folder = index, folder
        with index.connect() as connection:
            self._extra = index.extra(connection).keywords
        self._changed = threading.Condition()
        self._wanted = self._closing = False
        self._giving_way = False
        """The thread leaves the rest to `run()`."""
        self._read = 0
        self._one_pass = threading.Lock()
        self._failed: set[str] = set()
        """UIDs whose files could not be read: not tried again for each new row."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background with what is unread now."""
        self._thread = threading.Thread(target=self._run, name="pacskit-reindex", daemon=True)
        self._wanted = True
        self._thread.start()

    def committed(self, rows: Iterable[Row]) -> None:
        """New rows are in the index: where headers are not scanned for the extra attributes, read them."""
        missing = (key not in row.header.attributes for row in rows for key in self._extra)
        if self._extra and any(missing):
            self.wake()

    def wake(self) -> None:
        """Something may be unread: after a rebuild, too."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def read(self, path: str) -> Row | None:
        """As read_again, of this archive."""
        return read_again(self._folder, path, self._extra)

    def run(self, progress: Callable[[int, int], None] | None = None) -> ReindexReport:
        """All that is unread, in this thread; `progress` gets (done, of how many). Raises ArchiveError."""
        self._giving_way = True
        with self._one_pass:
            self._giving_way = False
            self._failed.clear()
            self._pass(progress)
            return ReindexReport(self._read, len(self._failed))

    def _pass(self, progress: Callable[[int, int], None] | None) -> None:
        self._index.drain()
        total = self._read + (len(self._index.unread()) if progress is not None else 0)
        after = 0
        while not self._closing and (page := self._index.unread(after, PAGE)):
            for _, uid, path in page:
                if self._closing or self._giving_way:
                    return
                if uid in self._failed:
                    continue
                row = self.read(path)
                if row is None or row.header.sop_instance_uid != uid:
                    self._failed.add(uid)
                else:
                    self._index.refresh(row)
                    self._read += 1
            after = page[-1][0]
            if progress is not None:
                done = self._read + len(self._failed)
                progress(done, max(total, done))
        self._index.drain()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closing)
                if self._closing:
                    return
                self._wanted = False
            before = self._read
            try:
                with self._one_pass:
                    self._pass(None)
            except ArchiveError:
                return  # the writer told it
            if self._read > before:
                log.info("reindex: %s", ReindexReport(self._read, len(self._failed)))

    def close(self) -> None:
        """Safe to call twice; what is not read yet is read after the next start.

        A read that hangs (a network drive) is left behind: it ends at its next step.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(HANGING_SECONDS)
