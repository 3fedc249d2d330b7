"""A certificate that OpenSSL takes and that breaks the rules of ASN.1: refused in words, on either side."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hospital import Lab
from shaking import Server, s_client

from pacskit.certificates import Authority, TrustedList, try_handshake
from pacskit.certificates.authority import Issued, Use

NAME = b"Klinikum_Nord"
KINDS = {"underscore": b"\x13\x0dKlinikum_Nord", "Latin-1": b"\x14\x0dKlinikum_N\xe4rd"}
"""A PrintableString has no underscore (X.680 41.4); old scanners say T61String and mean Latin-1."""


def broken(authority: Authority, use: Use, folder: Path, kind: str) -> Issued:
    """Its name is no such string as it says, and the authority has signed that."""
    issued = authority.issue(NAME.decode(), use=use, names=["127.0.0.1"])
    certificate = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    key = load_pem_private_key((authority.folder / "root.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    body = certificate.tbs_certificate_bytes
    name = b"\x0c" + bytes([len(NAME)]) + NAME
    assert name in body
    body = body.replace(name, KINDS[kind])
    signature = b"\0" + key.sign(body, ec.ECDSA(hashes.SHA256()))
    whole = certificate.public_bytes(Encoding.DER)
    at = whole.index(certificate.tbs_certificate_bytes) + len(body)
    algorithm = whole[at : at + 2 + whole[at + 1]]
    inside = body + algorithm + bytes([3, len(signature)]) + signature
    path = folder / "broken.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(inside).to_bytes(2) + inside))
    return Issued(path, issued.private_key)


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("kind", KINDS)
def test_a_client(lab: Lab, serve: type[Server], tmp_path: Path, kind: str) -> None:
    own = Authority.create(tmp_path / "own")
    server = serve(lab.handshakes(trusted=TrustedList().add(own.root)))
    assert not s_client(server.port, lab.ours.root, broken(own, "client", tmp_path, kind)).served
    assert "the client's certificate cannot be read" in server.outcome().reason


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("underscore", "the server's certificate cannot be read"),
        ("Latin-1", "is for another name or address"),  # OpenSSL cannot compare names then
    ],
)
def test_a_server_that_is_tried(tmp_path: Path, kind: str, verdict: str) -> None:
    own = Authority.create(tmp_path / "own")
    issued = broken(own, "server", tmp_path, kind)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.private_key)

    def serve() -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                connection, _ = listening.accept()
                with (
                    contextlib.suppress(OSError),
                    connection,
                    context.wrap_socket(connection, server_side=True) as sock,
                ):
                    sock.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        report = try_handshake(
            "127.0.0.1", port, trusted=TrustedList().add(own.root), server_name=NAME.decode()
        )
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(20)
    assert not report.ok
    assert verdict in report.verdict
