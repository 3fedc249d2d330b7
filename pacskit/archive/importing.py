"""Files and folders into the archive, in parallel, with progress and cancel; safe to do again.

One thread walks the folders, some take the files, the caller's own thread tells of progress.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from pacskit.archive.import_report import HOWS, How, ImportProgress, ImportReport, Kind
from pacskit.archive.import_shelf import Outcome, Shelf
from pacskit.archive.import_source import DICOMDIR_CLASS
from pacskit.archive.import_taking import Taker
from pacskit.archive.import_walk import Batch, Walk

__all__ = ["DICOMDIR_CLASS", "ImportProgress", "ImportReport", "Shelf", "import_paths"]

WORKERS = 4
"""Files taken at once: a share of the network is mostly waited for, and so is a disk that syncs."""
AHEAD = 1000
"""Batches the walk may be ahead of the workers, so that their names need no more than some 10 MB."""
TICK = 0.1
"""Seconds between two calls of `progress`."""
STUCK_SECONDS = 10.0
"""How long a cancelled import waits for a file that does not answer, as on a share that hangs."""

Progress = Callable[[ImportProgress], None]


def import_paths(
    paths: Iterable[Path | str],
    shelf: Shelf,
    how: How = "copy",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> ImportReport:
    """Import every file; what cannot be taken is reported by name and the rest goes on.

    `cancel`, once set, ends it soon: the report says so, and what is stored stays. Raises ArchiveError only
    where the archive itself cannot be written, ValueError for another `how`.
    """
    if how not in HOWS:
        raise ValueError(f"how is one of {', '.join(HOWS)}, not {how!r}")
    run = _Run(list(paths), shelf, how, cancel)
    try:
        run.start()
        while not run.ended.wait(TICK):
            if progress is not None:
                progress(run.progress())
            if cancel is not None and cancel.is_set():
                break
    finally:  # also at the interrupt of a notebook's cell
        run.finish()
    if progress is not None:
        progress(run.progress())
    return run.report


class _Run:
    """One import: its threads, and what they count."""

    def __init__(
        self, paths: list[Path | str], shelf: Shelf, how: How, cancel: threading.Event | None
    ) -> None:
        self.report = ImportReport(how=how)
        self.ended = threading.Event()
        self._stopped, self._cancel = False, cancel
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._batches: deque[Batch] = deque()
        self._walk = Walk(paths, shelf.folder, shelf.journal, self.skip)
        self._taker = Taker(shelf, how, self)
        self._walked = self._looked = False
        """No more batches come; and none was left out."""
        self._done = self._total = 0
        self._path: Path | None = None
        self._failure: Exception | None = None
        self._started = time.monotonic()
        self._at: dict[int, str] = {}
        """Thread → the folder it is at."""
        self._running = 1  # the one that starts them
        self._over = False
        """The caller has the report: a thread that wakes up late must not change it."""

    def start(self) -> None:
        """Raises RuntimeError where the system has no thread left; `finish()` follows all the same."""
        try:
            for target in (self._look, *[self._work] * WORKERS):
                with self._lock:
                    self._running += 1
                try:
                    threading.Thread(target=target, name="pacskit-import", daemon=True).start()
                except BaseException:
                    self._leave()
                    raise
        finally:
            self._leave()

    def finish(self) -> None:
        """Wait for the threads; where they have not ended by themselves, stop them. Raises ArchiveError."""
        if not self.ended.is_set():
            with self._changed:
                self._stop()
            self.ended.wait(STUCK_SECONDS)
        with self._lock:
            self.report.cancelled = self.stopped and (not self._looked or self._done < self._total)
            sentence = f"it did not answer within {STUCK_SECONDS:.0f} s of the cancel"
            for folder in sorted(set(self._at.values())):
                self.report.skip(Path(folder), "stuck", sentence)
            self.report.seconds = time.monotonic() - self._started
            self._over = True
        if self._failure is not None:
            raise self._failure

    @property
    def stopped(self) -> bool:
        """What is under way is given up."""
        return self._stopped or (self._cancel is not None and self._cancel.is_set())

    def _stop(self) -> None:
        self._stopped = True
        self._batches.clear()
        self._changed.notify_all()

    # -- the threads

    def _look(self) -> None:
        try:
            for batch in self._walk:
                with self._changed:
                    self._total += len(batch.names)
                    self._changed.wait_for(lambda: len(self._batches) < AHEAD or self.stopped)
                    if self.stopped:
                        return
                    self._batches.append(batch)
                    self._changed.notify_all()
            self._looked = True
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller must hear of it
            self._fail(error)
        finally:
            with self._changed:
                self._walked = True
            self._leave()

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._taker.take(batch)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        finally:
            self._leave()

    def _next(self) -> Batch | None:
        with self._changed:
            self._at.pop(threading.get_ident(), None)
            self._changed.wait_for(lambda: self._batches or self._walked or self.stopped)
            if self.stopped or not self._batches:
                return None
            batch = self._batches.popleft()
            self._at[threading.get_ident()] = batch.folder
            self._changed.notify_all()
            return batch

    def _leave(self) -> None:
        with self._changed:
            self._at.pop(threading.get_ident(), None)
            self._running -= 1
            self._changed.notify_all()
            if not self._running:
                self.ended.set()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._stop()

    # -- what the workers tell

    def took(self, path: str, outcome: Outcome, size: int) -> None:
        with self._lock:
            if self._over:
                return
            report = self.report
            report.stored += outcome in ("stored", "copied")
            report.copied += outcome == "copied"
            report.duplicates += outcome == "duplicate"
            report.known += outcome == "known"
            report.bytes += size
            self._done += 1
            self._path = Path(path)

    def skip(self, path: Path, kind: Kind, reason: str) -> None:
        with self._lock:
            if self._over:
                return
            self.report.skip(path, kind, reason)
            if threading.get_ident() in self._at:  # a worker's: one of the total
                self._done += 1
                self._path = path

    def progress(self) -> ImportProgress:
        """As it stands now."""
        with self._lock:
            seconds = time.monotonic() - self._started
            return ImportProgress(
                self._done, self._total, self._walked, self.report.bytes, seconds, self._path
            )
