"""The status strip: what the listener does, where it is reached, who is connected, what came last."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import pandas as pd

from pacskit.events import InstanceStored
from pacskit.services.base import State
from pacskit.widgets import words

# Told apart by shape as well as by colour.
_MARKS = {State.RUNNING: "●", State.STOPPED: "○", State.FAILED: "▲"}


class Shown(Protocol):
    """What the strip needs of a station."""

    settings: Any
    listener: Any
    events: Any

    @property
    def closed(self) -> bool: ...


def address(station: Shown) -> str:
    """`host:port` to send to; the settings' own while the listener does not run."""
    status, wanted = station.listener.status, station.settings.listener
    host, port = (status.host, status.port) if status.running else (wanted.host, wanted.port)
    if host in ("0.0.0.0", "::"):
        host = address_of_this_computer()
    return f"{host}:{port}" if port else f"{host}, any free port"


def address_of_this_computer() -> str:
    """The IPv4 address others reach it at: that of the interface towards the network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: connecting a UDP socket only looks up a route
            found: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return found


def html(station: Shown) -> str:
    status = station.listener.status
    state = "closed" if station.closed else str(status.state)
    mark = _MARKS[State.STOPPED if station.closed else status.state]
    facts = [
        ("Address", address(station)),
        ("AE title", station.settings.listener.ae_title),
        ("Associations", _associations(station) if status.running else "0"),
        ("Last received", _last(station)),
    ]
    cells = "".join(
        f'<span class="pk-fact"><span class="pk-quiet">{label}</span> {words.text(value)}</span>'
        for label, value in facts
    )
    error = (
        f'<div class="pk-error" role="alert">▲ {words.text(status.error)}</div>'
        if status.error and not status.running
        else ""
    )
    return (
        f'<div class="pk-strip" role="status"><span class="pk-state pk-{state}">'
        f'<span class="pk-mark" aria-hidden="true">{mark}</span> DICOM Listener <b>{state}</b></span>'
        f"{cells}</div>{error}"
    )


def _associations(station: Shown) -> str:
    now = station.listener.associations()
    who = ", ".join(sorted({association.calling for association in now if association.calling}))
    return f"{len(now)} ({who})" if who else str(len(now))


def _last(station: Shown) -> str:
    stored = station.events.recent(InstanceStored)
    if not stored:
        return "nothing yet"
    last = stored[-1]
    return f"{words.time_of(pd.Timestamp(last.at, unit='s', tz='UTC'))} from {last.received_from}"
