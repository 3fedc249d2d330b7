"""The one place where an `ssl.SSLContext` is made: by profile, identity and trusted list, never the system's.

A context is a snapshot. A resumed session skips every check, so a change of identity, trusted list or
revocation lists means a new context, whose tickets the old one's sessions do not open.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from pacskit.certificates.identity import IdentityState
from pacskit.certificates.suites import ProfileName, offer
from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError


def server_context(
    profile: ProfileName, identity: IdentityState, *, verify: bool, trusted: TrustedList
) -> ssl.SSLContext:
    """For a listener. Verify: a client needs a certificate that something on the trusted list signed, or that
    is on it; else any client is accepted, and none is asked for its certificate (seed 12.1.4, step 4).

    Raises CertificateError where the identity cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offer(context, profile)
    _take(context, identity, profile)
    if verify:
        _trust(context, trusted)
    return context


def client_context(
    profile: ProfileName,
    *,
    trusted: TrustedList,
    identity: IdentityState | None = None,
    verify: bool = True,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """For an association of ours, and for the handshake test. `identity` where the server wants one.

    Without `verify` it talks to anybody. Raises CertificateError where the identity cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    offer(context, profile)
    context.check_hostname = False  # before the next line, or that is refused
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        _take(context, identity, profile)
    if verify:
        _trust(context, trusted)
        context.check_hostname = check_hostname
    return context


def _trust(context: ssl.SSLContext, trusted: TrustedList) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    # An intermediate authority, or a peer's own certificate, may be all that is trusted. No CRL flags:
    # revocation.py says why.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if len(trusted):
        context.load_verify_locations(cadata="".join(trusted.texts))


def _take(context: ssl.SSLContext, identity: IdentityState, profile: ProfileName) -> None:
    """`load_cert_chain` reads files only. What was judged is written for it: the key encrypted with a
    password that nobody knows, in a file for the owner alone, which is gone on return."""
    if identity.key is None:
        raise CertificateError(f"{identity.status}. {identity.reason}")
    password = secrets.token_hex(32).encode()
    content = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    content += b"".join(certificate.public_bytes(Encoding.PEM) for certificate in identity.chain)
    try:
        descriptor, name = tempfile.mkstemp(prefix="pacskit-", suffix=".pem")
    except OSError as error:
        raise CertificateError(f"No temporary file for the certificate: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        context.load_cert_chain(name, password=password)
    except ssl.SSLError as error:
        raise CertificateError(_unfit(identity, profile, error.reason or "")) from None
    except OSError as error:
        raise CertificateError(f"No temporary file for the certificate: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _unfit(identity: IdentityState, profile: ProfileName, reason: str) -> str:
    weak = next((note for note in identity.notes if note.startswith("Weak")), "")
    if weak or reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        weak = weak or "Weak: too short a key or hash"
        remedy = "Have a new one made" if profile == "legacy" else "Have a new one made, or choose legacy"
        return f"TLS profile {profile} does not take this certificate. {weak}. {remedy}"
    return f"OpenSSL does not take this certificate and key ({reason.lower().replace('_', ' ')})"
