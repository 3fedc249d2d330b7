"""What a DICOM listener's panel tells beside its form: how it runs, and what to enter at the scanner."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pacskit.services import reach
from pacskit.services.base import State
from pacskit.widgets import words

# Told apart by shape as well as by colour.
MARKS = {State.RUNNING: "●", State.STOPPED: "○", State.FAILED: "▲"}
EVERYWHERE = ("0.0.0.0", "::")
REFUSED = 4
"""Refusals that are listed."""
THIS_COMPUTER = ("127.0.0.1", "::1", "localhost")


def choices() -> list[tuple[str, str]]:
    """What "Reachable from" offers: the network, this computer, and each address of its own."""
    offered = [("the network", "0.0.0.0"), ("this computer only", "127.0.0.1")]
    for address in reach.addresses("::"):
        if address.ip not in (*THIS_COMPUTER, *(value for _, value in offered)):
            offered.append((f"{address.ip} only ({address.kind})", address.ip))
    return offered


def state(slot: Any, *, closed: bool = False) -> str:
    """How the listener in this slot runs: since when, where, who is connected, what came, who was refused."""
    status, totals = slot.status, slot.totals()
    name = "closed" if closed else str(status.state)
    facts = [("Associations", f"{len(slot.associations())} open, {totals.associations} so far")]
    facts.append(("Received", _count(totals.stored)))
    facts.append(("Refused", f"{_count(totals.refused)}, {totals.associations_refused} associations"))
    if status.running:
        since = words.time_of(pd.Timestamp(status.since, unit="s", tz="UTC"))
        where = f"since {since} at {_place(status.host, status.port)}, AE title {slot.settings.ae_title}"
    else:
        where, facts = "", facts if totals.associations else []
    cells = "".join(_fact(label, value) for label, value in facts)
    return (
        f'<div class="pk-strip"><span class="pk-state pk-{name}"><span class="pk-mark" aria-hidden="true">'
        f'{MARKS[status.state]}</span> <b role="status">{name}</b> '
        f"{words.text(where)}</span>{cells}</div>{_refused(slot)}"
    )


def _refused(slot: Any) -> str:
    """The last ones, each reason of each caller once."""
    lines = []
    for refusal in getattr(slot, "refusals", list)()[:REFUSED]:
        last = words.time_of(pd.Timestamp(refusal.last, unit="s", tz="UTC"))
        who = f"{refusal.calling} ({refusal.address})" if refusal.calling else refusal.address
        often = f"{refusal.count:,} times, last {last}" if refusal.count > 1 else f"at {last}"
        lines.append(
            f"<li>■ {words.text(who)} – {words.text(refusal.reason)} "
            f'<span class="pk-quiet">{words.text(often)}</span></li>'
        )
    return f'<ul class="pk-refused" aria-label="Refused">{"".join(lines)}</ul>' if lines else ""


def scanner(slot: Any, entries: tuple[tuple[str, str], ...] = (), told: str = "") -> str:
    """What to enter at the scanner, each ready to copy; what may be in the way, and who can mend it.

    `entries`: more rows, (label, HTML); `told`: HTML below them.
    """
    status = slot.status
    title = slot.settings.ae_title
    host = status.host if status.running else slot.settings.host
    port = status.port if status.running else slot.settings.port
    found = reach.addresses(host)
    shown = sorted(found, key=lambda address: not address.reachable)
    number = "any free one, known once it runs" if port in (0, "auto") else str(port)
    hosts = "".join(_address(address) for address in shown)
    entries = (
        ("AE title", copied(title)),
        ("Port", copied(number) if number.isdigit() else words.text(number)),
        ("Host", hosts),
        *entries,
    )
    rows = "".join(f'<tr><th scope="row">{label}</th><td>{html}</td></tr>' for label, html in entries)
    notes = [] if status.running else ["The listener does not run yet: check Enable and click OK."]
    if host in THIS_COMPUTER:
        notes.append(
            "Only programs on this computer reach it. For a scanner, choose “the network” at Reachable from."
        )
    else:
        if not any(address.reachable for address in found):
            notes.append(reach.surroundings() or "This computer has no address that others could reach now.")
        elif surroundings := reach.surroundings():
            notes.append(surroundings)
        if not slot.settings.accept_unknown:
            notes.append(
                "Senders on the network are answered (C-ECHO), but what they send is stored only with "
                "“Accept unknown senders”, under More settings."
            )
    text = "".join(f"<p>{words.text(note)}</p>" for note in notes)
    if host not in THIS_COMPUTER and number.isdigit():
        text += "<p>If the scanner gets no answer, a firewall may be in the way. "
        if command := reach.firewall_command(int(number)):
            text += f"An administrator lets it through with:</p>{copied(command)}"
        else:
            text += f"An administrator lets TCP port {number} through.</p>"
    return (
        '<section class="pk-scanner" aria-label="At the scanner"><h4>Enter at the scanner</h4>'
        f"<table>{rows}</table>{told}{text}</section>"
    )


def _address(address: reach.Address) -> str:
    note = ", ".join(part for part in (address.kind, address.interface, address.note) if part)
    off = "" if address.reachable else " pk-off"
    quiet = f'<span class="pk-quiet">{words.text(note)}</span>'
    return f'<div class="pk-address{off}">{copied(address.ip)} {quiet}</div>'


def copied(value: Any) -> str:
    text = words.text(value)
    return (
        f'<span class="pk-copied"><code>{text}</code> <button type="button" class="pk-copy" '
        f'data-copy="{text}" data-focus="copy:{text}" aria-label="Copy {text}">Copy</button></span>'
    )


def _fact(label: str, value: str) -> str:
    return f'<span class="pk-fact"><span class="pk-quiet">{label}</span> {words.text(value)}</span>'


def _count(number: int) -> str:
    return f"{number:,} instance{'' if number == 1 else 's'}".replace(",", " ")


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
