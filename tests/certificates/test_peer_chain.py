"""The contract of peer_chain.py with Python's `ssl`: what it takes beyond the public API is there."""

from __future__ import annotations

import socket
import ssl

import pytest
from cryptography import x509
from hospital import Lab
from shaking import Server, s_client

from pacskit.certificates.peer_chain import Watch, verified_chain

pytestmark = pytest.mark.peer("openssl")


class Chains(Server):
    """Also keeps what was shown, and what was verified."""

    seen: tuple[list[str], list[str]]

    def _run(self) -> None:
        really = self.handshakes.admit

        def admit(sock: ssl.SSLSocket):  # type: ignore[no-untyped-def]
            self.seen = names(self.handshakes.shown(sock)), names(verified_chain(sock))
            before = sock.context
            peer = really(sock)
            assert sock.context is not before
            assert sock.context._msg_callback is None  # type: ignore[attr-defined]
            assert self.handshakes.shown(sock) == ()
            return peer

        self.handshakes.admit = admit  # type: ignore[method-assign]
        super()._run()


def names(chain: tuple[x509.Certificate, ...]) -> list[str]:
    return [c.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value for c in chain]  # type: ignore[misc]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_what_a_peer_showed_and_what_was_verified(lab: Lab, serve: type[Server], version: str) -> None:
    server = Chains(lab.handshakes())
    client = lab.clients["right, by intermediate"]
    assert s_client(server.port, lab.ours.root, client, version=version).served
    assert server.outcome().peer
    sent = ["ward-scanner", "ward-scanner", "Ward CA"]  # openssl sends -cert, then all of -cert_chain
    assert server.seen == (sent, ["ward-scanner", "Ward CA", "Hospital Root"])


def test_nothing_is_kept_of_connections_that_are_gone(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes())
    for _ in range(3):
        s_client(server.port, lab.ours.root, lab.clients["wrong root"])
        assert "stranger" in server.outcome().reason
    server.close()
    assert len(server.handshakes._watch._shown) == 0


@pytest.mark.parametrize("message", [b"", b"\x0b\0\0\0", b"\x0b\0\0\x09\0\0\x06\0\0\x03abc", b"\x0b" * 500])
def test_a_message_that_is_no_certificate_harms_nobody(message: bytes) -> None:
    watch = Watch(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    sock = socket.socket()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        watch._message(sock, "read", version, 22, 11, message)
    assert watch.shown(sock) == ()  # type: ignore[arg-type]
    sock.close()
