"""The handshake test: what a TLS server, ours or a peer's, does; with the settings that are saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pacskit.certificates import HandshakeReport, Identity, RevocationLists, TrustedList, try_handshake
from pacskit.settings.fields import check_host, check_port
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.buttons import button
from pacskit.widgets.errand import Errand
from pacskit.widgets.form import Form
from pacskit.widgets.listener_facts import EVERYWHERE
from pacskit.widgets.part import Part


class HandshakeBox(Part):
    """Host and port, our own listener's where nobody says another."""

    CARRIERS = 2

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        super().__init__(station, form, touched, ready)
        self._errand = Errand(touched)
        self._report: HandshakeReport | None = None
        self._said = ""

    def draw(self) -> None:
        host, port = self._own_address()
        self.carriers[0].show(
            '<div class="pk-box" role="group" aria-label="Handshake test"><div class="pk-line">'
            + _field("host", "Server", host)
            + _field("port", "its port", port)
            + button("test:", "Test handshake")
            + '</div><div class="pk-quiet">Connects to a TLS server and says what it does; with the saved '
            "trusted list, certificate and profile.</div></div>"
        )
        self.carriers[1].show(self._told())

    def close(self) -> None:
        self._errand.end()
        super().close()

    def _own_address(self) -> tuple[str, str]:
        status = self._station.slots["secure_listener"].status
        if not status.running:
            return "", ""
        return "127.0.0.1" if status.host in EVERYWHERE else status.host, str(status.port)

    def _hear(self, message: Mapping[str, Any]) -> None:
        values = message.get("values")
        if message.get("key") != "test:" or not isinstance(values, Mapping) or self._errand.busy:
            return
        host, port = (str(values.get(name, "")).strip() for name in ("host", "port"))
        self._report, self._said = None, ""
        try:
            found, number = check_host(host), check_port(port)
            if not isinstance(number, int) or not number:
                raise ValueError("a server's port is a number from 1 to 65535")
        except ValueError as error:
            self._said = f"{host or 'Host'}:{port or 'port'} is no server: {error}"
            return
        self._errand.begin(lambda: self._test(found, number))

    def _test(self, host: str, port: int) -> None:
        settings = self._station.settings.secure_listener
        identity = Identity.of(settings).read()
        self._report = try_handshake(
            host,
            port,
            trusted=TrustedList.of(settings.trusted),
            profile=settings.tls_profile,
            identity=identity if identity.ok else None,
            revoked=RevocationLists.read(settings.crl),
        )

    def _told(self) -> str:
        if self._errand.busy:
            return '<div class="pk-line" role="status">Connecting …</div>'
        if failure := self._said or self._errand.failure:
            return f'<div class="pk-alert" role="alert">▲ {words.text(failure)}</div>'
        if (report := self._report) is None:
            return ""
        rows = [("Server", report.address), ("Version", report.version), ("Suite", report.suite)]
        rows += [("Signed by" if number else "Certificate", line) for number, line in enumerate(report.chain)]
        cells = "".join(
            f'<tr><th scope="row">{label}</th><td>{words.text(value)}</td></tr>'
            for label, value in rows
            if value
        )
        look, mark = ("pk-done", "✓") if report.ok else ("pk-alert", "▲")
        verdict = words.text(f"{report.verdict[:1].upper()}{report.verdict[1:]}")
        told = f'<b role="status">{mark} {verdict}</b><table>{cells}</table>'
        return f'<div class="{look} pk-handshake">{told}</div>'


def _field(name: str, label: str, value: str) -> str:
    return (
        f'<label class="pk-{name}">{label} <input type="text" data-value="{name}" data-focus="{name}" '
        f'data-put="{words.text(value)}" data-enter="test:" spellcheck="false" autocomplete="off" '
        f'value="{words.text(value)}"></label>'
    )
