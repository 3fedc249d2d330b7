"""The trusted list: certificates whose clients are accepted, kept by content (seed 12.1.4, step 4).

Its form in the settings (`secure_listener.trusted`) is one PEM text each; the files may go afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pacskit.certificates.contents import CERTIFICATE_SUFFIXES, certificates_in, read_file
from pacskit.certificates.naming import (
    fingerprint,
    is_authority,
    key_type,
    now_utc,
    short_name,
    subject_line,
    validity,
    weaknesses,
)
from pacskit.errors import CertificateError

NOBODY = "No client will be accepted: certificates are verified, and the trusted list is empty"
"""What to say where verification is on and nothing is trusted."""
_LONGEST_PATH = 4096
State = Literal["ok", "expires soon", "expired", "not yet valid", "not an authority"]


class AlreadyTrusted(CertificateError):
    """The seed's error; `rest` is the list with what else the file had."""

    def __init__(self, names: list[str], rest: TrustedList) -> None:
        which = "; ".join(names)
        super().__init__(
            f"The certificate has already been added to the list: {which}"
            if len(names) == 1
            else f"These certificates have already been added to the list: {which}"
        )
        self.rest = rest


class Doubtful(CertificateError):
    """No authority, or expired: only who knows what it means adds it (`knowingly=True`)."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """One row of the list."""

    certificate: x509.Certificate = field(repr=False)
    subject: str
    issuer: str
    valid_from: datetime
    valid_to: datetime
    fingerprint: str
    """SHA-256, hex with colons."""
    key_type: str
    weak: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Trusted:
        return cls(
            certificate,
            subject_line(certificate),
            "itself" if certificate.subject == certificate.issuer else short_name(certificate.issuer),
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
            fingerprint(certificate),
            key_type(certificate),
            tuple(weaknesses(certificate)),
        )

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode("ascii")

    def state(self, now: datetime | None = None) -> tuple[State, str]:
        """For the colour, and in words."""
        dates = validity(self.certificate, now or now_utc())
        if dates.startswith("expired"):
            return "expired", dates
        if dates.startswith("not"):
            return "not yet valid", dates
        if not is_authority(self.certificate):
            return "not an authority", "; ".join(filter(None, ("not an authority", dates)))
        return ("expires soon", dates) if dates else ("ok", "ok")

    def doubt(self, now: datetime | None = None) -> str:
        """Why a person should think twice; empty: no reason."""
        if not is_authority(self.certificate):
            return f"{self.subject} is not an authority: it vouches for itself alone, for nobody it signed"
        state, words = self.state(now)
        return f"{self.subject} {words}: clients it signed are refused" if state == "expired" else ""


@dataclass(frozen=True, slots=True)
class TrustedList:
    """The list as a value: a change gives another one."""

    entries: tuple[Trusted, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> TrustedList:
        """From the setting: PEM texts, or paths of files to take in. Raises CertificateError."""
        found: dict[str, Trusted] = {}
        for number, text in enumerate(texts, 1):
            if "-----BEGIN" in text:
                entries = _in_text(text, number)
            elif text.strip() and "\n" not in text and len(text) <= _LONGEST_PATH:
                entries = tuple(map(Trusted.of, _in_file(Path(text))))
            else:
                raise CertificateError(f"Entry {number} of the trusted list is neither PEM text nor a path")
            for entry in entries:
                found.setdefault(entry.fingerprint, entry)
        return cls(tuple(found.values()))

    def __iter__(self) -> Iterator[Trusted]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def texts(self) -> tuple[str, ...]:
        """For the setting."""
        return tuple(entry.pem for entry in self.entries)

    @property
    def certificates(self) -> list[x509.Certificate]:
        return [entry.certificate for entry in self.entries]

    def add(
        self,
        source: Path | bytes,
        *,
        knowingly: bool = False,
        name: str = "The file",
        now: datetime | None = None,
    ) -> TrustedList:
        """The list with the certificates of a file, or of its content (PEM, one or several, or DER).

        Raises AlreadyTrusted, Doubtful, and CertificateError for what holds no certificate.
        """
        certificates = certificates_in(source, name) if isinstance(source, bytes) else _in_file(Path(source))
        there = {entry.fingerprint for entry in self.entries}
        known: list[str] = []
        new: dict[str, Trusted] = {}
        for entry in map(Trusted.of, certificates):
            if entry.fingerprint in there:
                known.append(entry.subject)
            else:
                new.setdefault(entry.fingerprint, entry)
        doubts = [doubt for entry in new.values() if (doubt := entry.doubt(now))]
        if doubts and not knowingly:
            raise Doubtful("; ".join(doubts))
        longer = TrustedList((*self.entries, *new.values()))
        if known:
            raise AlreadyTrusted(known, longer)
        return longer

    def remove(self, fingerprint: str) -> TrustedList:
        """The list without that one."""
        return TrustedList(tuple(entry for entry in self.entries if entry.fingerprint != fingerprint))

    def named(self, name: x509.Name) -> list[Trusted]:
        """The entries with that subject."""
        return [entry for entry in self.entries if entry.certificate.subject == name]


@functools.lru_cache(maxsize=1024)
def _in_text(text: str, number: int) -> tuple[Trusted, ...]:
    """Kept: settings are checked again and again, and parsing takes most of that time."""
    return tuple(map(Trusted.of, certificates_in(text.encode(), f"Entry {number} of the trusted list")))


def _in_file(path: Path) -> list[x509.Certificate]:
    return certificates_in(read_file(path, CERTIFICATE_SUFFIXES), path.name)
