"""What may come at a port with TLS, or at the open one beside it: refused with a sentence, and it serves on."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from pacskit.dimse.client import echo
from pacskit.events import AssociationClosed, AssociationRefused
from pacskit.peers import PeerAddress
from tests.certificates.hospital import Lab
from tests.dimse.secured import HERE, PATIENCE, RELEASE_RP, Secured, associate_rq, running, store_begins

HTTP = b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n"
NO_TLS = "the client does not speak TLS here (plain DICOM on the TLS port?)"


def say(port: int, *pieces: bytes) -> bytes:
    """What comes back until the end."""
    heard = b""
    with socket.create_connection((HERE, port), PATIENCE) as sock, contextlib.suppress(ConnectionError):
        for piece in pieces:
            sock.sendall(piece)
        while data := sock.recv(4096):
            heard += data
    return heard


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (associate_rq(), NO_TLS),
        (HTTP, "a web browser called the DICOM port"),
        (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "a web browser called the DICOM port"),
        (bytes(range(1, 200)), "TLS"),
        (bytes(1000), "TLS"),
        (b"\x16\x03\x01\xff\xff" + bytes(300), "what the client sent is no TLS"),
        (b"\x16\x03\x01\x00\x10" + b"\xff" * 16, "TLS"),
        (b"\x17\x03\x03\x00\x10" + bytes(16), "TLS"),
    ],
)
def test_at_the_port_with_tls(secured: Secured, said: bytes, sentence: str) -> None:
    heard = say(secured.port, said)
    assert heard[:1] in (b"", b"\x15"), "an alert at the most"
    (reason,) = secured.reasons()
    assert sentence in reason, reason


def test_at_the_open_port(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, {"enabled": True}) as secured:
        listener = secured.station.listener
        with (
            socket.create_connection((HERE, listener.status.port), PATIENCE) as sock,
            contextlib.suppress(OSError),
            secured.context(None).wrap_socket(sock, server_hostname="localhost"),
        ):
            pytest.fail("no handshake is possible here")
        for said in (HTTP, b"POST / HTTP/1.1\r\n\r\n", b"\xee" * 100):
            say(listener.status.port, said)
        assert echo(PeerAddress("PACSKIT", HERE, listener.status.port)).done  # one thread takes them in order
        other, post, get, tls = [refusal.reason for refusal in listener.refusals()]
        wanted = "the peer speaks TLS, it has to call the Secure DICOM Listener's port"
        assert tls == f"did not speak DICOM: 16H is no type of PDU: {wanted}"
        assert get.endswith("47H is no type of PDU: the peer speaks HTTP, as a web browser does")
        assert post.endswith("50H is no type of PDU: the peer speaks HTTP, as a web browser does")
        assert other.endswith("EEH is no type of PDU: does the peer speak DICOM?")


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions(secured: Secured, version: str) -> None:
    right = secured.lab.clients["right"]
    done = secured.openssl(right, version, "-cipher", "ALL:@SECLEVEL=0")
    assert RELEASE_RP not in done.stdout
    assert "knows only TLS versions that the profile rfc9325 does not allow" in secured.reasons()[0]


@pytest.mark.peer("openssl")
def test_compression(secured: Secured) -> None:
    done = secured.openssl(secured.lab.clients["right"], "-tls1_2", "-comp")
    assert b"Compression: NONE" in done.stdout
    assert RELEASE_RP in done.stdout


@pytest.mark.peer("openssl")
def test_renegotiation(secured: Secured) -> None:
    """In TLS 1.2: the peer is told no, and goes."""
    command = secured.openssl_command(secured.lab.clients["right"], "-tls1_2")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"R\n")
        client.stdin.flush()
        assert client.wait(PATIENCE) != 0
        said = client.stdout.read()
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said
    assert secured.pynetdicom(secured.lab.clients["right"]).is_established


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(
    "kind", ["none", "wrong root", "expired", "not yet valid", "wrong use", "same name, other key"]
)
def test_unwelcome_clients_leave_nothing(secured: Secured, kind: str) -> None:
    """One refusal each, and the connection is closed; the sentences are in tests/certificates."""
    assert RELEASE_RP not in secured.openssl(secured.lab.clients[kind]).stdout
    assert len(secured.reasons()) == 1
    acceptor = secured.slot.current._acceptor
    assert acceptor is not None
    assert acceptor.waiting == 0


class ByHand:
    """TLS in memory: its records go, and come, as the test wants it."""

    def __init__(self, secured: Secured, sock: socket.socket, most: ssl.TLSVersion) -> None:
        context = secured.context(secured.lab.clients["right"])
        context.maximum_version = most
        self.sock, self.incoming, self.outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake(self) -> bytes:
        """The last flight of ours, not sent yet."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                self.receive()
            else:
                return self.outgoing.read()
            if not self.outgoing.pending:
                continue

    def shake_but_finished(self) -> bytes:
        """In TLS 1.2 the handshake waits for the server's end: the second flight, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.send()
        while not self.outgoing.pending:
            self.receive()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
        return self.outgoing.read()

    def send(self) -> None:
        self.sock.sendall(self.outgoing.read())

    def receive(self) -> None:
        data = self.sock.recv(65536)
        assert data
        self.incoming.write(data)

    def write(self, data: bytes) -> bytes:
        """The records of it, not sent."""
        self.tls.write(data)
        return self.outgoing.read()

    def associate(self) -> None:
        self.sock.sendall(self.shake())
        self.sock.sendall(self.write(associate_rq()))
        while True:
            try:
                assert self.tls.read(6)[0] == 2
            except ssl.SSLWantReadError:
                self.receive()
            else:
                return


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["truncated", "reset", "bad record", "alert", "plain text"])
def test_cut_in_the_middle_of_a_data_set(secured: Secured, how: str, version: ssl.TLSVersion) -> None:
    """Nothing of it is stored, whichever way the connection is spoilt."""
    with (
        secured.station.events.queue(AssociationClosed) as closed,
        socket.create_connection((HERE, secured.port), PATIENCE) as sock,
    ):
        peer = ByHand(secured, sock, version)
        peer.associate()
        sock.sendall(peer.write(store_begins(60_000, bytes(30_000))))
        if how == "truncated":
            sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        elif how == "bad record":
            record = bytearray(peer.write(bytes(5000)))
            record[-1] ^= 1
            sock.sendall(record)
        elif how == "plain text":
            sock.sendall(bytes(5000))
        else:
            peer.incoming.write(b"\x17\x03\x03\x00\x40" + bytes(64))
            with contextlib.suppress(ssl.SSLError):
                while True:
                    peer.tls.read(100)
            alert = peer.outgoing.read()
            assert alert[0] in (0x15, 0x17)
            sock.sendall(alert)
        event = closed.get(PATIENCE)
        assert event is not None
        assert event.how == "lost"
        assert event.stored == 0
        assert event.reason
        told = event.reason.startswith("TLS broke off: ")
        assert told == (how in ("bad record", "alert", "plain text")), event.reason
        assert "_ssl.c" not in event.reason, "where in Python's code helps nobody"
    assert secured.station.studies().empty
    assert not list((secured.station.archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_alert_in_the_middle_of_a_handshake(secured: Secured, version: ssl.TLSVersion) -> None:
    """The client does not know who signed our certificate."""
    context = ssl.create_default_context(cafile=str(secured.lab.other.root))
    context.maximum_version = version
    with socket.create_connection((HERE, secured.port), PATIENCE) as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="localhost")
    assert secured.reasons() == [
        "the client does not know who signed our certificate: give it the root certificate"
    ]


def test_two_hundred_wrong_handshakes_are_counted(secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "pacskit"),
        secured.station.events.queue(AssociationRefused, size=1000) as refused,
    ):
        for _ in range(200):
            say(secured.port, associate_rq())
        (reason,) = secured.reasons()
        told = refused.drain()
    (refusal,) = secured.slot.refusals()
    assert (refusal.count, refusal.address) == (200, HERE)
    assert 0 < refusal.first < refusal.last
    assert reason.startswith(NO_TLS)
    lines = [
        record
        for record in caplog.records
        if "refused" in record.getMessage() and NO_TLS in record.getMessage()
    ]
    assert 1 <= len(told) <= 5
    assert len(lines) == len(told)
    assert secured.slot.totals().associations == 1
