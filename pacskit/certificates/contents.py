"""What is in a file of certificates or keys: read within limits, told apart, and named where it is wrong.

Nothing here blocks: what is no regular file is refused before it is opened, and no more is read than allowed.
Sentences name the file by what it is, never by its content; no byte of a key gets into one.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from pacskit.errors import CertificateError

LARGEST = 1 << 20
"""Bytes a file of certificates or of a key may have: a bundle of all public authorities has 0.2 MB."""
CERTIFICATE_SUFFIXES = (".pem", ".crt", ".cer")
KEY_SUFFIXES = (".key",)
PrivateKey = CertificateIssuerPrivateKeyTypes

_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
_PKCS12 = re.compile(rb"\x30[\x80-\x84].{0,4}\x02\x01\x03\x30", re.DOTALL)
_CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
_NATURES = {
    "X509 CRL": "a certificate revocation list",
    "CERTIFICATE REQUEST": "a signing request",
    "NEW CERTIFICATE REQUEST": "a signing request",
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "OPENSSH PRIVATE KEY": "a key in OpenSSH's own form (ssh-keygen -p -m PEM converts it)",
    "PKCS7": "a PKCS#7 bundle (openssl pkcs7 -print_certs takes the certificates out)",
    "CMS": "a CMS bundle",
}


class PasswordNeeded(CertificateError):
    """The key is encrypted, and the password is missing or wrong."""


def read_file(path: Path, suffixes: tuple[str, ...] = (), most: int = LARGEST) -> bytes:
    """The file's bytes. Raises CertificateError with the sentence why they cannot be had."""
    try:
        path = path.expanduser()
    except RuntimeError:
        raise CertificateError(
            f"{path} cannot be read: {path.parts[0]} is no user of this computer"
        ) from None
    if suffixes and path.suffix.lower() not in suffixes:
        raise CertificateError(f"{path.name} is none of {', '.join('*' + suffix for suffix in suffixes)}")
    try:
        _must_be_a_file(path, path.stat().st_mode)
        # Not blocking: what became a pipe since is opened at once, and refused below.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as stream:
            _must_be_a_file(path, os.fstat(descriptor).st_mode)
            data = stream.read(most + 1)
    except FileNotFoundError:
        raise CertificateError(f"{path} does not exist: choose the file again") from None
    except PermissionError:
        raise CertificateError(f"{path} cannot be read: this account has no permission") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CertificateError(f"{path} cannot be read: {reason}") from None
    if len(data) > most:
        raise CertificateError(f"{path.name} has more than {most >> 20} MB: that is no such file")
    if not data:
        raise CertificateError(f"{path.name} is empty")
    return data


def _must_be_a_file(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise CertificateError(f"{path} is a folder: choose the file in it")
    if not stat.S_ISREG(mode):
        raise CertificateError(f"{path} is a pipe or device, not a file")


def blocks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The PEM blocks of a text: label, and the whole block. One pass, whatever the marks are like."""
    label, start = b"", 0
    for mark in _MARK.finditer(data):
        if mark[1] == b"BEGIN":
            label, start = mark[2], mark.start()
        elif mark[2] == label:
            yield label.decode("ascii"), data[start : mark.end()] + b"\n"
            label = b""


def nature(data: bytes) -> str:
    """What a person would call it."""
    for label, _ in blocks(data):
        if label in _CERTIFICATE_LABELS:
            return "a certificate"
        if label in _NATURES:
            return _NATURES[label]
        if label.endswith("PRIVATE KEY"):
            return "a private key"
    if _PKCS12.match(data):
        return "a PKCS#12 store (openssl pkcs12 takes certificate and key out of it)"
    loaders: tuple[tuple[str, Callable[[bytes], object]], ...] = (
        ("a certificate", x509.load_der_x509_certificate),
        ("a certificate revocation list", x509.load_der_x509_crl),
        ("a signing request", x509.load_der_x509_csr),
        ("a public key", serialization.load_der_public_key),
        ("a private key", lambda der: serialization.load_der_private_key(der, None)),
    )
    for name, load in loaders:
        try:
            load(data)
        except TypeError:  # a key, but encrypted
            return name
        except (ValueError, UnsupportedAlgorithm):
            continue
        return name
    return "text" if all(byte >= 32 or byte in b"\r\n\t" for byte in data[:4096]) else "unknown bytes"


def certificates_in(data: bytes, name: str) -> list[x509.Certificate]:
    """All certificates of a PEM text, or the one of a DER file. Raises CertificateError with a sentence."""
    found: list[x509.Certificate] = []
    pem = [block for label, block in blocks(data) if label in _CERTIFICATE_LABELS]
    try:
        if pem:
            found = [x509.load_pem_x509_certificate(block) for block in pem]
        elif not any(blocks(data)):
            found = [x509.load_der_x509_certificate(data)]
        for certificate in found:
            readable(certificate)
    except (ValueError, UnsupportedAlgorithm):
        if pem or nature(data) == "a certificate":
            raise CertificateError(f"{name} is damaged, or a certificate that cannot be used") from None
    if not found:
        raise CertificateError(f"{name} holds {nature(data)}, no certificate")
    return found


def readable(certificate: x509.Certificate) -> None:
    """Looks at what is parsed late. Raises ValueError or UnsupportedAlgorithm."""
    _ = certificate.subject, certificate.issuer, certificate.extensions
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.public_key()


def private_key_in(data: bytes, password: bytes | None, name: str) -> PrivateKey:
    """The private key. Raises PasswordNeeded, or CertificateError with a sentence."""
    pem = [block for label, block in blocks(data) if label.endswith("PRIVATE KEY") and label not in _NATURES]
    if len(pem) > 1:
        raise CertificateError(f"{name} holds {len(pem)} private keys: leave the one of the certificate")
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    if not pem and any(blocks(data)):
        raise CertificateError(f"{name} holds {nature(data)}, no private key")
    content = pem[0] if pem else data
    try:
        key = load(content, None)
    except TypeError:
        if password is None:
            raise PasswordNeeded(f"{name} is encrypted: give the file with its password") from None
        try:
            key = load(content, password)
        except (ValueError, UnsupportedAlgorithm, TypeError):
            raise PasswordNeeded(f"The password does not open {name}") from None
    except (ValueError, UnsupportedAlgorithm):
        what = nature(data)
        damaged = what == "a private key"
        raise CertificateError(
            f"{name} is damaged, or a key that cannot be used"
            if damaged
            else f"{name} holds {what}, no private key"
        ) from None
    if not hasattr(key, "sign"):
        raise CertificateError(f"{name} holds a key that cannot sign")
    return cast(PrivateKey, key)
