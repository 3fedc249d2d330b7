"""Handshakes with our rules: what OpenSSL does not check is checked, and a refusal gets its sentence.

No thread and no waiting here: whoever owns the socket drives `do_handshake`, blocking or not, and then calls
`admit` once, or `explain` with what was raised.

    handshakes = Handshakes.server("rfc9325", identity.read(), verify=True, trusted=trusted, revoked=lists)
    sock = handshakes.wrap(connection)
    try:
        sock.do_handshake()
        peer = handshakes.admit(sock)
    except (OSError, PeerRefused) as error:
        reason = handshakes.explain(error, sock)
"""

from __future__ import annotations

import socket
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from pacskit.certificates.identity import IdentityState
from pacskit.certificates.naming import fingerprint, now_utc, short_name, subject_line, validity
from pacskit.certificates.peer_chain import Watch, verified_chain
from pacskit.certificates.reasons import Role, explain, unreadable
from pacskit.certificates.revocation import RevocationLists
from pacskit.certificates.suites import ProfileName
from pacskit.certificates.tls import client_context, server_context
from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError

_REMEMBERED = 10_000
"""Peers whose sessions may be resumed; one beyond it makes a new connection."""


class PeerRefused(CertificateError):
    """The handshake was done, and the peer is not accepted all the same."""

    http_status = 403


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Who a peer is, verified."""

    subject: str
    issuer: str
    fingerprint: str
    """SHA-256 with colons: what a peer's entry is bound to (`tls_identity`)."""
    valid_to: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> PeerCertificate:
        return cls(
            subject_line(certificate),
            short_name(certificate.issuer),
            fingerprint(certificate),
            certificate.not_valid_after_utc,
        )


class Handshakes:
    """One context, and what belongs to it. Any change of trust, lists or identity: another one."""

    def __init__(
        self,
        context: ssl.SSLContext,
        role: Role,
        profile: ProfileName,
        trusted: TrustedList,
        revoked: RevocationLists,
    ) -> None:
        self.context, self.profile, self.trusted, self.revoked = context, profile, trusted, revoked
        self._role: Role = role
        self._watch = Watch(context)
        self._admitted: OrderedDict[bytes, None] = OrderedDict()

    @classmethod
    def server(
        cls,
        profile: ProfileName,
        identity: IdentityState,
        *,
        verify: bool,
        trusted: TrustedList,
        revoked: RevocationLists | None = None,
    ) -> Handshakes:
        """Raises CertificateError where the identity cannot be used."""
        context = server_context(profile, identity, verify=verify, trusted=trusted)
        return cls(context, "server", profile, trusted, revoked or RevocationLists())

    @classmethod
    def client(
        cls,
        profile: ProfileName,
        *,
        trusted: TrustedList,
        identity: IdentityState | None = None,
        verify: bool = True,
        check_hostname: bool = True,
        revoked: RevocationLists | None = None,
    ) -> Handshakes:
        """Raises CertificateError where the identity cannot be used."""
        context = client_context(
            profile, trusted=trusted, identity=identity, verify=verify, check_hostname=check_hostname
        )
        return cls(context, "client", profile, trusted, revoked or RevocationLists())

    @property
    def verifies(self) -> bool:
        return self.context.verify_mode is ssl.CERT_REQUIRED

    def judges_as(self, other: Handshakes) -> bool:
        """Whether both admit the same peers: only our own certificate may differ."""
        return (self.verifies, self.profile, self.trusted, self.revoked) == (
            other.verifies,
            other.profile,
            other.trusted,
            other.revoked,
        )

    def wrap(self, sock: socket.socket, server_hostname: str | None = None) -> ssl.SSLSocket:
        """The socket with TLS on it; nothing is sent or read before `do_handshake`."""
        return self.context.wrap_socket(
            sock,
            server_side=self._role == "server",
            do_handshake_on_connect=False,
            server_hostname=server_hostname,
        )

    def shown(self, sock: ssl.SSLSocket) -> tuple[x509.Certificate, ...]:
        """Before `admit`: what the peer showed, unverified; empty: nothing, or a resumed session."""
        return self._watch.shown(sock)

    def admit(self, sock: ssl.SSLSocket) -> PeerCertificate | None:
        """After the handshake, once, before anything is read. None: not verified, so nobody is known.

        Raises PeerRefused for a revoked certificate, for one that has ended since its session began, and for
        one that OpenSSL takes though it breaks the rules of ASN.1.
        """
        try:
            return self._admit(sock)
        except ValueError as error:
            raise PeerRefused(unreadable(self._role, error)) from None

    def _admit(self, sock: ssl.SSLSocket) -> PeerCertificate | None:
        chain = verified_chain(sock) if self.verifies else ()
        self._watch.unwatch(sock)
        if not chain:
            if self.verifies:
                raise PeerRefused("the peer was not verified")
            return None
        own = chain[0]
        if sock.session_reused:
            self._judge_resumed(own)
        elif reason := self.revoked.refusal(chain, self.trusted):
            raise PeerRefused(f"the certificate {reason}")
        else:
            self._admitted[own.tbs_certificate_bytes] = None
            if len(self._admitted) > _REMEMBERED:
                self._admitted.popitem(last=False)
        return PeerCertificate.of(own)

    def _judge_resumed(self, own: x509.Certificate) -> None:
        """A resumed session passes by OpenSSL's checks and its ticket went out before ours: it counts only
        where its full handshake was admitted here, with these very lists."""
        if own.tbs_certificate_bytes not in self._admitted:
            raise PeerRefused("the session was not admitted here: the peer has to begin a new one")
        if (dates := validity(own, now_utc())).startswith("expired"):
            raise PeerRefused(f"the certificate ({subject_line(own)}) {dates}: it needs a new one")

    def explain(self, error: BaseException, sock: ssl.SSLSocket | None = None) -> str:
        """Why it failed, without full stop: for log, live table and test."""
        if isinstance(error, CertificateError):
            return str(error)
        chain = self._watch.shown(sock) if sock is not None else ()
        return explain(error, self._role, chain=chain, trusted=self.trusted, profile=self.profile)
