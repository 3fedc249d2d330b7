"""Service: the one lifecycle of everything that runs in the background.

`start()` returns once the port is bound, or raises at once; `stop()` returns once it is free and nothing
runs; `retire()` frees the port too, but what runs goes on to its own end.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from pacskit.errors import PacskitError, PortTaken, ServiceError
from pacskit.events import EventBus, ServiceChanged
from pacskit.services.ports import free_port, holder_of
from pacskit.system import sockets

log = logging.getLogger(__name__)

FIRST_ORDINARY_PORT = 1024
"""Below it most systems ask for an administrator's rights."""


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
    """Why it failed; of one that runs, what does not run as it should."""
    free_port: int = 0
    """Offered where the port was taken; 0: none."""

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING


class ServiceSettings(Protocol):
    """What every service's section of settings has."""

    @property
    def enabled(self) -> bool: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int | str:
        """0 for any free one, "auto" for any free one that is remembered."""


class Service(ABC):
    """One service with one settings snapshot; a change of settings is a new Service (`applying.apply`).

    `tell=False` publishes no ServiceChanged: whoever replaces one service by another tells once, at the end.
    """

    name: str
    """The settings section's name."""
    title: str
    """The name a person reads."""
    usual_port: int = 11112
    """A free one is looked for from here on, where the wanted one needs an administrator's rights."""

    def __init__(self, settings: ServiceSettings, events: EventBus) -> None:
        self.settings = settings
        self.events = events
        self.status = Status()
        self._retired_as = Status()
        self._changing = threading.RLock()

    def start(self, *, tell: bool = True) -> None:
        """Bind and run. Raises ServiceError (PortTaken) with nothing left running."""
        with self._changing:
            if not self.status.running:
                self._run(Status(State.RUNNING, since=time.time()), tell)

    def give_up(self, reason: str) -> None:
        """Don't even try to start: FAILED, raises ServiceError. A running one goes on."""
        with self._changing:
            if not self.status.running:
                raise self._failed(ServiceError(reason), tell=True)

    def resume(self, *, tell: bool = True) -> None:
        """Run again as before `retire()`: on the same port, since the same time. Raises as `start()`."""
        with self._changing:
            if not self.status.running and self._retired_as.running:
                self._run(self._retired_as, tell)

    def _run(self, running: Status, tell: bool) -> None:
        try:
            host, port = self._start(running.port)
        except (PacskitError, OSError) as error:
            raise self._failed(error, tell) from error
        self._become(dataclasses.replace(running, host=host, port=port), tell)

    def adopt(self, old: Service, *, tell: bool = True) -> bool:
        """Take over what the running `old` listens with, so that not one caller meets a closed port.

        True: this one runs, and `old`, which has only to finish, is to be retired. False: nothing changed.
        """
        with self._changing, old._changing:
            if self.status.running or not old.status.running or type(old) is not type(self):
                return False
            if not self._adopt(old):
                return False
            self._become(dataclasses.replace(old.status, error=""), tell)
            return True

    def retire(self, *, tell: bool = True) -> None:
        """Free the port and take nothing new; what runs goes on to its own end. Returns at once."""
        with self._changing:
            if not self.status.running:
                return
            self._retired_as = self.status
            try:
                self._retire()
            finally:
                self._become(Status(since=time.time()), tell)

    @property
    def draining(self) -> bool:
        """Whether something of it still runs after `retire()`."""
        return not self.status.running and self._busy()

    def stop(self, *, tell: bool = True) -> None:
        """Free the port and end what runs, also after `retire()`. Safe to call twice."""
        with self._changing:
            running = self.status.running
            if not running and not self._busy():
                return
            try:
                self._stop()
            finally:
                if running:
                    self._become(Status(since=time.time()), tell)

    def ports(self) -> frozenset[int]:
        """Those it holds, or would take as far as that is known before."""
        if self.status.running:
            return frozenset({self.status.port})
        wanted = self.wanted_port
        return frozenset({wanted} if isinstance(wanted, int) and wanted else ())

    @property
    def wanted_port(self) -> int | str:
        """That of the settings."""
        return self.settings.port

    def tell(self) -> None:
        """Publish the status as it is."""
        status = self.status
        self.events.publish(ServiceChanged(service=self.name, state=status.state, error=status.error))

    def warn(self, sentence: str) -> None:
        """What a person has to know of it though it runs; any thread. Its next change takes it back, and so
        does an empty sentence."""
        if sentence:
            log.error("%s", sentence)

        def say() -> None:
            with self._changing:
                if self.status.running:
                    self._become(dataclasses.replace(self.status, error=sentence), tell=True)

        # in a thread: who changes it now may wait for the one who says this
        threading.Thread(target=say, name="pacskit-warn", daemon=True).start()

    @abstractmethod
    def _start(self, port: int) -> tuple[str, int]:
        """Bind, run in the background, return the bound host and port.

        `port` is the one it had, when it runs again as before; 0: as the settings say.
        """

    @abstractmethod
    def _stop(self) -> None: ...

    @abstractmethod
    def _retire(self) -> None: ...

    def _busy(self) -> bool:
        """Whether something runs that was taken before `retire()`."""
        return False

    def _adopt(self, old: Service) -> bool:
        """As `adopt()`; `old` runs and is of this class."""
        return False

    def _become(self, status: Status, tell: bool) -> None:
        self.status = status
        if tell:
            self.tell()

    def _failed(self, error: PacskitError | OSError, tell: bool) -> ServiceError:
        failure = self._failure(error)
        free = failure.free_port if isinstance(failure, PortTaken) else 0
        self._become(Status(State.FAILED, since=time.time(), error=str(failure), free_port=free), tell)
        return failure

    def _failure(self, error: PacskitError | OSError) -> ServiceError:
        """The seed's sentence, then what a person can do something with."""
        head = f"{self.title} cannot be run. Error message:"
        if not isinstance(error, PortTaken):
            reason = error.strerror if isinstance(error, OSError) else None
            return ServiceError(f"{head} {reason or error}")
        holder = holder_of(error.port) if error.in_use else ""
        by = f" by {holder or 'another program'}" if error.in_use else ""
        below = error.port if error.port >= FIRST_ORDINARY_PORT else self.usual_port - 1
        free = free_port(error.host, below)
        problem = str(error)
        return PortTaken(
            f"{head} The address is protected. {problem[0].upper()}{problem[1:]}{by}: {error.reason}."
            + (f" Port {free} is free." if free else ""),
            host=error.host,
            port=error.port,
            reason=error.reason,
            in_use=error.in_use,
            holder=holder,
            free_port=free,
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that shares its port with nobody. Raises PortTaken or ServiceError at once."""
    try:
        return sockets.listen(host, port)
    except OSError as error:
        raise cannot_listen(error, host, port) from error


def cannot_listen(error: OSError, host: str, port: int) -> ServiceError:
    """What a failed bind means: PortTaken, or ServiceError where the address is none of ours."""
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return PortTaken(f"on {host} port {port} is taken", host=host, port=port, reason=reason)
    if error.errno == errno.EACCES:
        rights = "needs an administrator's rights" if port < FIRST_ORDINARY_PORT else "is not permitted"
        return PortTaken(f"port {port} {rights}", host=host, port=port, reason=reason, in_use=False)
    if error.errno == errno.EADDRNOTAVAIL:
        return ServiceError(
            f"{host} is not an address of this computer: "
            "use 0.0.0.0 for the network, 127.0.0.1 for this computer"
        )
    return ServiceError(f"cannot listen on {host}:{port}: {reason}")
