"""The status strip: what the listeners do, where they are reached, who is connected, what came last."""

from __future__ import annotations

import pandas as pd

from pacskit.events import InstanceStored
from pacskit.services import reach
from pacskit.services.base import State
from pacskit.station import Station
from pacskit.station.core import AnyListenerSlot
from pacskit.widgets import words
from pacskit.widgets.listener_facts import EVERYWHERE, MARKS


def address(slot: AnyListenerSlot) -> str:
    """`host:port` to send to; the settings' own while the listener does not run."""
    status, wanted = slot.status, slot.settings
    host, port = (status.host, status.port) if status.running else (wanted.host, wanted.port)
    if host in EVERYWHERE:
        host = reach.address_of_this_computer()
    return f"{host}:{port}" if port not in (0, "auto") else f"{host}, any free port"


def where_to_send(station: Station) -> str:
    """A sentence for somebody who waits for the first study."""
    places = [
        f"{address(slot)}, AE title {slot.settings.ae_title}{how}"
        for slot, how in ((station.listener, ""), (station.secure_listener, " (with TLS)"))
        if slot.status.running
    ]
    return f"Send to {', or to '.join(places)}." if places else "Start the DICOM Listener to receive studies."


def html(station: Station) -> str:
    secure = station.secure_listener
    lines = [_line(station, station.listener, "DICOM Listener", [("Last received", _last(station))])]
    if secure.settings.enabled or secure.status.state is not State.STOPPED:
        lines.append(_line(station, secure, "Secure DICOM Listener", []))
    wrong = [slot.status.error for slot in (station.listener, secure) if slot.status.error]
    wrong += station.troubles.values()
    if count := len(station.problems):
        what = "one problem" if count == 1 else f"{count} problems"
        wrong.append(f"There {'is' if count == 1 else 'are'} {what} in the settings: see Services.")
    error = "".join(
        f'<div class="pk-error" role="alert">▲ {words.text(text)}</div>' for text in dict.fromkeys(wrong)
    )
    return "".join(lines) + error


def _line(station: Station, slot: AnyListenerSlot, name: str, more: list[tuple[str, str]]) -> str:
    status = slot.status
    state = "closed" if station.closed else str(status.state)
    mark = MARKS[State.STOPPED if station.closed else status.state]
    facts = [
        ("Address", address(slot)),
        ("AE title", slot.settings.ae_title),
        ("Associations", _associations(slot) if status.running else "0"),
        *more,
    ]
    cells = "".join(
        f'<span class="pk-fact"><span class="pk-quiet">{label}</span> {words.text(value)}</span>'
        for label, value in facts
    )
    return (
        f'<div class="pk-strip"><span class="pk-state pk-{state}">'
        f'<span class="pk-mark" aria-hidden="true">{mark}</span> {name} '
        f'<b role="status">{state}</b></span>{cells}</div>'
    )


def _associations(slot: AnyListenerSlot) -> str:
    now = slot.associations()
    who = ", ".join(sorted({association.calling for association in now if association.calling}))
    return f"{len(now)} ({who})" if who else str(len(now))


def _last(station: Station) -> str:
    stored = station.events.recent(InstanceStored)
    if not stored:
        return "nothing yet"
    last = stored[-1]
    return f"{words.time_of(pd.Timestamp(last.at, unit='s', tz='UTC'))} from {last.received_from}"
