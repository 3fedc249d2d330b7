"""A teaching authority: root, server and client certificates for notebooks and test networks.

Not for patient data in a hospital's network: its key lies in a folder, unguarded, and every subject says what
it is for. Files are PEM; keys are for the owner alone (0600).
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pacskit.certificates.contents import certificates_in, private_key_in, read_file
from pacskit.certificates.naming import now_utc, subject_line
from pacskit.errors import CertificateError
from pacskit.system.files import replace_file

PURPOSE = "for teaching and test networks"
KeyKind = Literal["ec", "rsa"]
Use = Literal["server", "client"]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")
_SKEW = timedelta(hours=1)
"""Certificates are valid from an hour ago: scanners' clocks are late."""
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of one certificate: itself (and intermediates that signed it), and its key."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True)
class Authority:
    """`folder` has root.crt, root.key and, once something was revoked, root.crl."""

    folder: Path
    certificate: x509.Certificate = field(repr=False)
    _key: Key = field(repr=False)
    _signers: tuple[x509.Certificate, ...] = field(default=(), repr=False)

    @classmethod
    def create(
        cls,
        folder: Path | str,
        *,
        name: str = "pacskit teaching root",
        key: KeyKind = "ec",
        days: int = 3650,
        start: datetime | None = None,
        parent: Authority | None = None,
    ) -> Authority:
        """A new authority; below `parent` an intermediate one. Raises CertificateError where one is there."""
        folder = Path(folder)
        own = _new_key(key)
        begin = start or now_utc() - _SKEW
        issuer = parent.certificate if parent else None
        builder = _builder(_subject(name), own, begin, days, issuer)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        certificate = builder.sign(parent._key if parent else own, hashes.SHA256())
        _write(folder, "root", own, [certificate])
        return cls(folder, certificate, own, parent._chain if parent else ())

    @classmethod
    def open(cls, folder: Path | str) -> Authority:
        """The authority of that folder. Raises CertificateError, also where its files do not fit."""
        folder = Path(folder)
        certificate = certificates_in(read_file(folder / "root.crt"), "root.crt")[0]
        key = private_key_in(read_file(folder / "root.key"), None, "root.key")
        if not isinstance(key, Key) or key.public_key() != certificate.public_key():
            raise CertificateError(f"root.key and root.crt in {folder} do not belong together")
        return cls(folder, certificate, key)

    @property
    def root(self) -> Path:
        """The certificate that others have to trust."""
        return self.folder / "root.crt"

    @property
    def _chain(self) -> tuple[x509.Certificate, ...]:
        """What goes with a certificate: intermediates, without the root that others have."""
        return (
            () if self.certificate.subject == self.certificate.issuer else (self.certificate, *self._signers)
        )

    def issue(
        self,
        name: str,
        *,
        use: Use = "server",
        names: Sequence[str] = (),
        key: KeyKind = "ec",
        days: int = 397,
        start: datetime | None = None,
        folder: Path | str | None = None,
    ) -> Issued:
        """A certificate with its key, NAME.crt and NAME.key.

        `names`: DNS names and addresses; without any a server's is for this computer. It ends with the
        authority's at the latest. Raises CertificateError for a name that is taken or cannot be one.
        """
        own = _new_key(key)
        begin = start or now_utc() - _SKEW
        wanted = list(names) or (_this_computer() if use == "server" else [])
        builder = _builder(_subject(name), own, begin, days, self.certificate)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        usages = ["digital_signature"] + ["key_encipherment"] * (key == "rsa" and use == "server")
        builder = builder.add_extension(_usage(*usages), critical=True)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if use == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if wanted:
            alternative = x509.SubjectAlternativeName(list(_general_names(wanted)))
            builder = builder.add_extension(alternative, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return _write(Path(folder or self.folder), name, own, [certificate, *self._chain])

    def revoke(self, certificate: Path | x509.Certificate) -> Path:
        """Put it on the revocation list, root.crl, which listeners are given. Raises CertificateError."""
        if isinstance(certificate, Path):
            certificate = certificates_in(read_file(certificate), certificate.name)[0]
        if certificate.issuer != self.certificate.subject:
            raise CertificateError(f"{subject_line(certificate)} is not one of this authority's")
        return self.write_list([certificate.serial_number])

    def write_list(
        self, revoked: Iterable[int] = (), *, days: int = 30, start: datetime | None = None
    ) -> Path:
        """Write root.crl anew, with those on it so far and these serial numbers; good for `days`."""
        begin, number = start or now_utc(), 1
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        listed: set[int] = set()
        if (path := self.folder / "root.crl").exists():
            old = x509.load_pem_x509_crl(read_file(path))
            number += old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            for entry in old:
                listed.add(entry.serial_number)
                builder = builder.add_revoked_certificate(entry)
        for serial in sorted(set(revoked) - listed):
            entry = x509.RevokedCertificateBuilder(serial, begin).build()
            builder = builder.add_revoked_certificate(entry)
        builder = builder.last_update(begin).next_update(begin + timedelta(days=days))
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        crl = builder.add_extension(signer, critical=False).sign(self._key, hashes.SHA256())
        replace_file(path, crl.public_bytes(Encoding.PEM), 0o644)
        return path


def _new_key(kind: KeyKind) -> Key:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP256R1())


def _subject(name: str) -> x509.Name:
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise CertificateError(
            f"{name!r} is no name for a certificate: 1 to 64 letters, digits, spaces and . _ -, as ct-scanner"
        )
    parts = (
        (NameOID.COMMON_NAME, name),
        (NameOID.ORGANIZATION_NAME, "pacskit teaching authority"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, PURPOSE),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _builder(
    subject: x509.Name, key: Key, begin: datetime, days: int, issuer: x509.Certificate | None
) -> x509.CertificateBuilder:
    end = begin + timedelta(days=days)
    signer = key.public_key()
    if issuer is not None:
        end = min(end, issuer.not_valid_after_utc)
        signer = issuer.public_key()  # type: ignore[assignment]
    if end <= begin:
        raise CertificateError("The certificate would end before it begins: the authority's has expired?")
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.subject if issuer is not None else subject)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(own, critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)


def _usage(*granted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in granted for usage in _USAGES})


def _general_names(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in names:
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            try:
                yield x509.DNSName(name.encode("idna").decode("ascii"))
            except UnicodeError:
                raise CertificateError(f"{name!r} is neither a host name nor an address") from None


def _this_computer() -> list[str]:
    host = socket.gethostname()
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", *([host] if host.isascii() else [])]))


def _write(folder: Path, name: str, key: Key, chain: Sequence[x509.Certificate]) -> Issued:
    """The key first: a certificate without its key would be of no use."""
    files = Issued(folder / f"{name}.crt", folder / f"{name}.key")
    for path in (files.certificate, files.private_key):
        if path.exists():
            raise CertificateError(f"{path} exists: nothing is overwritten, choose another name or folder")
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        replace_file(files.private_key, secret, 0o600)
        replace_file(files.certificate, public, 0o644)
    except OSError as error:
        raise CertificateError(f"{folder} cannot be written: {error.strerror}") from error
    return files
