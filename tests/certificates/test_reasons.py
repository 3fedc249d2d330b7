"""Failed handshakes in words, for both roles, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hospital import LONG_AGO, Lab
from shaking import PATIENCE, Server, s_client

from pacskit.certificates import Authority, TrustedList
from pacskit.certificates.authority import Issued
from pacskit.certificates.reasons import explain, spoken

A_ASSOCIATE_RQ = b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00" + b"PACSKIT         " * 12


@pytest.mark.parametrize(
    ("first", "sentence", "name"),
    [
        (A_ASSOCIATE_RQ, "the client does not speak TLS here (plain DICOM on the TLS port?)", "plain DICOM"),
        (b"GET / HTTP/1.1\r\n\r\n", "a web browser called the DICOM port", "HTTP"),
        (b"", "the client closed the connection during the handshake", ""),
        (b"\x16\x03\x01\x00\x05hello", "what the client sent", "TLS"),
        (b"\xff" * 64, "the client does not speak TLS here", ""),
    ],
)
def test_what_is_no_tls(lab: Lab, serve: type[Server], first: bytes, sentence: str, name: str) -> None:
    server = serve(lab.handshakes())
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(first)
        with contextlib.suppress(OSError):  # it may have hung up already
            sock.shutdown(socket.SHUT_WR)
        assert sentence in server.outcome().reason
    assert spoken(first) == name


def test_a_stalled_handshake(lab: Lab) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.01)
    handshakes = lab.handshakes()
    with theirs, handshakes.wrap(ours) as sock:
        with pytest.raises(TimeoutError) as caught:
            sock.do_handshake()
        assert handshakes.explain(caught.value, sock) == "the client did not finish the handshake in time"


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_that_does_not_know_our_authority(lab: Lab, serve: type[Server], version: str) -> None:
    server = serve(lab.handshakes())
    assert not s_client(server.port, lab.other.root, lab.clients["right"], version=version).served
    assert server.outcome().reason == (
        "the client does not know who signed our certificate: give it the root certificate"
    )


@pytest.mark.peer("openssl")
def test_chains_that_break_above_the_leaf(lab: Lab, serve: type[Server], tmp_path: Path) -> None:
    """A missing intermediate, a self-signed client, an authority that has ended, one that is none."""
    server = serve(lab.handshakes())

    def refused(certificate: bytes, key: Path, trusted: TrustedList | None = None) -> str:
        server.handshakes = lab.handshakes(trusted=trusted)
        file = tmp_path / "shown.crt"
        file.write_bytes(certificate)
        assert not s_client(server.port, lab.ours.root, Issued(file, key)).served
        return server.outcome().reason

    ward = lab.clients["right, by intermediate"]
    assert ward
    leaf = x509.load_pem_x509_certificates(ward.certificate.read_bytes())[0]
    assert "(ward-scanner) is signed by Ward CA, which is not on the trusted list: add Ward CA" in refused(
        leaf.public_bytes(serialization.Encoding.PEM), ward.private_key
    )
    root = lab.other.folder / "root"
    assert "(Other Root) is self-signed and not on the trusted list: add it there" in refused(
        root.with_suffix(".crt").read_bytes(), root.with_suffix(".key")
    )
    old = Authority.create(tmp_path / "old", name="Old Root", start=LONG_AGO, days=30)
    late, late_key = signed_by(old, "late")(tmp_path)
    assert "(late) is signed by Old Root, which expired on 2020-01-31; it is on the trusted list" in refused(
        late, late_key, TrustedList().add(old.root, knowingly=True)
    )
    child, child_key = signed_by(lab.ours, "grandchild", lab.server)(tmp_path)  # a server signs nobody
    assert "was signed by a certificate that is no authority" in refused(child, child_key)


def signed_by(
    authority: Authority, name: str, leaf: Issued | None = None
) -> Callable[[Path], tuple[bytes, Path]]:
    """A client certificate of today, signed by an authority's key, or by a leaf's, whatever its dates."""
    source = leaf or Issued(authority.root, authority.folder / "root.key")
    issuer = x509.load_pem_x509_certificate(source.certificate.read_bytes())
    issuer_key = serialization.load_pem_private_key(source.private_key.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject).serial_number(9)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9))
    made = builder.public_key(key.public_key()).sign(issuer_key, hashes.SHA256())

    def write(folder: Path) -> tuple[bytes, Path]:
        path = folder / f"{name}.key"
        form = serialization.PrivateFormat.PKCS8
        pem = serialization.Encoding.PEM
        path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        return made.public_bytes(pem) + (issuer.public_bytes(pem) if leaf else b""), path

    return write


def test_a_peers_name_cannot_forge_a_line_of_the_log() -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\n2026 all is well\x1b[2J")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(1)).public_key(key.public_key())
    certificate = builder.sign(key, hashes.SHA256())
    error = ssl.SSLCertVerificationError(1, "")
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    some = TrustedList.of(
        [builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM).decode()]
    )
    sentence = explain(error, "server", chain=[certificate], trusted=some)
    assert "self-signed" in sentence
    assert sentence.isprintable()


@pytest.mark.peer("openssl")
def test_renegotiation_is_refused(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes(verify=False))
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2"]
    run = subprocess.run(
        command, input="R\nQ\n", capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "RENEGOTIATING" in run.stdout + run.stderr
    assert "no renegotiation" in run.stderr


def test_an_unknown_error_gives_openssls_words() -> None:
    error = ssl.SSLError(1, "x")
    error.reason = "SOMETHING_NEW"
    assert explain(error, "server") == "the handshake with the client failed (something new)"
    assert explain(OSError(113, "No route to host"), "client") == (
        "the connection to the server was lost (No route to host)"
    )
