"""Service: the one lifecycle of everything that runs in the background.

`start()` returns once the port is bound, or raises at once; `stop()` returns once it is free.
"""

from __future__ import annotations

import enum
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pacskit.errors import PacskitError, ServiceError
from pacskit.events import EventBus, ServiceChanged


class State(enum.StrEnum):
    STOPPED = "stopped"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """What a service tells of itself; replaced whole at each change, so any thread may read it."""

    state: State = State.STOPPED
    host: str = ""
    port: int = 0
    """The bound port: never 0 while running."""
    since: float = 0.0
    """Unix time in seconds of the last change."""
    error: str = ""

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING


class Service(ABC):
    """One service with one settings snapshot; a change of settings is a new Service."""

    name: str
    """The settings section's name."""

    def __init__(self, events: EventBus) -> None:
        self.events = events
        self.status = Status()
        self._changing = threading.RLock()

    def start(self) -> None:
        """Bind and run. Raises ServiceError (PortTaken) with nothing left running."""
        with self._changing:
            if self.status.running:
                return
            try:
                host, port = self._start()
            except PacskitError as error:
                self._become(Status(State.FAILED, since=time.time(), error=str(error)))
                raise
            except OSError as error:
                self._become(Status(State.FAILED, since=time.time(), error=str(error)))
                raise ServiceError(f"{self.name} cannot start: {error}") from error
            self._become(Status(State.RUNNING, host, port, time.time()))

    def stop(self) -> None:
        """Free the port and end what runs. Safe to call twice."""
        with self._changing:
            if not self.status.running:
                return
            try:
                self._stop()
            finally:
                self._become(Status(State.STOPPED, since=time.time()))

    @abstractmethod
    def _start(self) -> tuple[str, int]:
        """Bind, run in the background, return the bound host and port."""

    @abstractmethod
    def _stop(self) -> None: ...

    def _become(self, status: Status) -> None:
        self.status = status
        self.events.publish(ServiceChanged(service=self.name, state=status.state, error=status.error))
