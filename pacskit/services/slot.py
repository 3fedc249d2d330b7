"""Slot: a service's place; who holds it need not care that a change of settings is a new Service."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pacskit.services.base import Service, Status

V = TypeVar("V", bound=Service)


class Slot(Generic[V]):
    """The service that runs or would run, and the earlier ones whose work has not ended yet."""

    def __init__(self, make: Callable[[Any], V], settings: Any) -> None:
        """`make(settings)` gives a service for a snapshot, not yet started."""
        self.make = make
        self.changing = threading.RLock()
        """Held while the service in it starts, stops or is replaced."""
        self.obstacle = ""
        """Why it must not start, a sentence; what runs goes on."""
        self._services: tuple[V, ...] = (make(settings),)  # replaced whole, so any thread may read it

    @property
    def current(self) -> V:
        return self._services[-1]

    @property
    def retired(self) -> tuple[V, ...]:
        """Earlier services that still have something to finish, oldest first."""
        return self.services()[:-1]

    def services(self) -> tuple[V, ...]:
        """The retired ones and the current one, of one moment. What has ended is dropped."""
        before = self._services
        found = (*filter(_alive, before[:-1]), before[-1])
        if len(found) < len(before) and self.changing.acquire(blocking=False):
            try:
                self._services = (*filter(_alive, self._services[:-1]), self.current)
            finally:
                self.changing.release()
        return found

    @property
    def settings(self) -> Any:
        return self.current.settings

    @property
    def status(self) -> Status:
        return self.current.status

    def start(self) -> None:
        """Raises ServiceError (PortTaken) with nothing left running, also where there is an obstacle."""
        with self.changing:
            if self.obstacle:
                self.current.give_up(self.obstacle)
            self.current.start()

    def stop(self) -> None:
        """The port is free and nothing runs any more, the retired ones' work included. Safe to call twice."""
        with self.changing:
            for service in reversed(self._services):
                service.stop()
            self._services = self._services[-1:]

    def put(self, service: V) -> None:
        """Make it the current one. The one before retires, and is kept while it has something to finish."""
        with self.changing:
            before = self.current
            earlier = (other for other in self._services if other is not service and _alive(other))
            self._services = (*earlier, service)
            before.retire(tell=False)  # not earlier: at no moment does the slot show a service that ended
            self.services()

    def keep(self, service: V) -> None:
        """Let a retired one, which was never the current one, finish what it has taken."""
        with self.changing:
            if service.draining:
                self._services = (service, *self._services)


def _alive(service: Service) -> bool:
    return service.status.running or service.draining
