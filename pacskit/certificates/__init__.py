"""Certificates and TLS: who we are, whom we trust, and what a handshake may do. No network service here.

contents    files within limits, told apart          naming      what is said of a certificate
identity    ours, with the seed's status             trust       the trusted list, kept by content
suites      TLS profiles as data                     tls         the one place that makes contexts
handshake   our checks after OpenSSL's               peer_chain  what goes beyond the public API of ssl
revocation  CRLs                                     reasons     refusals in words
probe       the handshake test                       authority   a teaching authority
"""

from pacskit.certificates.authority import Authority
from pacskit.certificates.handshake import Handshakes, PeerCertificate, PeerRefused
from pacskit.certificates.identity import Identity, IdentityState
from pacskit.certificates.probe import HandshakeReport, try_handshake
from pacskit.certificates.revocation import RevocationLists
from pacskit.certificates.suites import PROFILES, missing
from pacskit.certificates.tls import client_context, server_context
from pacskit.certificates.trust import NOBODY, AlreadyTrusted, Doubtful, TrustedList

__all__ = [
    "NOBODY",
    "PROFILES",
    "AlreadyTrusted",
    "Authority",
    "Doubtful",
    "HandshakeReport",
    "Handshakes",
    "Identity",
    "IdentityState",
    "PeerCertificate",
    "PeerRefused",
    "RevocationLists",
    "TrustedList",
    "client_context",
    "missing",
    "server_context",
    "try_handshake",
]
