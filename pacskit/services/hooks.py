"""Hooks: a person's command for an event, so that a month without anybody looking does not end unnoticed.

The command gets the event as JSON on its standard input and as PACSKIT_* variables: UIDs, AE titles and
sentences, never a patient's name. One thread runs them, one after the other; who publishes never waits.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shlex
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from pacskit.events import (
    AssociationRefused,
    CertificateExpiring,
    Event,
    EventBus,
    ServiceChanged,
    StorageLow,
    StudyStable,
)
from pacskit.settings import values
from pacskit.settings.layers import variable
from pacskit.settings.models import SECTIONS, HooksSettings

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds a command may take; then it is ended."""
REST = 60.0
"""Seconds until a command is run again for the same: a refused scanner tries every few seconds."""
MOST_WAITING = 100
_REMEMBERED = 1000

Choose = Callable[[Any], str | None]
"""What of an event is the same thing twice; None: the hook is not for this event."""

_HOOKS: dict[str, tuple[type[Event], Choose]] = {
    "peer_refused": (AssociationRefused, lambda event: f"{event.calling} {event.address} {event.reason}"),
    "study_stable": (StudyStable, lambda event: event.study_uid),
    "storage_low": (StorageLow, lambda event: "storage"),
    "certificate_expiring": (
        CertificateExpiring,
        lambda event: f"{event.service} {event.what} {event.subject}",
    ),
    "service_down": (ServiceChanged, lambda event: event.service if event.state == "failed" else None),
}
"""Setting → event and choice."""


class Hooks:
    """Follows one bus; ends with `close()`."""

    def __init__(self, settings: HooksSettings, events: EventBus) -> None:
        self.settings = settings
        self._waiting: deque[tuple[str, str, Event, int]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._subscription = events.subscribe(Event, self._hear)
        self._last: dict[tuple[str, str], float] = {}
        self._skipped: dict[tuple[str, str], int] = {}
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="pacskit-hooks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What waits is no longer run; a command under way is ended."""
        self._subscription.close()
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        if (process := self._running) is not None:
            process.terminate()
        self._thread.join(5)

    def _hear(self, event: Event) -> None:
        """In the publisher's thread: note what has a command, and is not the same as a moment ago."""
        for hook, (kind, choose) in _HOOKS.items():
            command = getattr(self.settings, hook, None)
            if command and isinstance(event, kind) and (what := choose(event)) is not None:
                with self._changed:
                    full = self._closed or len(self._waiting) >= MOST_WAITING
                    if not full and (skipped := self._due(hook, what)) >= 0:
                        self._waiting.append((hook, command, event, skipped))
                        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft()
            try:
                self._call(*job)
            except Exception:
                log.exception("the hook %s failed", job[0])

    def _due(self, hook: str, what: str) -> int:
        """-1: it has just been told. Else how often the same was left out since."""
        key, now = (hook, what), time.monotonic()
        if now - self._last.get(key, -REST) < REST:
            self._skipped[key] = self._skipped.get(key, 0) + 1
            return -1
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
            self._skipped.clear()
        self._last[key] = now
        return self._skipped.pop(key, 0)

    def _call(self, hook: str, command: str, event: Event, skipped: int) -> None:
        told = _told(hook, event, skipped)
        variables = {f"PACSKIT_{name.upper()}": str(value) for name, value in told.items()}
        try:
            self._running = subprocess.Popen(
                shlex.split(command, posix=os.name == "posix"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**_without_secrets(os.environ), **variables},
            )
            if self._closed:
                self._running.terminate()
            _, errors = self._running.communicate(json.dumps(told).encode() + b"\n", timeout=PATIENCE)
            if self._running.returncode:
                last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
                log.warning("the command of hooks.%s ended with %d: %s", hook, self._running.returncode, last)
        except subprocess.TimeoutExpired:
            assert self._running is not None
            self._running.kill()
            self._running.communicate()
            log.warning("the command of hooks.%s took more than %g s and was ended", hook, PATIENCE)
        except (OSError, ValueError) as error:
            log.warning("the command of hooks.%s cannot be run: %s", hook, error)
        finally:
            self._running = None


def _told(hook: str, event: Event, skipped: int) -> Mapping[str, Any]:
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    plain = {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in fields.items()
    }
    return {"hook": hook, "event": type(event).__name__, **plain, "left_out": skipped}


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """A command does not need the passwords that we are started with."""
    secret = {
        variable(f"{section}.{name}")
        for section, kind in SECTIONS.items()
        for name in kind.model_fields
        if values.is_secret(kind, name)
    }
    return {name: value for name, value in environment.items() if name.upper() not in secret}
