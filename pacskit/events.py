"""Frozen events, and the one bus that carries them from service threads to whoever listens.

A receiver is called in the publisher's thread, so it must be quick and must not block; whoever
wants to take his time takes a queue (bounded: the oldest go first, and are counted).
"""

from __future__ import annotations

import inspect
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Immutable, so any thread may read it."""

    at: float = field(default_factory=time.time)
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(Event):
    """A service started, stopped or failed; its whole status is `station.<service>.status`."""

    service: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChanged(Event):
    """Settings are others now, by a person, a program, or a file that another process wrote.

    `error` says why a service could not follow; it goes on with its old settings.
    """

    sections: frozenset[str]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationOpened(Event):
    association: int
    calling: str
    called: str
    address: str
    tls: str = ""
    """Version and cipher suite; empty: an open connection."""
    identity: str = ""
    """The subject of the caller's certificate, where it was verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationClosed(Event):
    """An association ended. `how`: released, aborted, lost, timeout, protocol error, stopped."""

    association: int
    calling: str
    address: str
    how: str
    reason: str = ""
    stored: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRefused(Event):
    """An A-ASSOCIATE-RQ was answered with A-ASSOCIATE-RJ (or never came: `calling` is empty).

    Of one that goes on being refused only some are told, each with how often it has been by then.
    """

    calling: str
    called: str
    address: str
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStored(Event):
    """An instance is in the archive (its row may follow a moment later)."""

    sop_instance_uid: str
    series_uid: str
    study_uid: str
    received_from: str
    bytes: int
    duplicate: bool = False
    """The same content was here already: nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSetAside(Event):
    """Another content came under the UID of a stored instance: it is kept apart, and not served."""

    sop_instance_uid: str
    study_uid: str
    """The stored instance's."""
    received_from: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceDamaged(Event):
    """A stored file is no longer what was stored, or cannot be read."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLow(Event):
    """The archive's disk gets full; told once for each step."""

    free: int
    """Bytes."""
    limit: int
    """Bytes; with less than this free, instances are refused."""
    full_in: float | None
    """Seconds until that limit if it goes on so; None where that cannot be said."""
    refusing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRefused(Event):
    sop_instance_uid: str
    received_from: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StudiesChanged(Event):
    """Rows of these studies were committed to the index."""

    study_uids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStable(Event):
    """Nothing more of this study came for `archive.stable_after` seconds: it may be complete.

    Comes again when more came later; at least once, also over a restart.
    """

    study_uid: str
    series: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudiesExpired(Event):
    """Studies over `archive.keep_days` or `archive.keep_size` went to the trash, or will in a day."""

    study_uids: frozenset[str]
    bytes: int
    planned: bool
    """Nothing was done yet: the limits are new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictFound(Event):
    """Two patients under one ID, or one study under two patients: kept apart, for a person to solve."""

    study_uid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFailed(Event):
    """The index can no longer be written; the services stop taking instances."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateExpiring(Event):
    """A certificate that a service works with ends within 30 days, or has ended; told once a day."""

    service: str
    what: str
    """certificate: the service's own; signing certificate: one that comes with it; trusted certificate."""
    subject: str
    valid_to: datetime
    days_left: int
    """Whole days; negative: it has ended."""


E = TypeVar("E", bound=Event)


class Subscription:
    """Ends with `close()`, or when the receiver's owner is garbage."""

    def __init__(self, bus: EventBus, kind: type[Event], reference: Callable[[], Any]) -> None:
        self.kind, self.reference, self._bus = kind, reference, bus

    def close(self) -> None:
        self._bus._forget(self)


class EventQueue(Generic[E]):
    """Events of one kind, waiting for one reader; the oldest are dropped, and counted, when it is slow."""

    def __init__(self, bus: EventBus, kind: type[E], size: int) -> None:
        self.dropped = 0
        self._events: deque[E] = deque(maxlen=size)
        self._filled = threading.Condition()
        self._closed = False
        self._subscription = bus.subscribe(kind, self._put)

    def _put(self, event: E) -> None:
        with self._filled:
            if len(self._events) == self._events.maxlen:
                self.dropped += 1
            self._events.append(event)
            self._filled.notify()

    def get(self, timeout: float | None = None) -> E | None:
        """The next event; None after `timeout` seconds, or once closed and empty."""
        with self._filled:
            self._filled.wait_for(lambda: self._events or self._closed, timeout)
            return self._events.popleft() if self._events else None

    def drain(self) -> list[E]:
        """All that wait now."""
        with self._filled:
            events = list(self._events)
            self._events.clear()
            return events

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._subscription.close()
        with self._filled:
            self._closed = True
            self._filled.notify_all()

    def __enter__(self) -> EventQueue[E]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[E]:
        while (event := self.get()) is not None:
            yield event


class EventBus:
    """Publish from any thread; nobody can make a publisher fail or wait."""

    def __init__(self, remember: int = 1000) -> None:
        self._lock = threading.Lock()
        self._subscriptions: tuple[Subscription, ...] = ()
        self._recent: deque[Event] = deque(maxlen=remember)

    def subscribe(self, kind: type[E], receiver: Callable[[E], None]) -> Subscription:
        """Call `receiver` with each event of `kind`. Bound methods are held weakly."""
        bound = inspect.ismethod(receiver)  # a list.append is no method: it would die at once
        reference: Callable[[], Any] = weakref.WeakMethod(receiver) if bound else lambda: receiver
        subscription = Subscription(self, kind, reference)
        with self._lock:
            self._subscriptions += (subscription,)
        return subscription

    def queue(self, kind: type[E], size: int = 10_000) -> EventQueue[E]:
        return EventQueue(self, kind, size)

    def publish(self, event: Event) -> None:
        """Never raises: a broken receiver is logged, the others still hear."""
        with self._lock:
            self._recent.append(event)
        for subscription in self._subscriptions:
            if not isinstance(event, subscription.kind):
                continue
            receiver = subscription.reference()
            if receiver is None:
                self._forget(subscription)
                continue
            try:
                receiver(event)
            except Exception:
                log.exception("an event's receiver failed: %s", type(event).__name__)

    def recent(self, kind: type[E]) -> list[E]:
        """The last events of this kind, oldest first."""
        with self._lock:
            return [event for event in self._recent if isinstance(event, kind)]

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
