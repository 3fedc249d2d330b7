"""Our certificate and its private key: the status line of the seed, and what a handshake needs.

`Identity` is where they lie; `Identity.read()` looks once and gives everything that follows from that one
look, so that what was judged is what is used, also while files are being renewed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from pydantic import SecretStr

from pacskit.certificates.contents import (
    CERTIFICATE_SUFFIXES,
    KEY_SUFFIXES,
    PasswordNeeded,
    PrivateKey,
    certificates_in,
    private_key_in,
    read_file,
)
from pacskit.certificates.naming import days_left, now_utc, subject_line, validity, weaknesses
from pacskit.errors import CertificateError

NO_CERTIFICATE = "No certificate"
NO_PRIVATE_KEY = "No private key"
INCORRECT_CERTIFICATE = "Incorrect certificate"
INCORRECT_PRIVATE_KEY = "Incorrect private key"
NEEDS_PASSWORD = "Private key needs a password"
NO_MATCH = "Certificate and private key do not match"
_LONGEST_PASSWORD = 4096


@dataclass(frozen=True, slots=True)
class IdentityState:
    """What one look at the files found."""

    status: str
    """The seed's words (12.1.4, step 5); where all is well, the certificate's subject."""
    reason: str = ""
    """Why it cannot be used, and what to do; empty where it can."""
    notes: tuple[str, ...] = ()
    """The second line: expiry, weakness, who else can read the key. Blocks nothing."""
    chain: tuple[x509.Certificate, ...] = ()
    """Our certificate, then those in the same file that signed it."""
    key: PrivateKey | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Readable and matching: OK may be pressed, a service may start."""
        return self.key is not None

    @property
    def certificate(self) -> x509.Certificate | None:
        return self.chain[0] if self.chain else None

    def days_left(self, now: datetime | None = None) -> int | None:
        """Whole days until the certificate expires; None where there is none."""
        return days_left(self.chain[0], now or now_utc()) if self.chain else None


class Paths(Protocol):
    """What the settings of a service with TLS say of its identity."""

    @property
    def certificate(self) -> Path | None: ...
    @property
    def private_key(self) -> Path | None: ...
    @property
    def key_password(self) -> SecretStr | None: ...
    @property
    def key_password_file(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The paths of a certificate and its private key, and what opens the key."""

    certificate: Path | str | None = None
    private_key: Path | str | None = None
    password: SecretStr | None = None
    password_file: Path | str | None = None

    @classmethod
    def of(cls, settings: Paths) -> Identity:
        return cls(
            settings.certificate, settings.private_key, settings.key_password, settings.key_password_file
        )

    @property
    def status(self) -> str:
        """The status line alone."""
        return self.read().status

    def read(self, now: datetime | None = None) -> IdentityState:
        """Look at the files. The first status that applies, in the seed's order; raises nothing."""
        if not _given(self.certificate):
            return IdentityState(NO_CERTIFICATE, "Choose the file of the certificate")
        if not _given(self.private_key):
            return IdentityState(NO_PRIVATE_KEY, "Choose the file of the private key")
        path, key_path = Path(str(self.certificate)), Path(str(self.private_key))
        try:
            found = certificates_in(read_file(path, CERTIFICATE_SUFFIXES), path.name)
        except CertificateError as error:
            return IdentityState(INCORRECT_CERTIFICATE, str(error))
        try:
            data = read_file(key_path, KEY_SUFFIXES)
            key = private_key_in(data, None, key_path.name)
        except PasswordNeeded:
            try:
                key = private_key_in(data, self._password(), key_path.name)
            except CertificateError as error:
                return IdentityState(NEEDS_PASSWORD, str(error))
        except CertificateError as error:
            return IdentityState(INCORRECT_PRIVATE_KEY, str(error))
        chain = _chain(found, key)
        if not chain:
            reason = f"{key_path.name} is the key of another certificate than {path.name}"
            return IdentityState(NO_MATCH, reason)
        notes = _notes(chain, now or now_utc()) + _too_open(key_path)
        return IdentityState(subject_line(chain[0]), "", tuple(notes), chain, key)

    def _password(self) -> bytes | None:
        """The password, or the password file's first line. Raises CertificateError."""
        if self.password is not None:
            return self.password.get_secret_value().encode()
        if not _given(self.password_file):
            return None
        content = read_file(Path(str(self.password_file)), most=_LONGEST_PASSWORD)
        return content.split(b"\n", 1)[0].rstrip(b"\r")


def _given(path: Path | str | None) -> bool:
    return path is not None and str(path).strip() not in ("", ".")


def _public(key: object) -> bytes:
    public: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return public


def _chain(found: list[x509.Certificate], key: PrivateKey) -> tuple[x509.Certificate, ...]:
    """The certificate of `key`, then its signers as far as they are there; empty: none is the key's."""
    wanted = _public(key.public_key())
    own = next((each for each in found if _public(each.public_key()) == wanted), None)
    if own is None:
        return ()
    chain = [own]
    while chain[-1].subject != chain[-1].issuer:
        signer = next((each for each in found if each not in chain and signed(chain[-1], each)), None)
        if signer is None:
            break
        chain.append(signer)
    return tuple(chain)


def signed(certificate: x509.Certificate, signer: x509.Certificate) -> bool:
    """Whether `signer`'s key made the signature of `certificate`."""
    try:
        certificate.verify_directly_issued_by(signer)
    except Exception:  # noqa: BLE001 - InvalidSignature, or whatever an odd key or algorithm raises: not by it
        return False
    return True


def _notes(chain: tuple[x509.Certificate, ...], now: datetime) -> list[str]:
    own, *signers = chain
    found = [f"The certificate {dates}" for dates in [validity(own, now)] if dates.startswith("expire")]
    found += [f"The certificate is {dates}" for dates in [validity(own, now)] if dates.startswith("not")]
    found += [
        f"The certificate of {subject_line(signer)} {dates}"
        for signer in signers
        for dates in [validity(signer, now)]
        if dates
    ]
    found += [each[0].upper() + each[1:] for each in weaknesses(own)]
    if own.subject == own.issuer:
        found.append("Self-signed: every client has to trust this very certificate")
    if not _is_for_servers(own):
        found.append("Made for another use than a server: clients may refuse it")
    return found


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses))


def _too_open(key_path: Path) -> list[str]:
    if os.name == "nt":
        return []
    try:
        mode = key_path.expanduser().stat().st_mode
    except OSError:
        return []
    others = "all users" if mode & 0o004 else "a group of users" if mode & 0o040 else ""
    return [f"The private key can be read by {others} of this computer: chmod 600 {key_path.name}"] * bool(
        others
    )
