"""One batch of files: what is known is passed over, by size and time, and never opened; the rest is taken."""

from __future__ import annotations

import os

from pacskit.archive.import_copying import Copying
from pacskit.archive.import_in_place import InPlace
from pacskit.archive.import_report import How
from pacskit.archive.import_shelf import Shelf, Told, say_why
from pacskit.archive.import_walk import Batch


class Taker:
    """Takes batches. Any number of threads at once."""

    def __init__(self, shelf: Shelf, how: How, told: Told) -> None:
        self._shelf, self._told = shelf, told
        in_place = how == "in-place"
        self._take = InPlace(shelf, told).take if in_place else Copying(shelf, how == "link", told).take

    def take(self, batch: Batch) -> None:
        """Every file of it, or up to where the import was stopped. Raises ArchiveError."""
        self._take(batch, self._new(batch))

    def _new(self, batch: Batch) -> list[tuple[str, os.stat_result]]:
        """The files that are not known as they are now."""
        found: list[tuple[str, os.stat_result]] = []
        same: dict[str, str] = {}
        for name in batch.names:
            if self._told.stopped:
                break
            path = os.path.join(batch.folder, name)
            try:
                status = os.stat(path)
            except OSError as error:
                say_why(self._told, path, error)
                continue
            found.append((name, status))
            entry = batch.before.get(name)
            if entry is not None and (entry.size, entry.mtime_ns) == (status.st_size, status.st_mtime_ns):
                same[name] = entry.uid
        here = self._shelf.has(list(same.values()))
        new: list[tuple[str, os.stat_result]] = []
        for name, status in found:
            if same.get(name) in here:
                self._told.took(os.path.join(batch.folder, name), "known", 0)
            else:
                new.append((name, status))
        return new
