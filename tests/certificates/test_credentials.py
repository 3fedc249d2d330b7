"""A service's certificate files, followed: renewed for new associations, never broken by half a renewal."""

from __future__ import annotations

import json
import logging
import os
import queue
import shutil
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hospital import Lab
from shaking import PATIENCE, Server, s_client

from pacskit.certificates import Authority, Handshakes
from pacskit.certificates.authority import Issued
from pacskit.certificates.contents import certificates_in
from pacskit.errors import CertificateError
from pacskit.events import CertificateExpiring, EventBus
from pacskit.services import credentials as module
from pacskit.services.credentials import Credentials
from pacskit.services.hooks import Hooks
from pacskit.services.host import plain
from pacskit.settings.models import HooksSettings, SecureListenerSettings

HALF = "the new certificate cannot be used: Certificate and private key do not match"


@dataclass
class Followed:
    """A service that takes what it is given."""

    credentials: Credentials
    renewed: queue.Queue[Handshakes] = field(default_factory=queue.Queue)
    warnings: queue.Queue[str] = field(default_factory=queue.Queue)

    def follow(self) -> None:
        self.credentials.follow(self.renewed.put, self.warnings.put)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.02)


@pytest.fixture
def follow(quick: None) -> Iterator[Callable[..., Followed]]:
    running: list[Followed] = []

    def made(events: EventBus | None = None, **settings: Any) -> Followed:
        section = SecureListenerSettings(**settings)
        running.append(Followed(Credentials(section, "secure_listener", events or EventBus())))
        running[-1].follow()
        return running[-1]

    yield made
    for each in running:
        each.credentials.close()
    assert "pacskit-certificates" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def files(tmp_path: Path, lab: Lab) -> dict[str, Any]:
    """Settings with a pair of our own, to be renewed."""
    put(tmp_path, lab.server)
    return {"certificate": tmp_path / "pacs.crt", "private_key": tmp_path / "pacs.key"}


def put(folder: Path, issued: Issued, *which: str) -> None:
    """As a careful program renews: each file in one step."""
    for source in (issued.certificate, issued.private_key):
        if source.suffix in (which or (".crt", ".key")):
            shutil.copy(source, folder / "new")
            os.replace(folder / "new", folder / f"pacs{source.suffix}")


def certificate_seen(port: int) -> bytes:
    """What a TLS client is shown, in DER."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE))


def der(issued: Issued) -> bytes:
    return certificates_in(issued.certificate.read_bytes(), "")[0].public_bytes(Encoding.DER)


def test_a_renewal_is_seen_by_new_clients(
    tmp_path: Path,
    lab: Lab,
    files: dict[str, Any],
    follow: Callable[..., Followed],
    serve: type[Server],
    caplog: pytest.LogCaptureFixture,
) -> None:
    followed = follow(**files)
    server = serve(followed.credentials.handshakes)
    assert certificate_seen(server.port) == der(lab.server)
    newer = Authority.create(tmp_path / "newer", name="Newer Root").issue("pacs-2027")
    with caplog.at_level(logging.INFO, "pacskit.services.credentials"):
        put(tmp_path, newer)
        server.handshakes = followed.renewed.get(timeout=PATIENCE)
    assert certificate_seen(server.port) == der(newer)
    assert followed.credentials.identity.status == "pacs-2027, pacskit teaching authority"
    assert "new associations get pacs-2027, pacskit teaching authority (SHA-256 " in caplog.text
    assert followed.warnings.empty()


def test_half_a_renewal_changes_nothing_and_is_told(
    tmp_path: Path, lab: Lab, files: dict[str, Any], follow: Callable[..., Followed]
) -> None:
    followed = follow(**files)
    before = followed.credentials.handshakes
    newer = lab.ours.issue("half", folder=tmp_path / "half")
    put(tmp_path, newer, ".crt")
    told = followed.warnings.get(timeout=PATIENCE)
    assert told.startswith(HALF)
    assert told.endswith("new associations still get the old one")
    assert followed.credentials.handshakes is before
    assert followed.renewed.empty()
    put(tmp_path, newer, ".key")
    assert followed.renewed.get(timeout=PATIENCE) is followed.credentials.handshakes
    assert followed.warnings.get(timeout=PATIENCE) == ""


@pytest.mark.parametrize("gone", ["pacs.crt", "pacs.key"])
def test_a_vanished_file_that_comes_again_is_no_renewal(
    tmp_path: Path, lab: Lab, files: dict[str, Any], follow: Callable[..., Followed], gone: str
) -> None:
    followed = follow(**files)
    before = followed.credentials.handshakes
    (tmp_path / gone).unlink()
    assert "does not exist" in followed.warnings.get(timeout=PATIENCE)
    put(tmp_path, lab.server)
    assert followed.warnings.get(timeout=PATIENCE) == ""
    assert followed.credentials.handshakes is before
    assert followed.renewed.empty()


@pytest.mark.peer("openssl")
def test_a_newly_revoked_client_is_refused(
    tmp_path: Path, files: dict[str, Any], follow: Callable[..., Followed], serve: type[Server]
) -> None:
    authority = Authority.create(tmp_path / "own", name="Own Root")
    client, other = (authority.issue(name, use="client") for name in ("ct", "mr"))
    put(tmp_path, authority.issue("pacs"))
    lists = (authority.write_list(),)
    followed = follow(**files, trusted=(authority.root.read_text(),), verify_peer=True, crl=lists)
    server = serve(followed.credentials.handshakes)
    assert s_client(server.port, authority.root, client).served
    assert server.outcome().peer
    authority.revoke(client.certificate)
    server.handshakes = followed.renewed.get(timeout=PATIENCE)
    s_client(server.port, authority.root, client)
    assert "was revoked on" in server.outcome().reason

    lists[0].write_text("noise")
    assert "the new revocation list cannot be used: root.crl" in followed.warnings.get(timeout=PATIENCE)
    assert followed.renewed.empty()
    newer = authority.issue("pacs-2027")
    put(tmp_path, newer)  # taken up beside a list that cannot be read, which says what it said
    server.handshakes = followed.renewed.get(timeout=PATIENCE)
    assert certificate_seen(server.port) == der(newer)
    assert server.outcome().reason  # that client showed none
    assert s_client(server.port, authority.root, other).served
    assert server.outcome().peer
    s_client(server.port, authority.root, client)
    assert "was revoked on" in server.outcome().reason


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "No certificate. Choose the file of the certificate"),
        ({"private_key": None}, "No private key. Choose the file of the private key"),
        (
            {"certificate": "gone.crt"},
            "Incorrect certificate. gone.crt does not exist: choose the file again",
        ),
        ({"crl": ("pacs.crt",)}, "pacs.crt holds a certificate, no certificate revocation list"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, Any],
    settings: dict[str, Any],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    section = SecureListenerSettings(**(files | settings if settings else {}))
    with pytest.raises(CertificateError) as raised:
        Credentials(section, "secure_listener", EventBus())
    assert str(raised.value).replace(f"{tmp_path}{os.sep}", "") == sentence


def test_it_can_be_closed_from_within_a_callback(
    tmp_path: Path, lab: Lab, files: dict[str, Any], quick: None
) -> None:
    credentials = Credentials(SecureListenerSettings(**files), "secure_listener", EventBus())
    closed = threading.Event()

    def renewed(_: Handshakes) -> None:
        credentials.close()
        closed.set()

    credentials.follow(renewed, lambda _: None)
    put(tmp_path, lab.ours.issue("closing", folder=tmp_path / "closing"))
    assert closed.wait(PATIENCE)
    credentials.close()


def test_what_ends_soon_is_told_once_a_day_and_runs_a_command(
    tmp_path: Path,
    lab: Lab,
    follow: Callable[..., Followed],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    os.mkfifo(tmp_path / "notes")
    script = tmp_path / "note.py"
    script.write_text("import os, sys; open(os.environ['NOTES'], 'a').write(sys.stdin.readline())")
    events = EventBus()
    hooks = Hooks(HooksSettings(certificate_expiring=f'{sys.executable} "{script}"'), events)
    told = events.queue(CertificateExpiring)
    soon = lab.ours.issue("soon", days=10, folder=tmp_path)
    ended = Authority.create(tmp_path / "ended", start=datetime.now(UTC) - timedelta(30), days=20)
    trusted = (lab.ours.root.read_text(), ended.root.read_text())
    files = {"certificate": soon.certificate, "private_key": soon.private_key}
    follow(events, **files, trusted=trusted)
    first, second = told.get(0), told.get(0)
    assert first
    assert second
    assert (first.service, first.what, first.days_left) == ("secure_listener", "certificate", 9)
    assert first.subject == "soon, pacskit teaching authority"
    assert (second.what, second.days_left) == ("trusted certificate", -11)
    assert not told.drain()
    assert (
        "secure_listener: the certificate soon, pacskit teaching authority expires in 9 days" in caplog.text
    )
    assert "teaching authority expired on" in caplog.text
    command = json.loads((tmp_path / "notes").read_text())
    assert (command["hook"], command["days_left"]) == ("certificate_expiring", 9)
    hooks.close()
    assert plain.event_of(json.loads(json.dumps(plain.event(first)))) == first

    monkeypatch.setattr(module, "DAY", timedelta(0))
    again = told.get(PATIENCE)
    assert again
    assert again.subject == first.subject


def test_a_month_before_its_end_and_not_earlier(
    tmp_path: Path, lab: Lab, follow: Callable[..., Followed]
) -> None:
    events = EventBus()
    for days in (31, 32):
        issued = lab.ours.issue(f"in-{days}", days=days, folder=tmp_path)
        follow(events, certificate=issued.certificate, private_key=issued.private_key)
    assert [event.days_left for event in events.recent(CertificateExpiring)] == [30]


def test_what_the_system_refuses_once_is_tried_again(
    tmp_path: Path,
    lab: Lab,
    files: dict[str, Any],
    follow: Callable[..., Followed],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No place for a temporary file while a new list is taken up."""
    authority = Authority.create(tmp_path / "ca")
    client = authority.issue("scanner", use="client")
    lists = (authority.write_list(),)
    followed = follow(**files, trusted=(authority.root.read_text(),), verify_peer=True, crl=lists)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    authority.revoke(client.certificate)
    assert "No temporary file for the certificate" in followed.warnings.get(timeout=PATIENCE)
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert followed.renewed.get(timeout=PATIENCE).revoked.lists[0].revoked
    assert followed.warnings.get(timeout=PATIENCE) == ""
