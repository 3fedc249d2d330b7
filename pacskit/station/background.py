"""Attaching to the process that owns an archive, and starting one that outlives this one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from pacskit.errors import ServiceError
from pacskit.events import EventBus
from pacskit.services.host import places
from pacskit.services.host.client import Channel, NobodyThere
from pacskit.services.host.places import Place
from pacskit.services.host.spawn import spawn
from pacskit.settings import Layer, wire
from pacskit.station.attached import Attached

C = TypeVar("C")
CLOSING_PATIENCE = 30.0
"""Seconds for an owner that ends: its associations get some to end too."""
DEAF_PATIENCE = 2.0
"""Seconds for an owner that does not take the connection, though its process is there."""
NEXT_TRY = 0.05
HOST = ("serve", "--host-control")
"""`python -m pacskit` with these is the process of its own."""


def reach(folder: Path, events: EventBus) -> Attached | None:
    """Attach to the archive's owner; None where no other process can be reached as one.

    One that is just ending is waited for. Raises ServiceError (another version), ArchiveError.
    """
    return _patiently(folder, lambda place: Attached(place, folder, events))


def question(folder: Path) -> Channel | None:
    """A channel to ask and not to follow; None as in `reach`."""
    return _patiently(folder, Channel)


def start(folder: Path, boot: Mapping[str, Any], events: EventBus) -> tuple[Attached, bool]:
    """Attach to the owner; where there is none, start one by `boot` (see `boot()`) first: then True.

    Raises what keeps it from starting: ArchiveOwned, ArchiveError, SettingError, ServiceError.
    """
    with places.starting(folder):
        if (found := reach(folder, events)) is not None:
            return found, False
        spawn(HOST, boot, places.log_folder(folder) / places.ERRORS)
        if (found := reach(folder, events)) is not None:
            return found, True
    log = places.log_folder(folder) / places.LOG
    raise ServiceError(f"the background station ended just after it had started: its log is {log}")


def boot(code: Mapping[str, Mapping[str, Any]], layers: Sequence[Layer], *, lasting: bool) -> dict[str, Any]:
    """What a process of its own starts by. `lasting`: nobody need ever attach to it."""
    return {
        "code": wire.plain_fields(code),
        "layers": [[layer.source, wire.plain_fields(layer.values)] for layer in layers],
        "lasting": lasting,
    }


def _patiently(folder: Path, connect: Callable[[Place], C]) -> C | None:
    pause, begun = threading.Event(), time.monotonic()
    while (place := places.find(folder)) is not None and place.pid != os.getpid():
        if not place.closing:
            try:
                return connect(place)
            except NobodyThere:
                pass
        patience = CLOSING_PATIENCE if place.closing else DEAF_PATIENCE
        if not _lives(place) or time.monotonic() - begun > patience:
            return None
        pause.wait(NEXT_TRY)
    return None


def _lives(place: Place) -> bool:
    try:
        return bool(psutil.Process(place.pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
