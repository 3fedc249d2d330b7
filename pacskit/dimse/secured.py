"""What TLS says of a connection: version, suite, and who the peer is, where that was verified."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol


class Verified(Protocol):
    """A `certificates.PeerCertificate`; a worker process does without that package's weight."""

    @property
    def subject(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Secured:
    """Of one connection, after its handshake."""

    version: str
    """`TLSv1.3`."""
    suite: str
    """As OpenSSL names it."""
    peer: Verified | None
    """None: nobody was asked who he is."""

    @classmethod
    def of(cls, sock: ssl.SSLSocket, peer: Verified | None) -> Secured:
        return cls(sock.version() or "", (sock.cipher() or ("",))[0], peer)

    @property
    def identity(self) -> str:
        """The peer's subject; empty where it is not known."""
        return self.peer.subject if self.peer is not None else ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the peer's certificate, with colons; empty where it is not known."""
        return self.peer.fingerprint if self.peer is not None else ""

    def __str__(self) -> str:
        return f"{self.version} {self.suite}"
