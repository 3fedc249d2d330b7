"""imports.jsonl: which files were imported, from where, and how. Append-only, one line a folder and batch.

Of files imported in place it is the only record, so it is on the disk before their rows are: a rebuild reads
it. Of linked files it holds the receipt, which cannot stand in a file that is not ours. For all of them it
tells a second import what has not changed since.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pacskit import system
from pacskit.archive.access import open_file
from pacskit.archive.files import cannot_write
from pacskit.archive.import_report import How
from pacskit.errors import ArchiveError

IMPORTS = "imports.jsonl"
Mark = How | Literal["seen", "removed"]
"""seen: its content was here already. removed: an earlier line no longer counts."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as it was when it was imported."""

    size: int
    mtime_ns: int
    uid: str
    """Its SOP Instance UID."""
    how: Mark = "copy"
    at_ms: int = 0
    """When, in Unix milliseconds."""


class ImportJournal:
    """Any number of threads. Folders are absolute; of a file counts the last line that names it."""

    def __init__(self, archive: Path, safe: bool = True) -> None:
        """Raises ArchiveError where it cannot be opened."""
        self._archive, self._safe = archive, safe
        self.path = archive / IMPORTS
        self._lock = threading.Lock()
        self._lines: dict[str, list[tuple[int, int]]] = {}
        """Folder → (offset, length) of its lines, in order: the content stays on the disk."""
        new = not self.path.exists()
        try:
            self._descriptor = open_file(self.path, os.O_RDWR | os.O_CREAT)
            self._end = self._read_through()
            if new and safe:
                system.sync_folder(archive)
        except OSError as error:
            raise ArchiveError(cannot_write(archive, error)) from error

    def _read_through(self) -> int:
        """Notes where each folder's lines stand; a torn last line (power cut) is cut off by the next one."""
        offset, rest = 0, b""
        while piece := system.read_at(self._descriptor, _PIECE, offset + len(rest)):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._note(line, offset)
                offset += len(line) + 1
        return offset

    def _note(self, line: bytes, offset: int) -> None:
        # the folder stands first, so that the long rest of a line need not be parsed
        head, mark, _ = line.partition(b',"how":')
        try:
            folder = json.loads(head + b"}")["folder"] if mark else json.loads(line)["folder"]
        except (ValueError, KeyError, TypeError):
            return
        self._lines.setdefault(str(folder), []).append((offset, len(line)))

    def append(self, folder: str, how: Mark, files: Iterable[tuple[str, Entry]]) -> None:
        """One line for files of one folder; where it is the only record, on the disk when this returns.

        Raises ArchiveError.
        """
        rows = list(files)
        if not rows:
            return
        line = json.dumps(
            {
                "folder": folder,
                "how": how,
                "at": max(entry.at_ms for _, entry in rows),
                "files": [[name, entry.size, entry.mtime_ns, entry.uid] for name, entry in rows],
            },
            separators=(",", ":"),
        ).encode("ascii")
        with self._lock:
            try:
                os.lseek(self._descriptor, self._end, os.SEEK_SET)
                system.write_all(self._descriptor, [line, b"\n"])
                os.ftruncate(self._descriptor, self._end + len(line) + 1)
                if self._safe and how not in ("copy", "seen"):  # of those it is only a help
                    system.sync_data(self._descriptor)
            except OSError as error:
                raise ArchiveError(cannot_write(self._archive, error)) from error
            self._lines.setdefault(folder, []).append((self._end, len(line)))
            self._end += len(line) + 1

    def forget(self, paths: Iterable[Path | str]) -> None:
        """These files imported in place are no longer the archive's. Raises ArchiveError."""
        folders: dict[str, list[tuple[str, Entry]]] = {}
        for path in paths:
            folder, name = os.path.split(path)
            folders.setdefault(folder, []).append((name, Entry(0, 0, "", "removed")))
        for folder, files in folders.items():
            self.append(folder, "removed", files)

    def of(self, folder: str) -> dict[str, Entry]:
        """File name → what the last line says of it; removed ones are left out."""
        with self._lock:
            places = list(self._lines.get(folder, ()))
        found: dict[str, Entry] = {}
        for offset, length in places:
            try:
                line = json.loads(system.read_at(self._descriptor, length, offset))
                how, at = line["how"], int(line["at"])
                rows = [(str(n), Entry(int(s), int(m), str(u), how, at)) for n, s, m, u in line["files"]]
            except (ValueError, KeyError, TypeError):
                continue
            found.update(rows)
        return {name: entry for name, entry in found.items() if entry.how != "removed"}

    def folders(self) -> list[str]:
        """All folders with a line, in order of their first."""
        with self._lock:
            return list(self._lines)

    def files(self, how: How) -> Iterator[tuple[str, Entry]]:
        """(absolute path, entry) of every file imported like this, folder after folder."""
        for folder in self.folders():
            for name, entry in self.of(folder).items():
                if entry.how == how:
                    yield os.path.join(folder, name), entry

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
