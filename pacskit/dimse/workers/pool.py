"""The workers of a listener: who serves the next association, and a new one where one died."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from pacskit.dimse.workers.process import Worker
from pacskit.system import local

log = logging.getLogger(__name__)

START_PATIENCE = 30.0
"""Seconds for workers to start; then the listener starts without them, and they join when they can."""
DEATHS, MINUTE = 5, 60.0
"""So many within so long, and no new one takes the place of one that died."""
PAUSE = 0.2
"""Seconds before the second new one within a minute; each further one waits twice as long."""


class Workers:
    """`start()`, then `leave()`: each ends after its last association. Any thread."""

    def __init__(self, count: int, told: Callable[[str], None]) -> None:
        """`told(sentence)`: what a person has to know; replaceable."""
        self.count, self.told = count, told
        self._workers: dict[int, Worker] = {}
        self._changed = threading.Condition()
        self._leaving = False
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._threads = [
            threading.Thread(target=self._keep, args=(place,), name="pacskit-worker", daemon=True)
            for place in range(count)
        ]
        self._places = count
        """That have a worker, or will have one again."""

    def start(self) -> None:
        """They are ready on return, or late. Raises RuntimeError where the system has no thread left."""
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:
            self.leave()
            raise
        with self._changed:
            self._changed.wait_for(
                lambda: sum(worker.ready for worker in self._workers.values()) >= self._places, START_PATIENCE
            )

    def least_busy(self) -> Worker | None:
        """Who serves the next association, which is counted until `ended`; None: there is nobody."""
        with self._changed:
            ready = [worker for worker in self._workers.values() if worker.ready and not worker.closing]
            if not ready:
                return None
            found = min(ready, key=lambda worker: worker.associations)
            found.associations += 1
            return found

    def ended(self, worker: Worker) -> None:
        """An association of it."""
        with self._changed:
            worker.associations -= 1
            if self._leaving and not worker.associations:
                worker.close()

    @property
    def whole(self) -> bool:
        """Whether none was given up."""
        return self._places == self.count

    def processes(self) -> list[Worker]:
        """Those there are."""
        with self._changed:
            return list(self._workers.values())

    def leave(self) -> None:
        """Take nothing new; who serves nobody ends now, the others after their last association."""
        with self._changed:
            self._leaving = True
            for worker in self._workers.values():
                if not worker.associations:
                    worker.close()
            self._changed.notify_all()

    def join(self) -> None:
        """Until all have ended that serve nobody."""
        for worker in self.processes():
            if worker.closing:
                worker.wait()

    def _keep(self, place: int) -> None:
        """One worker after the other."""
        while (worker := self._next(place)) is not None:
            code = worker.watch(lambda: self._is_ready(worker))
            with self._changed:
                del self._workers[place]
                self._changed.notify_all()
                if self._leaving:
                    return
            log.error("process %d, a worker of the DICOM Listener, ended (%s)", worker.pid, _how(code))
            if not self._goes_on():
                return

    def _next(self, place: int) -> Worker | None:
        while True:
            with self._changed:
                if self._leaving:
                    return None
                try:
                    worker = self._workers[place] = Worker()
                except OSError as error:
                    reason = error.strerror or str(error)
                else:
                    return worker
            log.error("no process for a worker of the DICOM Listener: %s", reason)
            if not self._goes_on():
                return None

    def _is_ready(self, worker: Worker) -> None:
        with self._changed:
            worker.ready = True
            self._changed.notify_all()

    def _goes_on(self) -> bool:
        """After a death, and a pause: whether there shall be another worker."""
        now = time.monotonic()
        with self._changed:
            self._deaths.append(now)
            recent = sum(now - death < MINUTE for death in self._deaths)
            if recent < DEATHS:
                pause = PAUSE * 2 ** (recent - 2) if recent > 1 else 0.0
                return not self._changed.wait_for(lambda: self._leaving, pause)
            self._places -= 1
            left, told = self._places, self.told
            self._changed.notify_all()
        who = f"{left} of {self.count} workers serve" if left else "its own process serves"
        told(
            f"Workers ended {DEATHS} times in a minute: {who} what comes, until the service is started again"
        )
        return False


def new_workers(count: int, told: Callable[[str], None]) -> Workers | None:
    """So many, started; None where the process that asks serves all: for 1, or where more cannot be had."""
    if count == 1:
        return None
    if not local.can_hand_over():
        told(f"This system cannot have {count} workers on one port: one process serves all")
        return None
    workers = Workers(count, told)
    try:
        workers.start()
    except RuntimeError as error:
        told(f"There is no thread left for {count} workers, one process serves all: {error}")
        return None
    return workers


def _how(code: int | None) -> str:
    if code is None:
        return "as far as we can tell"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
