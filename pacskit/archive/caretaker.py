"""A thread of the owner that works while nothing is received: checksums, marks of quiet studies, old trash.
Chores that have their time (backups, retention) are also done while something comes.

Nothing waits for it, and it waits for nobody: it stops between two pieces of a file when something comes.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pacskit import system
from pacskit.archive.checksums import Cancelled, add_sum, measure, read_sums
from pacskit.archive.files import STUDIES, walk_files
from pacskit.archive.marks import Marks
from pacskit.archive.trash import Trash
from pacskit.errors import PacskitError
from pacskit.events import EventBus, InstanceDamaged

log = logging.getLogger(__name__)

IDLE = 5.0
"""Seconds without anything received before it begins."""
QUIET = 30.0
"""Seconds a study is quiet before its mark goes."""
TRASH_AGAIN = 3600.0
PATIENCE = 30.0
"""Seconds `close` waits for what cannot be ended: a mount that hangs must not hold the station."""


class Chore(Protocol):
    """Something to do now and then."""

    def due(self) -> float | None:
        """Seconds until then; None for never. Not due again at once after `run`, whatever came of it."""

    def run(self, stop: Callable[[], bool]) -> None:
        """Ends soon when `stop()`. Raises PacskitError, OSError."""


class Caretaker:
    def __init__(
        self,
        folder: Path,
        events: EventBus,
        marks: Marks,
        trash: Trash,
        settle: Callable[[], None],
        trash_days: int,
        *,
        idle: float = IDLE,
        quiet: float = QUIET,
        chores: Sequence[Chore] = (),
    ) -> None:
        self._folder, self._events, self._marks, self._trash = folder, events, marks, trash
        self._settle, self.trash_days, self._idle, self._quiet = settle, trash_days, idle, quiet
        self._chores, self._woken, self._due = chores, False, float("inf")
        self._busy = 0.0
        self._trash_at = 0.0
        self._changed = threading.Condition()
        self._pending: set[str] = set()
        """Study folders that may have files without a checksum."""
        self._working = ""
        self._all, self._closing = False, False
        self._damaged: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="pacskit-caretaker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def receiving(self) -> None:
        """Something came; called for each instance, so it only notes the time."""
        self._busy = time.monotonic()

    def look_at(self, studies: set[str]) -> None:
        """These study folders have new files."""
        with self._changed:
            self._pending |= studies
            self._changed.notify_all()

    def wake(self) -> None:
        """Chores or days are others now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait_until_done(self, timeout: float) -> bool:
        """Whether all files have their checksums within so many seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._all and not self._pending and not self._working, timeout
            )

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        if self._thread.is_alive():
            log.warning("the care of the archive does not end: a disk may hang")

    def _must_stop(self) -> bool:
        now = time.monotonic()
        return self._closing or now - self._busy < self._idle or now >= self._due

    def _run(self) -> None:
        system.lower_thread_priority()
        left, told = 1, ""  # marks, the last trouble
        while True:
            with self._changed:
                if not (self._pending or left) and self._all:
                    self._changed.wait_for(
                        lambda: self._closing or self._pending or self._woken, self._next()
                    )
                else:
                    self._changed.wait_for(lambda: self._closing or self._woken, min(self._idle, self._quiet))
                self._woken = False
                if self._closing:
                    return
            try:
                left = self._marks.sweep(self._quiet, self._settle)
                self._empty_trash()
                self._do_chores()
                if not self._must_stop():
                    self._sum_up()
            except (PacskitError, OSError) as error:  # told elsewhere, where somebody needs it
                if str(error) != told:
                    told = str(error)
                    log.warning("the care of the archive waits: %s", told)

    def _next(self) -> float | None:
        """Seconds until the next chore; None where there is none."""
        waits = [chore.due() for chore in self._chores] + [TRASH_AGAIN if self.trash_days else None]
        return min((wait for wait in waits if wait is not None), default=None)

    def _do_chores(self) -> None:
        try:
            for chore in self._chores:
                if chore.due() == 0 and not self._closing:
                    chore.run(lambda: self._closing)
        finally:
            wait = self._next()
            self._due = float("inf") if wait is None else time.monotonic() + wait

    def _empty_trash(self) -> None:
        now = time.monotonic()
        if self.trash_days and (not self._trash_at or now - self._trash_at >= TRASH_AGAIN):
            self._trash_at = now
            self._trash.empty(self.trash_days)

    def _sum_up(self) -> None:
        """Checksums of one study after the other; all of them once, then those with new files."""
        if not self._all:
            with self._changed:
                self._pending |= set(os.listdir(self._folder / STUDIES))
                self._all = True
        while not self._must_stop():
            with self._changed:
                self._changed.notify_all()
                if not self._pending:
                    return
                study = self._working = self._pending.pop()
            try:
                self._sum_study(study)
            except Cancelled:
                with self._changed:
                    self._pending.add(study)
                return
            finally:
                self._working = ""

    def _sum_study(self, study: str) -> None:
        known = read_sums(self._folder, study)
        for relative, _ in walk_files(self._folder, f"{STUDIES}/{study}"):
            if relative in known or relative in self._damaged:
                continue
            path = self._folder / relative
            try:
                sha256, wrong = measure(path, self._must_stop)
            except FileNotFoundError:
                continue
            except OSError as error:
                sha256, wrong = "", error.strerror or str(error)
            if wrong:
                self._damaged.add(relative)
                log.error("%s is damaged: %s", path, wrong)
                self._events.publish(InstanceDamaged(path=str(path), reason=wrong))
            else:
                add_sum(self._folder, relative, sha256)
