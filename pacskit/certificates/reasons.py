"""Failed handshakes in words: who is to blame, and what to do.

`explain` reads what `ssl` raised (OpenSSL's reason, its verify code) and, where it is known, the chain the
peer showed. Peers' names are claims, and are shown as such (naming.clean).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pacskit.certificates.identity import signed
from pacskit.certificates.naming import certificate_name, now_utc, short_name, validity, weaknesses
from pacskit.certificates.trust import NOBODY, TrustedList

Role = Literal["server", "client"]
"""Ours: a server's peer is a client."""

# X509_V_ERR_* of OpenSSL, as in its manual page X509_STORE_CTX_get_error.
_UNKNOWN_ISSUER = (2, 20, 21, 19)
_SELF_SIGNED_LEAF = 18
_DATES = (9, 10)
_FORGED = 7
_WRONG_USE = (26, 92)
_NO_AUTHORITY = (24, 25, 32, 79, 89, 90)
_WEAK = (66, 67, 68)
_OTHER_NAME = (62, 64)

_OURS = {  # what OpenSSL says when it is us who refuse
    "WRONG_VERSION_NUMBER": "the {peer} does not speak TLS here (plain DICOM on the TLS port?): turn TLS on "
    "at the {peer}, or use the open port",
    "HTTP_REQUEST": "a web browser called the DICOM port",
    "HTTPS_PROXY_REQUEST": "a web browser called the DICOM port",
    "UNSUPPORTED_PROTOCOL": "the {peer} knows only TLS versions that the profile {profile} does not allow: "
    "update the {peer}; only where that cannot be, choose the profile legacy",
    "NO_SHARED_CIPHER": "the {peer} has no cipher suite in common with the profile {profile}: update it; "
    "only where that cannot be, choose the profile legacy",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the {peer} showed no certificate: give it one that an authority on "
    "the trusted list signed, or turn Verify peer certificate off",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": "the {peer} is too old for safe renegotiation (RFC 5746)",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the {peer} can check no signature of our certificate's kind of key",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "the {peer} can check no signature of our certificate's kind of key",
    "NO_SUITABLE_KEY_SHARE": "the {peer} has no key exchange in common with us",
    "NO_SHARED_GROUPS": "the {peer} has no key exchange in common with us",
    "DH_KEY_TOO_SMALL": "the {peer} offers a Diffie-Hellman key below 2048 bits",
    "RECORD_LAYER_FAILURE": "what the {peer} sent is no TLS",
    "BAD_RECORD_TYPE": "what the {peer} sent is no TLS",
    "DATA_LENGTH_TOO_LONG": "what the {peer} sent is no TLS",
    "PACKET_LENGTH_TOO_LONG": "what the {peer} sent is no TLS",
    "UNEXPECTED_MESSAGE": "what the {peer} sent does not follow the TLS protocol",
    "BAD_SIGNATURE": "the {peer} does not have the private key of the certificate it showed",
}
_ALERTS = {  # what the peer said when it refused us (RFC 8446 6.2); the beginnings differ between versions
    "ALERT_UNKNOWN_CA": "the {peer} does not know who signed our certificate: give it the root certificate",
    "ALERT_CERTIFICATE_EXPIRED": "the {peer} says that our certificate has expired (or its clock is wrong)",
    "ALERT_CERTIFICATE_REVOKED": "the {peer} says that our certificate was revoked",
    "ALERT_CERTIFICATE_UNKNOWN": "the {peer} does not accept our certificate",
    "ALERT_BAD_CERTIFICATE": "the {peer} does not accept our certificate",
    "ALERT_UNSUPPORTED_CERTIFICATE": "the {peer} does not accept our certificate's kind or use",
    "ALERT_CERTIFICATE_REQUIRED": "the {peer} wants a certificate of ours",
    "ALERT_ACCESS_DENIED": "the {peer} knows our certificate and does not let us in",
    "ALERT_PROTOCOL_VERSION": "the {peer} does not take the TLS versions of the profile {profile}",
    "ALERT_INSUFFICIENT_SECURITY": "the {peer} wants stronger cipher suites",
    "ALERT_HANDSHAKE_FAILURE": "the {peer} found no common ground: cipher suites, or it wants a certificate",
    "ALERT_DECRYPT_ERROR": "the {peer} could not check a signature of ours",
    "ALERT_UNRECOGNIZED_NAME": "the {peer} does not know the name it was called by",
    "ALERT_INTERNAL_ERROR": "the {peer} had an error of its own",
    "ALERT_NO_RENEGOTIATION": "the {peer} does not renegotiate",
}


def explain(
    error: BaseException,
    role: Role,
    *,
    chain: Sequence[x509.Certificate] = (),
    trusted: TrustedList | None = None,
    profile: str = "rfc9325",
) -> str:
    """Why a handshake, or the first read after it, failed: a sentence without its full stop.

    `chain` is what the peer showed; `role` is ours. An error it does not know gives OpenSSL's own words.
    """
    peer = "client" if role == "server" else "server"
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error, peer, chain, trusted if trusted is not None else TrustedList())
    if isinstance(error, TimeoutError):
        return f"the {peer} did not finish the handshake in time"
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        hint = ": does it speak TLS, and does it trust our certificate?" if role == "server" else ""
        return f"the {peer} closed the connection during the handshake{hint}"
    if reason in _OURS:
        return _OURS[reason].format(peer=peer, profile=profile)
    for name, sentence in _ALERTS.items():
        if reason.endswith(name):
            return sentence.format(peer=peer, profile=profile)
    if isinstance(error, ssl.SSLError):
        return f"the handshake with the {peer} failed ({reason.lower().replace('_', ' ') or error})"
    return f"the connection to the {peer} was lost ({getattr(error, 'strerror', None) or error})"


def unreadable(role: Role, error: ValueError) -> str:
    """A certificate that breaks the rules of ASN.1; OpenSSL overlooks some of that."""
    return f"the {'client' if role == 'server' else 'server'}'s certificate cannot be read: {error}"


def spoken(first: bytes) -> str:
    """What the first bytes of a connection are: "TLS", "plain DICOM", "HTTP", or "" (too few, or unknown)."""
    if first[:2] == b"\x16\x03":  # handshake record (RFC 8446 5.1)
        return "TLS"
    if first[:2] == b"\x01\x00":  # A-ASSOCIATE-RQ (PS3.8 9.3.2)
        return "plain DICOM"
    verbs = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ")
    return "HTTP" if first.startswith(verbs) else ""


def _unverified(
    error: ssl.SSLCertVerificationError, peer: str, chain: Sequence[x509.Certificate], trusted: TrustedList
) -> str:
    code = error.verify_code
    if not len(trusted) and code in (*_UNKNOWN_ISSUER, _SELF_SIGNED_LEAF):
        return NOBODY[0].lower() + NOBODY[1:] if peer == "client" else "the trusted list is empty"
    its = f"the {peer}'s certificate"
    try:
        if chain:
            its += f" ({certificate_name(chain[0])})"
        if code in _DATES:
            return _dated(its, chain, trusted)
        if code in _UNKNOWN_ISSUER or code == _SELF_SIGNED_LEAF:
            return _unknown_issuer(its, peer, chain, trusted)
        if code in _WEAK:
            weak = [w for certificate in chain for w in weaknesses(certificate)]
            return f"{its} or its authority's is too weak: {weak[0] if weak else error.verify_message}"
    except (ValueError, UnsupportedAlgorithm):  # a certificate that cannot be read in full
        pass
    if code in _WRONG_USE:
        use = "TLS clients" if peer == "client" else "TLS servers"
        return f"{its} is for another use: it has to be one for {use} (extended key usage)"
    if code in _NO_AUTHORITY:
        return f"{its} was signed by a certificate that is no authority"
    if code in _OTHER_NAME:
        return f"{its} is for another name or address than the one called"
    if code == _FORGED:
        return f"the signature of {its} is wrong: damaged or forged"
    return f"{its} is not accepted: {error.verify_message}"


def _dated(its: str, chain: Sequence[x509.Certificate], trusted: TrustedList) -> str:
    now = now_utc()
    if chain and (dates := _ended(chain[0])):
        return f"{its} {dates}: it needs a new one"
    for certificate in [*chain[1:], *trusted.certificates]:
        if dates := _ended(certificate):
            where = "; it is on the trusted list" if certificate in trusted.certificates else ""
            return f"{its} is signed by {certificate_name(certificate)}, which {dates}{where}"
    return f"{its} has expired or is not yet valid (our clock says {now:%Y-%m-%d %H:%M} UTC)"


def _ended(certificate: x509.Certificate) -> str:
    dates = validity(certificate, now_utc())
    if dates.startswith("not"):
        return f"is {dates}"
    return dates if dates.startswith("expired") else ""


def _unknown_issuer(its: str, peer: str, chain: Sequence[x509.Certificate], trusted: TrustedList) -> str:
    if not chain:
        return f"{its} is not signed by anyone on the trusted list: add the authority that signed it"
    own = chain[0]
    if own.subject == own.issuer:
        return f"{its} is self-signed and not on the trusted list: add it there"
    last, seen = own, [own]
    while signer := next((each for each in chain if each not in seen and signed(last, each)), None):
        last = signer
        seen.append(signer)
    missing = short_name(last.issuer)
    if trusted.named(last.issuer):
        return (
            f"{its} is signed by {missing}, but with another key than the {missing} on the trusted list: "
            "add the right one"
        )
    return f"{its} is signed by {missing}, which is not on the trusted list: add {missing}"
