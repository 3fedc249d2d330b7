"""Dirty marks: which studies may have files whose rows are not on the disk yet.

dirty/<study folder>~<Study Instance UID>, made before the first file a session puts into that folder, taken
away when the study is quiet and its rows are on the disk. After a kill or a power cut only these are read.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pacskit import system
from pacskit.archive.access import make_folder, open_file
from pacskit.archive.files import DIRTY, cannot_write
from pacskit.errors import ArchiveError


class Mark(NamedTuple):
    """A study folder's name, and the UID of the study in it."""

    folder: str
    study_uid: str

    @property
    def name(self) -> str:
        return f"{self.folder}~{self.study_uid}"


IN_PLACE = Mark("in-place", "")
"""Of all files imported in place; which these are says the journal of imports."""


@dataclass(slots=True)
class _Use:
    holders: int = 0
    touched: float = 0.0
    """time.monotonic() of the last begin or end."""


class Marks:
    """Any thread. `hold()` around whatever changes a study's files and rows."""

    def __init__(self, folder: Path, safe: bool) -> None:
        self._folder, self._safe = folder / DIRTY, safe
        self._archive = folder
        self._uses: dict[Mark, _Use] = {}
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        """Held while a mark's file is made or taken away."""

    @property
    def kept(self) -> bool:
        """Whether this archive has had marks; one that was made before them has to be walked once."""
        return self._folder.is_dir()

    def prepare(self, index: Path) -> list[Mark]:
        """Make the folder; returns the marks an earlier owner left, which count as this one's from now."""
        try:
            make_folder(self._folder, self._archive)
            if self._safe:  # also the names of the index and its log: SQLite does not sync them
                system.sync_folder(self._archive)
                system.sync_folder(index.parent)
            names = sorted(os.listdir(self._folder))
        except OSError as error:
            raise ArchiveError(cannot_write(self._archive, error)) from error
        left = [Mark(*name.split("~", 1)) for name in names if "~" in name]
        with self._lock:
            for mark in left:
                self._uses.setdefault(mark, _Use(touched=time.monotonic()))
        return left

    @contextmanager
    def hold(self, *marks: Mark) -> Iterator[None]:
        """The marks are there, on the disk where `safe`, and stay while this is open. Raises OSError."""
        held: list[Mark] = []
        try:
            for mark in marks:
                self.begin(mark)
                held.append(mark)
            yield
        finally:
            for mark in held:
                self.end(mark)

    def begin(self, mark: Mark) -> None:
        """As `hold` without its end: for whoever does so for each instance. Raises OSError."""
        if self._use(mark):
            return
        with self._changing:
            if self._use(mark):
                return
            os.close(open_file(self._folder / mark.name, os.O_WRONLY | os.O_CREAT))
            if self._safe:
                system.sync_folder(self._folder)
            with self._lock:
                self._uses[mark] = _Use(1, time.monotonic())

    def end(self, mark: Mark) -> None:
        """What `begin` began."""
        with self._lock:
            use = self._uses[mark]
            use.holders -= 1
            use.touched = time.monotonic()

    def _use(self, mark: Mark) -> bool:
        with self._lock:
            use = self._uses.get(mark)
            if use is None:
                return False
            use.holders += 1
            return True

    def sweep(self, quiet: float, settle: Callable[[], None]) -> int:
        """Take away the marks of studies that were quiet for `quiet` seconds; returns how many are left.

        `settle` brings all rows queued so far to the disk, and is called only where there is such a study.
        """
        now = time.monotonic()
        with self._lock:
            still = {
                mark: use.touched
                for mark, use in self._uses.items()
                if not use.holders and now - use.touched >= quiet
            }
        if still:
            settle()
            with self._changing:
                for mark, touched in still.items():
                    with self._lock:
                        use = self._uses[mark]
                        if use.holders or use.touched != touched:
                            continue
                        del self._uses[mark]
                    with contextlib.suppress(OSError):  # left behind, it costs a look at the next start
                        (self._folder / mark.name).unlink()
        return len(self._uses)
