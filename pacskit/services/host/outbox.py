"""Outbox: what waits to be sent to one client. Bounded: a client that stopped costs the owner no more.

Answers, the newest state and how far each work is always get there; of the events the oldest are dropped,
and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pacskit.events import ArchiveFailed, Event, EventBus, ServiceChanged, SettingsChanged
from pacskit.services.host import plain
from pacskit.services.host.wire import Message

QUEUE = 10_000
"""Events that may wait for one client."""
BATCH = 500
"""Events in one message."""
PACE = 0.02
"""Seconds that events are gathered for: a wake-up for each would cost the receiving threads their turn."""
CHANGES_STATE = (ServiceChanged, SettingsChanged, ArchiveFailed)


class Outbox:
    """Any thread puts in; one thread takes out."""

    def __init__(self, events: EventBus, state: Callable[[], Mapping[str, Any]], size: int = QUEUE) -> None:
        self._bus, self._state = events, state
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=size)
        self._others: list[Message] = []
        self._progress: dict[int, Any] = {}
        self._dropped = 0
        self._state_due = self._closed = False
        self._replayed: dict[int, Event] = {}
        self._subscription: Any = None

    def follow(self) -> None:
        """From now on the state and all events, those of late included."""
        self._subscription = self._bus.subscribe(Event, self._hear)
        with self._changed:
            recent = self._bus.recent(Event)
            self._replayed = {id(event): event for event in recent}
            came = [event for event in self._events if id(event) not in self._replayed]
            self._events.clear()
            self._events.extend([*recent, *came])  # of those of late, as many as may wait
            self._state_due = True
            self._changed.notify_all()

    def put(self, message: Message, *, state: bool = False) -> None:
        """An answer; with `state`, the state as it then is goes first."""
        with self._changed:
            self._state_due |= state and self._subscription is not None
            self._others.append(message)
            self._changed.notify_all()

    def progress(self, number: int, value: Any) -> None:
        """How far the work of this question is; an older figure that still waits is replaced."""
        with self._changed:
            self._progress[number] = value
            if len(self._progress) == 1:
                self._changed.notify_all()

    def take(self) -> list[Message]:
        """Wait for something; in this order: state, events, progress, answers.

        Empty: closed, and nothing waits.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._events or self._others or self._progress or self._state_due or self._closed
            )
            self._changed.wait_for(lambda: self._others or self._state_due or self._closed, PACE)
            found, self._replayed = list(self._events), {}
            self._events.clear()
            others, self._others = self._others, []
            progress, self._progress = self._progress, {}
            dropped, self._dropped = self._dropped, 0
            state_due, self._state_due = self._state_due, False
        messages: list[Message] = []
        if state_due or dropped or any(isinstance(event, CHANGES_STATE) for event in found):
            messages.append({"state": self._state()})
        if dropped:
            messages.append({"dropped": dropped})
        messages += [
            {"events": [plain.event(event) for event in found[start : start + BATCH]]}
            for start in range(0, len(found), BATCH)
        ]
        messages += [{"id": number, "progress": value} for number, value in progress.items()]
        return messages + others

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _hear(self, event: Event) -> None:
        with self._changed:
            if id(event) in self._replayed:
                return
            if len(self._events) == self._events.maxlen:
                self._dropped += 1
            self._events.append(event)
            if len(self._events) == 1:
                self._changed.notify_all()
