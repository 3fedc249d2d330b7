"""Free space of the archive's disk: instances are refused before it is full, and a person is told in time."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pacskit.errors import ArchiveError
from pacskit.events import EventBus, StorageLow
from pacskit.settings.sizes import room_in_bytes

LOOK_AGAIN = 0.2
"""Seconds an answer is good for, while there is room."""
SAMPLE = 60.0
"""Seconds between two figures for the forecast; a day of them is kept."""
SOON = 86_400.0
"""Seconds: a disk that will be full by then is told of."""
WARN = 3
"""Times the limit: what is told of as low."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The archive's disk; sizes in bytes."""

    total: int
    free: int
    limit: int
    """What `archive.min_free` keeps free: below it, instances are refused."""
    full_in: float | None
    """Seconds until the limit if it goes on as during the last day; None where it does not fill."""

    @property
    def refusing(self) -> bool:
        return self.free < self.limit


class Space:
    """Any thread."""

    def __init__(self, folder: Path, min_free: str, events: EventBus) -> None:
        self._folder, self.min_free, self._events = folder, min_free, events
        self._samples: deque[tuple[float, int]] = deque(maxlen=1440)
        self._lock = threading.Lock()
        self._good_until = 0.0
        self._told = 0
        """0: nothing, 1: low, 2: refusing."""

    def look(self) -> Storage:
        """The figures now; an event where they have become worse. Raises ArchiveError."""
        try:
            disk = shutil.disk_usage(self._folder)
        except OSError as error:
            raise ArchiveError(f"the disk of the archive {self._folder} cannot be read: {error}") from error
        now, limit = time.monotonic(), room_in_bytes(self.min_free, disk.total)
        with self._lock:
            if not self._samples or now - self._samples[-1][0] >= SAMPLE:
                self._samples.append((now, disk.free))
            since, then = self._samples[0]
            used = then - disk.free
            full_in = None
            if used > 0 and now - since >= SAMPLE:
                full_in = max(disk.free - limit, 0) * (now - since) / used
            storage = Storage(disk.total, disk.free, limit, full_in)
            soon = full_in is not None and full_in < SOON
            worse = 2 if storage.refusing else int(soon or disk.free < WARN * limit)
            tell = worse > self._told
            if tell or disk.free > WARN * limit * 1.1 or (self._told == 2 and not storage.refusing):
                self._told = worse
            self._good_until = 0.0 if storage.refusing else now + LOOK_AGAIN
        if tell:
            self._events.publish(
                StorageLow(free=disk.free, limit=limit, full_in=storage.full_in, refusing=storage.refusing)
            )
        return storage

    def tell_full(self) -> None:
        """The disk has no room for the index, whatever its figures say (a quota has others)."""
        disk = shutil.disk_usage(self._folder)
        limit = room_in_bytes(self.min_free, disk.total)
        self._events.publish(StorageLow(free=disk.free, limit=limit, full_in=0.0, refusing=True))

    def check(self) -> None:
        """Raises ArchiveError (A700) where less than the limit is free."""
        if time.monotonic() < self._good_until:
            return
        storage = self.look()
        if storage.refusing:
            raise ArchiveError(
                f"the archive's disk has only {storage.free / 1e6:.0f} MB free: make room. archive.min_free "
                f"keeps {self.min_free} ({storage.limit / 1e6:.0f} MB) free of {self._folder}"
            )
