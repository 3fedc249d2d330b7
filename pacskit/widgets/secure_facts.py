"""What the Secure DICOM Listener's panel tells beside its form: what TLS clients need, what to beware of."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509

from pacskit.certificates import NOBODY, PROFILES, Identity, IdentityState, missing
from pacskit.certificates.naming import days_left, fingerprint, now_utc
from pacskit.certificates.suites import ProfileName
from pacskit.settings.models import SecureListenerSettings
from pacskit.station import Station
from pacskit.widgets import listener_facts, words
from pacskit.widgets.form import Form
from pacskit.widgets.newest import Newest
from pacskit.widgets.part import Part

AGAIN = 2.0
"""Seconds after which the certificate's file is looked at again."""

ANYBODY = "Not verified: every client is accepted, whoever it is"


def remarks(form: Form) -> Mapping[str, str]:
    """On what is allowed and should be known, by field."""
    raw = {name: field.raw for name, field in form.fields.items()}
    found = {"tls_profile": PROFILES[raw["tls_profile"]].warning}
    if not raw["verify_peer"]:
        found["verify_peer"] = ANYBODY
    elif not raw["trusted"]:
        found["trusted"] = NOBODY
    return found


def state(station: Station) -> str:
    return listener_facts.state(station.slots["secure_listener"], closed=station.closed)


class SecureBeside(Part):
    """What to enter at the scanner, TLS included."""

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        super().__init__(station, form, touched, ready)
        self._own: Newest[Identity, IdentityState] = Newest(Identity.read, touched, AGAIN)

    def draw(self) -> None:
        slot = self._station.slots["secure_listener"]
        state = self._own.ask(Identity.of(slot.settings))
        self.carriers[0].show(_scanner(slot, state.certificate if state is not None else None))

    def close(self) -> None:
        self._own.end()
        super().close()


def _scanner(slot: Any, own: x509.Certificate | None) -> str:
    settings: SecureListenerSettings = slot.settings
    profile = PROFILES[settings.tls_profile]
    lowest = profile.lowest
    versions = "1.0 to 1.3" if lowest is ssl.TLSVersion.MINIMUM_SUPPORTED else "1.2 and 1.3"
    client = (
        "needed: a certificate that one of the trusted authorities signed"
        if settings.verify_peer
        else "not needed: every client is accepted"
    )
    entries = [
        ("TLS", f'{versions} <span class="pk-quiet">{words.text(profile.title)}</span>'),
        ("Client certificate", words.text(client)),
    ]
    if own is not None:
        left = days_left(own, now_utc())
        until = f"{own.not_valid_after_utc:%Y-%m-%d}"
        told = f"until {until}, {words.count(left, 'day')} left" if left >= 0 else f"▲ expired on {until}"
        printed = f'SHA-256 <span class="pk-small">{listener_facts.copied(fingerprint(own))}</span>'
        entries.append(("Our certificate", f"{words.text(told)}<br>{printed}"))
    told = ""
    if profile.warning:
        told += f'<p class="pk-loud" role="alert"><b>▲ {words.text(profile.warning)}.</b></p>'
    if settings.verify_peer and not settings.trusted:
        told += f'<p class="pk-loud">▲ {words.text(NOBODY)}.</p>'
    if lacking := _missing(settings.tls_profile):
        names = words.text(", ".join(lacking))
        head = f"<summary>Suites of the profile that this OpenSSL lacks: {len(lacking)}</summary>"
        told += f'<details class="pk-quiet">{head}{names}</details>'
    return listener_facts.scanner(slot, tuple(entries), told)


@functools.cache
def _missing(profile: ProfileName) -> tuple[str, ...]:
    return missing(profile)
