"""The handshake test: what a TLS server, ours or a peer's, does, in words."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from pacskit.certificates.handshake import Handshakes, PeerRefused
from pacskit.certificates.identity import IdentityState
from pacskit.certificates.naming import certificate_name, key_type, now_utc, short_name, validity, weaknesses
from pacskit.certificates.reasons import unreadable
from pacskit.certificates.revocation import RevocationLists
from pacskit.certificates.suites import ProfileName
from pacskit.certificates.trust import TrustedList


@dataclass(frozen=True, slots=True)
class HandshakeReport:
    """What one test found. `str()` is for people."""

    address: str
    ok: bool
    """The handshake was done, the server verified, and it took us."""
    verdict: str
    version: str = ""
    suite: str = ""
    chain: tuple[str, ...] = ()
    """A line for each certificate the server showed, its own first."""

    def __str__(self) -> str:
        rows = [("server", self.address), ("version", self.version), ("suite", self.suite)]
        rows += [
            ("certificate" if not number else "signed by", line) for number, line in enumerate(self.chain)
        ]
        rows += [("result", self.verdict)]
        return "\n".join(f"{name:12}{value}" for name, value in rows if value)


def try_handshake(
    host: str,
    port: int,
    *,
    trusted: TrustedList,
    profile: ProfileName = "rfc9325",
    identity: IdentityState | None = None,
    revoked: RevocationLists | None = None,
    server_name: str | None = None,
    patience: float = 10.0,
) -> HandshakeReport:
    """Connect, shake hands, say what was found, and leave. Raises CertificateError for an unusable identity.

    `server_name` is what the server's certificate has to be for, else `host`. First with verification;
    where that fails once more without, so that version and chain are told all the same.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    name = server_name or host
    strict = Handshakes.client(profile, trusted=trusted, identity=identity, revoked=revoked)
    try:
        with _connected(host, port, patience) as plain, strict.wrap(plain, name) as sock:
            try:
                return _shaken(strict, sock, address)
            except ssl.SSLCertVerificationError as error:
                verdict = strict.explain(error, sock)
            except (OSError, PeerRefused) as error:
                return HandshakeReport(address, False, strict.explain(error, sock))
        lax = Handshakes.client(profile, trusted=trusted, identity=identity, verify=False)
        found = HandshakeReport(address, False, verdict)
        with (
            contextlib.suppress(ssl.SSLError, PeerRefused),
            _connected(host, port, patience) as plain,
            lax.wrap(plain, name) as sock,
        ):
            found = _shaken(lax, sock, address)
        return HandshakeReport(address, False, verdict, found.version, found.suite, found.chain)
    except TimeoutError:
        return HandshakeReport(address, False, f"nobody answered for {patience:g} s")
    except OSError as error:
        return HandshakeReport(address, False, f"no connection: {error.strerror or error}")


@contextlib.contextmanager
def _connected(host: str, port: int, patience: float) -> Iterator[socket.socket]:
    with socket.create_connection((host, port), patience) as sock:
        yield sock


def _shaken(handshakes: Handshakes, sock: ssl.SSLSocket, address: str) -> HandshakeReport:
    """Raises OSError, PeerRefused."""
    sock.do_handshake()
    shown, now = handshakes.shown(sock), now_utc()
    try:
        lines = [_line(certificate, now) for certificate in shown]
    except ValueError as error:
        raise PeerRefused(unreadable("client", error)) from None
    version, suite = sock.version() or "", (sock.cipher() or ("",))[0]
    peer = handshakes.admit(sock)
    # TLS 1.3: a server that refuses our certificate says so after the handshake. We send nothing more (a
    # server that has hung up would answer with a reset) but our end, and listen: what comes is the refusal.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
    try:
        sock.recv(1)
    except ssl.SSLError as error:  # OpenSSL's answer to an end without goodbye: it had let us in
        if not (error.reason or "").endswith(("ALERT_DECODE_ERROR", "EOF_WHILE_READING")):
            return HandshakeReport(
                address, False, handshakes.explain(error, sock), version, suite, tuple(lines)
            )
    except TimeoutError:
        pass  # it waits for more, so it let us in
    verdict = f"verified: {peer.subject}" if peer is not None else "not verified"
    return HandshakeReport(address, peer is not None, verdict, version, suite, tuple(lines))


def _line(certificate: x509.Certificate, now: datetime) -> str:
    """Raises ValueError for what is no certificate by the rules."""
    remarks = [key_type(certificate), validity(certificate, now), *weaknesses(certificate)]
    signer = short_name(certificate.issuer) if certificate.subject != certificate.issuer else "itself"
    return f"{certificate_name(certificate)}, signed by {signer} ({', '.join(filter(None, remarks))})"
