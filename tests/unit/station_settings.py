"""What the tests of a running station's settings share."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file

from pacskit import Station
from pacskit.dimse.client import echo
from pacskit.errors import (
    AssociationRejected,
)
from pacskit.events import (
    EventQueue,
    SettingsChanged,
)
from pacskit.peers import PeerAddress
from pacskit.settings.files import site_path, user_path

HERE = "127.0.0.1"
RUNNING: dict[str, Any] = {"enabled": True, "host": HERE, "port": 0, "ae_title": "OLD"}
CT = Path(str(get_testdata_file("CT_small.dcm")))
SENTENCE = "Only an administrator can change settings shared by all users."


def write(text: str) -> Path:
    """By hand, as an editor that saves in place."""
    path = user_path()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def unused_port() -> int:
    with socket.create_server((HERE, 0)) as probe:
        return int(probe.getsockname()[1])


def until(events: EventQueue[Any], condition: Callable[[], bool], patience: float = 10.0) -> None:
    """Wait for events, until the condition holds."""
    end = time.monotonic() + patience
    while not condition():
        assert events.get(max(0.0, end - time.monotonic())) is not None, "nothing happened"


def answers(station: Station, title: str) -> bool:
    """Whether the station takes an association for this title; False is a rejection for it (PS3.8 9.3.4)."""
    try:
        return echo(PeerAddress(title, HERE, station.listener.status.port)).done
    except AssociationRejected as error:
        if (error.result, error.source, error.reason) != (1, 1, 7):
            raise
        return False


class Untouched:
    """Inside it nothing of a station changes: not its settings, its service, its file, and nobody is told."""

    def __init__(self, station: Station) -> None:
        self.station = station

    def state(self) -> tuple[object, ...]:
        station, listener = self.station, self.station.listener
        files = [path.read_bytes() if path.exists() else None for path in (user_path(), site_path())]
        status = (listener.status.state, listener.status.host, listener.status.port, listener.status.since)
        explained = [station.settings.explain(f"listener.{n}") for n in ("ae_title", "port", "enabled")]
        return (
            station.settings,
            listener.settings,
            status,
            listener.obstacle,
            station.troubles,
            files,
            explained,
        )

    def __enter__(self) -> None:
        self.before = self.state()
        self.told = self.station.events.queue(SettingsChanged)

    def __exit__(self, *_: object) -> None:
        assert self.state() == self.before
        assert self.told.drain() == []
        self.told.close()
