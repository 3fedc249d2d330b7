"""The certificates a peer showed: the one file that goes beyond the public API of `ssl`.

What it relies on is checked by tests/certificates/test_peer_chain.py; where a Python has none of it, chains
are empty or the peer's certificate alone, and sentences say less.

- After a handshake: `SSLSocket.get_verified_chain`, public from Python 3.13, before on `_sslobj`.
- After a refusal OpenSSL keeps nothing. `SSLContext._msg_callback` sees the Certificate message go by. It is
  called for every record as well, which would cost a third of the speed (1490 to 950 MB/s): a connection that
  was accepted is therefore moved to a context without one (`unwatch`; 1500 MB/s again).
"""

from __future__ import annotations

import contextlib
import ssl
import weakref
from typing import Any

from cryptography import x509

_HANDSHAKE, _CERTIFICATE = 22, 11
_MOST = 10
"""Certificates that are looked at; OpenSSL itself takes 100 kB of them."""
_PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
_PLAIN_CLIENT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Watch:
    """Remembers what peers showed during their handshakes in one context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._shown: weakref.WeakKeyDictionary[Any, tuple[x509.Certificate, ...]] = (
            weakref.WeakKeyDictionary()
        )
        if hasattr(context, "_msg_callback"):
            context._msg_callback = self._message

    def shown(self, sock: ssl.SSLSocket) -> tuple[x509.Certificate, ...]:
        """The peer's certificate and what it sent with it, unverified; empty: none, or unknown."""
        return self._shown.get(sock, ())

    def unwatch(self, sock: ssl.SSLSocket) -> None:
        """The handshake is done: forget it, and let its records pass at full speed."""
        if self._shown.pop(sock, None) is not None or hasattr(sock.context, "_msg_callback"):
            sock.context = _PLAIN if sock.server_side else _PLAIN_CLIENT

    def _message(self, sock: Any, direction: str, version: int, kind: int, message: int, data: bytes) -> None:
        """Called within OpenSSL: must not raise."""
        if direction == "read" and kind == _HANDSHAKE and message == _CERTIFICATE:
            with contextlib.suppress(ValueError, TypeError):
                self._shown[sock] = _certificates(bytes(data), version >= ssl.TLSVersion.TLSv1_3)


def _certificates(message: bytes, with_extensions: bool) -> tuple[x509.Certificate, ...]:
    """RFC 5246 7.4.2; RFC 8446 4.4.2, where a context goes before and extensions follow each one."""
    position = 4 + (1 + message[4] if with_extensions and len(message) > 4 else 0) + 3
    found: list[x509.Certificate] = []
    while position + 3 <= len(message) and len(found) < _MOST:
        length = int.from_bytes(message[position : position + 3])
        position += 3
        found.append(x509.load_der_x509_certificate(message[position : position + length]))
        position += length
        if with_extensions:
            position += 2 + int.from_bytes(message[position : position + 2])
    return tuple(found)


def verified_chain(sock: ssl.SSLSocket) -> tuple[x509.Certificate, ...]:
    """After a handshake: the peer's certificate up to what we trust; the certificate alone where no more is
    known (a resumed session, an odd Python); empty where it showed none or was not verified."""
    own = sock.getpeercert(binary_form=True)
    if own is None:
        return ()
    ders: list[bytes] = []
    with contextlib.suppress(AttributeError, ssl.SSLError):
        if hasattr(sock, "get_verified_chain"):
            ders = list(sock.get_verified_chain())
        else:
            found = sock._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]
            ders = [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found]
    return tuple(x509.load_der_x509_certificate(der) for der in ders or [own])
