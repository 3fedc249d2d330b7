"""Settings and files that change while secure associations are open, and the end of the service."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacskit.dimse.command import echo_rq
from pacskit.errors import ServiceError
from pacskit.events import AssociationClosed
from pacskit.services import credentials
from tests.certificates.hospital import Lab
from tests.dimse.secured import HERE, PATIENCE, RELEASE_RP, Secured, associate_rq, running, store_begins

CT = Path(str(get_testdata_file("CT_small.dcm")))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trusted": "other"}, "is signed by Hospital Root, which is not on the trusted list"),
        ({"crl": "ours"}, "was revoked on"),
    ],
)
def test_open_ones_finish_and_new_ones_see_the_new_rules(
    secured: Secured, change: dict[str, str], reason: str
) -> None:
    lab = secured.lab
    values = {"trusted": [str(lab.other.root)], "crl": [lab.revocation]}
    stolen = lab.clients["revoked"]
    since = secured.slot.status.since
    with secured.station.events.queue(AssociationClosed) as closed:
        association = secured.pynetdicom(stolen)
        assert association.is_established
        secured.change(**{name: values[name] for name in change})
        assert not secured.pynetdicom(stolen).is_established
        assert reason in secured.reasons()[0] + secured.reasons()[-1]
        assert association.send_c_store(pydicom.dcmread(CT)).Status == 0
        association.release()
        while (event := closed.get(5)) and event.stored == 0:
            pass
        assert event is not None
        assert event.how == "released"
    assert secured.slot.status.since == since


@pytest.mark.parametrize("shaken", [True, False])
def test_who_connected_before_sees_the_new_rules(tmp_path: Path, lab: Lab, shaken: bool) -> None:
    """Whether it has shaken hands by the old rules, or has only a connection."""
    with (
        running(tmp_path, lab, verify_peer=False) as secured,
        socket.create_connection((HERE, secured.port), PATIENCE) as plain,
    ):
        with contextlib.ExitStack() as stack:
            context = secured.context(None)
            peer = context.wrap_socket(plain, server_hostname="localhost") if shaken else None
            secured.reasons()  # the one thread of the listener has taken it
            secured.change(verify_peer=True)
            with pytest.raises(OSError) if not shaken else contextlib.nullcontext():
                if peer is None:
                    peer = context.wrap_socket(plain, server_hostname="localhost")
                stack.enter_context(peer)
                peer.sendall(associate_rq())
                assert peer.recv(100) == b""
        assert secured.slot.associations() == []
        wanted = "shook hands by rules that have changed meanwhile" if shaken else "showed no certificate"
        assert [reason for reason in secured.reasons() if wanted in reason]


@pytest.mark.peer("openssl")
def test_another_profile(secured: Secured) -> None:
    suite = ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM")
    right = secured.lab.clients["right"]
    assert RELEASE_RP not in secured.openssl(right, *suite).stdout
    assert "no cipher suite in common with the profile rfc9325: " in secured.reasons()[0]
    secured.change(tls_profile="rfc9325-modified")
    assert RELEASE_RP in secured.openssl(right, *suite).stdout


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("change", ["nothing", "ae_title", "trusted", "crl", "certificate"])
def test_sessions_are_resumed_until_the_rules_change(
    secured: Secured, tmp_path: Path, change: str, version: str
) -> None:
    lab, session = secured.lab, tmp_path / "session"
    right = lab.clients["right"]
    assert RELEASE_RP in secured.openssl(right, version, "-sess_out", session).stdout
    other = lab.ours.issue("pacs-2027", folder=tmp_path)
    values: dict[str, Any] = {
        "ae_title": "PACSKIT_TLS",
        "trusted": [str(lab.ours.root), str(lab.other.root)],
        "crl": [lab.revocation],
        "certificate": other.certificate,
    }
    more = {"private_key": other.private_key} if change == "certificate" else {}
    if change != "nothing":
        secured.change(**{change: values[change]}, **more)
    done = secured.openssl(right, version, "-sess_in", session)
    assert RELEASE_RP in done.stdout
    assert (b"Reused, TLS" in done.stdout) == (change in ("nothing", "ae_title"))


def test_a_broken_certificate_leaves_the_old_one_serving(secured: Secured, tmp_path: Path) -> None:
    """Whoever calls all the time meets no closed port."""
    before, troubles, over = secured.slot.status, [], threading.Event()
    once = threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                socket.create_connection((HERE, before.port), 5).close()
                once.set()
            except OSError as error:
                troubles.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert once.wait(PATIENCE)
    (tmp_path / "broken.crt").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
    with pytest.raises(ServiceError, match="Error message: Incorrect certificate"):
        secured.change(certificate=tmp_path / "broken.crt")
    over.set()
    caller.join(PATIENCE)
    assert not troubles
    assert (secured.slot.status.port, secured.slot.status.since) == (before.port, before.since)
    assert secured.slot.settings.certificate == secured.lab.server.certificate
    assert secured.pynetdicom(secured.lab.clients["right"]).is_established


def test_renewal_without_a_break(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner calls all the time, another one's association stays open; the files are replaced."""
    monkeypatch.setattr(credentials, "INTERVAL", 0.02)
    newer = lab.ours.issue("pacs", folder=tmp_path / "newer")

    def put(source: Path) -> None:
        shutil.copy(source, tmp_path / "new")
        os.replace(tmp_path / "new", tmp_path / f"own{source.suffix}")

    for source in (lab.server.certificate, lab.server.private_key):
        put(source)
    files = {"certificate": tmp_path / "own.crt", "private_key": tmp_path / "own.key"}
    with running(tmp_path, lab, **files) as secured:

        def call() -> bytes:
            """The certificate we showed to an association that was served and released."""
            with secured.hand() as sock, sock.makefile("rb") as stream:
                shown = sock.getpeercert(binary_form=True)
                sock.sendall(associate_rq() + b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")
                assert stream.read().endswith(RELEASE_RP)
            assert shown
            return shown

        old = call()
        open_one = secured.pynetdicom(lab.clients["right"])
        put(newer.private_key)
        for _ in range(5):
            assert call() == old, "half a renewal"
        put(newer.certificate)
        deadline = threading.Timer(PATIENCE, lambda: None)
        deadline.start()
        while (new := call()) == old:
            assert deadline.is_alive(), "it was not taken up"
        deadline.cancel()
        first = newer.certificate.read_text().split("-----END")[0] + "-----END CERTIFICATE-----\n"
        assert new == ssl.PEM_cert_to_DER_cert(first)
        assert open_one.send_c_store(pydicom.dcmread(CT)).Status == 0
        open_one.release()
        assert not secured.slot.refusals()


def test_stop_in_the_middle_of_everything(secured: Secured) -> None:
    """Handshakes that stall at each stage, a silent one, half a data set: all end, the port is free."""
    port = secured.port
    with (
        socket.create_connection((HERE, port), PATIENCE) as nothing,
        socket.create_connection((HERE, port), PATIENCE) as half,
        secured.hand() as silent,
        secured.hand() as sending,
    ):
        half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        sending.sendall(associate_rq())
        assert sending.recv(6)[0] == 2
        sending.sendall(store_begins(60_000, bytes(30_000)))
        secured.reasons()
        secured.slot.stop()
        socket.create_server((HERE, port)).close()
        assert nothing.recv(1) == b""
        for sock in (half, silent, sending):
            try:
                while sock.recv(4096):
                    pass
            except (ssl.SSLError, ConnectionError):
                pass
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("pacskit-association", "pacskit-cert"))]
    assert secured.station.studies().empty
    assert not list((secured.station.archive.folder / "incoming").iterdir())
    secured.slot.start()
    assert secured.pynetdicom(secured.lab.clients["right"]).is_established


def test_stop_aborts_a_peer_that_does_not_read(secured: Secured) -> None:
    """It asks and asks and takes no answer: writing to it stalls, and stop() returns all the same."""
    echo = b"\x04\x00\x00\x00\x00\x4a\x00\x00\x00\x46\x03\x03" + _c_echo()
    with secured.hand() as sock:
        sock.sendall(associate_rq())
        assert sock.recv(6)[0] == 2
        sock.settimeout(1.0)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.sendall(echo * 1000)
        secured.slot.stop()
    assert secured.slot.associations() == []


def _c_echo() -> bytes:
    command = echo_rq(1)
    assert len(command) + 2 == 0x46
    return command
