"""What persons said of studies: an append-only file, a JSON object a line, kept by every rebuild.

{"at": seconds since 1970, "what": "checked" or "protected", "study_uid": "1.2.3", "value": true}
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pacskit.archive.files import JOURNAL, append_line, cannot_write
from pacskit.errors import ArchiveError

CHECKED, PROTECTED = "checked", "protected"


def read_journal(folder: Path) -> Iterator[dict[str, Any]]:
    """Entries in their order; a line that a power cut left half, or that is none, is passed over."""
    try:
        lines = (folder / JOURNAL).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArchiveError(f"{folder / JOURNAL} cannot be read: {error.strerror}") from error
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def checked_studies(folder: Path) -> frozenset[str]:
    """UIDs of the studies whose last mark says that they are checked."""
    return _marked(folder, CHECKED)


def protected_studies(folder: Path) -> frozenset[str]:
    """UIDs of the studies that retention must not touch."""
    return _marked(folder, PROTECTED)


def _marked(folder: Path, what: str) -> frozenset[str]:
    found: dict[str, bool] = {}
    for entry in read_journal(folder):
        if entry.get("what") == what:
            found[str(entry.get("study_uid"))] = bool(entry.get("value"))
    return frozenset(uid for uid, value in found.items() if value)


class Journal:
    """Writes entries. Any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def add(self, what: str, **values: object) -> None:
        """On the disk when this returns, whatever the durability. Raises ArchiveError."""
        line = json.dumps({"at": round(time.time(), 3), "what": what, **values}).encode() + b"\n"
        try:
            with self._lock:
                append_line(self._folder / JOURNAL, line, True)
        except OSError as error:
            raise ArchiveError(cannot_write(self._folder, error)) from error
