"""What was deleted or replaced: kept in a folder of the archive until a person empties it.

trash/<id>/trash.json, and the files below it at the paths they had (studies/..., aside/...). A rebuild does
not look here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pacskit import system
from pacskit.archive.access import file_mode
from pacskit.archive.files import TRASH, cannot_write, make_folders
from pacskit.errors import ArchiveError, UnknownUID

Why = Literal["deleted", "replaced", "expired"]
"""expired: by retention.py."""
ABOUT = "trash.json"


@dataclass(frozen=True, slots=True)
class Trashed:
    """One entry of the trash: what one call deleted, or what was replaced in one study on one day."""

    id: str
    at: datetime
    why: str
    instances: int
    bytes: int


class Trash:
    """Moves files in and out; knows nothing of the index. Any thread."""

    def __init__(self, folder: Path, safe: bool) -> None:
        self._folder, self._safe = folder, safe
        self._lock = threading.Lock()

    def entry(self, why: Why, name: str = "") -> str:
        """The id of a new entry, or of the day's entry `name`. Raises OSError."""
        now = time.time()
        day = time.strftime("%Y%m%d", time.gmtime(now))
        clock = time.strftime("%H%M%S", time.gmtime(now))
        entry = f"{day}-{name}" if name else f"{day}-{clock}-{os.urandom(3).hex()}"
        place = self._folder / TRASH / entry
        with self._lock:
            if not (place / ABOUT).exists():
                make_folders(place, self._folder, self._safe)
                about = json.dumps({"at": round(now, 3), "why": why}).encode() + b"\n"
                system.replace_file(place / ABOUT, about, file_mode(place / ABOUT))
        return entry

    def put(self, entry: str, relative: str) -> Path:
        """Move a file of the archive into the entry; returns where it is now. Raises OSError."""
        target = self._folder / TRASH / entry / relative
        number = 1
        while target.exists():  # replaced twice on a day
            number += 1
            target = target.with_name(f"{Path(relative).stem}-{number}.dcm")
        make_folders(target.parent, self._folder, self._safe)
        (self._folder / relative).rename(target)
        return target

    def settle(self, paths: set[Path]) -> None:
        """The names of these folders are on the disk, where `safe`. Raises OSError."""
        if self._safe:
            for path in sorted(paths):
                with contextlib.suppress(FileNotFoundError):
                    system.sync_folder(path)

    def files(self, entry: str) -> list[Path]:
        """Raises UnknownUID where there is no such entry."""
        place = self._folder / TRASH / entry
        if not entry or Path(entry).name != entry or not place.is_dir():
            raise UnknownUID(f"there is no {entry} in the trash of {self._folder}")
        return sorted(place.rglob("*.dcm"))

    def empty(self, older_than_days: float) -> int:
        """Delete for good what is older than so many days; returns the bytes. Raises ArchiveError."""
        freed = 0
        for one in all_trashed(self._folder):
            if time.time() - one.at.timestamp() >= older_than_days * 86400:
                try:
                    shutil.rmtree(self._folder / TRASH / one.id)
                except OSError as error:
                    raise ArchiveError(cannot_write(self._folder, error)) from error
                freed += one.bytes
        return freed

    def take_away(self, entry: str) -> None:
        """Remove an entry without files."""
        with contextlib.suppress(OSError):
            if not self.files(entry):
                shutil.rmtree(self._folder / TRASH / entry)


def all_trashed(folder: Path) -> Iterator[Trashed]:
    """Oldest first."""
    try:
        names = sorted(os.listdir(folder / TRASH))
    except FileNotFoundError:
        return
    for name in names:
        if (found := trashed(folder, name)) is not None:
            yield found


def trashed(folder: Path, name: str) -> Trashed | None:
    """One entry; None for what is not ours."""
    place = folder / TRASH / name
    try:
        about = json.loads((place / ABOUT).read_bytes())
        at, why = float(about["at"]), str(about["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sizes = [path.stat().st_size for path in place.rglob("*.dcm")]
    return Trashed(name, datetime.fromtimestamp(at, UTC), why, len(sizes), sum(sizes))


def remove_empty(folder: Path, below: Path) -> None:
    """`folder` and its parents up to `below`, as far as they are empty."""
    while folder != below:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
