"""The status strip: what the listener does, where it is reached, who is connected, what came last."""

from __future__ import annotations

import pandas as pd

from pacskit.events import InstanceStored
from pacskit.services import reach
from pacskit.services.base import State
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.listener_facts import EVERYWHERE, MARKS


def address(station: Station) -> str:
    """`host:port` to send to; the settings' own while the listener does not run."""
    status, wanted = station.listener.status, station.listener.settings
    host, port = (status.host, status.port) if status.running else (wanted.host, wanted.port)
    if host in EVERYWHERE:
        host = reach.address_of_this_computer()
    return f"{host}:{port}" if port not in (0, "auto") else f"{host}, any free port"


def html(station: Station) -> str:
    status = station.listener.status
    state = "closed" if station.closed else str(status.state)
    mark = MARKS[State.STOPPED if station.closed else status.state]
    facts = [
        ("Address", address(station)),
        ("AE title", station.listener.settings.ae_title),
        ("Associations", _associations(station) if status.running else "0"),
        ("Last received", _last(station)),
    ]
    cells = "".join(
        f'<span class="pk-fact"><span class="pk-quiet">{label}</span> {words.text(value)}</span>'
        for label, value in facts
    )
    wrong = [*station.troubles.values()]
    if count := len(station.problems):
        what = "one problem" if count == 1 else f"{count} problems"
        wrong.append(f"There {'is' if count == 1 else 'are'} {what} in the settings: see Services.")
    if status.error and not status.running:
        wrong.insert(0, status.error)
    error = "".join(
        f'<div class="pk-error" role="alert">▲ {words.text(text)}</div>' for text in dict.fromkeys(wrong)
    )
    return (
        f'<div class="pk-strip"><span class="pk-state pk-{state}">'
        f'<span class="pk-mark" aria-hidden="true">{mark}</span> DICOM Listener '
        f'<b role="status">{state}</b></span>{cells}</div>{error}'
    )


def _associations(station: Station) -> str:
    now = station.listener.associations()
    who = ", ".join(sorted({association.calling for association in now if association.calling}))
    return f"{len(now)} ({who})" if who else str(len(now))


def _last(station: Station) -> str:
    stored = station.events.recent(InstanceStored)
    if not stored:
        return "nothing yet"
    last = stored[-1]
    return f"{words.time_of(pd.Timestamp(last.at, unit='s', tz='UTC'))} from {last.received_from}"
