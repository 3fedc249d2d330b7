"""Files that stay where they are: the index knows them, nothing is ever written there, moved or deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pacskit.archive.duplicates import Arrived, Verdict, compare
from pacskit.archive.header import Header
from pacskit.archive.import_journal import Entry, Mark
from pacskit.archive.import_shelf import IMPORT, Shelf, Told, milliseconds, say_why
from pacskit.archive.import_source import Source, Unfit, open_source
from pacskit.archive.import_walk import Batch
from pacskit.archive.rows import Row

OTHER_CONTENT = "another content is already stored under this SOP Instance UID; the first is kept"


class InPlace:
    """Takes files in place. Any number of threads at once."""

    def __init__(self, shelf: Shelf, told: Told) -> None:
        self._shelf, self._told = shelf, told

    def take(self, batch: Batch, new: list[tuple[str, os.stat_result]]) -> None:
        """First the journal, then the rows: what is indexed, a rebuild finds again."""
        folder = batch.folder
        sources = self._headers(folder, new)
        if self._told.stopped:
            return
        at_ms = milliseconds(time.time())
        entries = {
            name: Entry(source.size, source.mtime_ns, source.sop_instance_uid, at_ms=at_ms)
            for name, source in sources
        }
        here = self._shelf.has([source.sop_instance_uid for _, source in sources])
        noted = {name for name, entry in entries.items() if entry.uid not in here}
        self._note(folder, "in-place", noted, entries)
        seen: set[str] = set()
        for name, source in sources:
            header = Header(source.attributes, source.transfer_syntax_uid, at_ms, IMPORT)
            self._drop(batch.before.get(name), source)
            there = self._index(header, source)
            try:
                if there:
                    _check_same(source, header, self._shelf.folder / there)
            except (Unfit, OSError) as error:
                say_why(self._told, source.path, error)
                self._note(folder, "removed", noted & {name}, entries)
                continue
            self._told.took(source.path, "duplicate" if there else "stored", source.size)
            if there:
                seen.add(name)
            elif name not in noted:
                self._note(folder, "in-place", {name}, entries)
        self._note(folder, "seen", seen, entries)

    def _headers(self, folder: str, new: list[tuple[str, os.stat_result]]) -> list[tuple[str, Source]]:
        """Closed again: a batch must not take as many descriptors as it has files."""
        sources: list[tuple[str, Source]] = []
        for name, status in new:
            if self._told.stopped:
                break
            path = os.path.join(folder, name)
            try:
                if not _is_unicode(path):
                    raise Unfit("refused", "its path is not UTF-8: rename it, or import it by copy")
                with open_source(path, status) as source:
                    sources.append((name, source))
            except (Unfit, OSError) as error:
                say_why(self._told, path, error)
        return sources

    def _note(self, folder: str, how: Mark, names: set[str], entries: dict[str, Entry]) -> None:
        self._shelf.journal.append(folder, how, [(name, entries[name]) for name in sorted(names)])

    def _index(self, header: Header, source: Source) -> str:
        """As `Keeper.keep_in_place`; a row of this file before it changed or was moved, goes."""
        path = _posix(source.path)
        there = self._shelf.keeper.keep_in_place(header, path, source.size)
        if there and (there == path or not os.path.exists(self._shelf.folder / there)):
            self._shelf.index.remove([source.sop_instance_uid])
            if there != path and os.path.isabs(there):
                self._shelf.journal.forget([there])
            there = self._shelf.keeper.keep_in_place(header, path, source.size)
        return there

    def _drop(self, before: Entry | None, source: Source) -> None:
        """Another instance stands in this file now: the one that stood there is gone."""
        if before is None or before.how != "in-place" or before.uid == source.sop_instance_uid:
            return
        if self._shelf.path_of(before.uid) == _posix(source.path):
            self._shelf.index.remove([before.uid])


def read_in_place(path: str, entry: Entry) -> Row:
    """The row of a file that was imported in place. Raises Unfit, OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise Unfit("gone", "it was imported in place and is no longer there") from None
    with open_source(path, status) as source:
        header = Header(source.attributes, source.transfer_syntax_uid, entry.at_ms, IMPORT)
        return Row(header, _posix(path), source.size)


def _check_same(source: Source, header: Header, there: Path) -> None:
    """Raises Unfit unless both hold the same instance, OSError where one cannot be read."""
    with open(source.path, "rb", buffering=0) as file:
        arrived = Arrived(source.path, file.fileno(), header, source.head.offset, source.size)
        verdict, _ = compare(there, arrived)
    if verdict is not Verdict.SAME:
        damaged = verdict is Verdict.DAMAGED
        raise Unfit("other content", f"{OTHER_CONTENT}{', though it is damaged' if damaged else ''}")


def _posix(path: str) -> str:
    """As the index has paths: with `/`."""
    return path if os.sep == "/" else Path(path).as_posix()


def _is_unicode(path: str) -> bool:
    """A name of other bytes cannot stand in the index."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
