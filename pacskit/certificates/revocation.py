"""Certificate revocation lists (CRL, RFC 5280 5), checked by ourselves after the handshake.

OpenSSL's flags would refuse every client of an authority that has no list here, or one a day too old
(docs/decisions/0010-tls.md). So a list speaks for its own authority alone: whom it names is refused, also
when it is outdated; who isn't named is accepted. What is not covered, or outdated, `notes` tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pacskit.certificates.contents import blocks, nature, read_file
from pacskit.certificates.naming import certificate_name, now_utc, short_name
from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError

LARGEST = 32 << 20
"""Bytes of a list: about 800,000 revoked certificates."""


@dataclass(frozen=True, slots=True)
class _Revoked:
    date: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class RevocationList:
    """One list: its authority's name, and whom it names by serial number."""

    name: str
    """Of the file."""
    crl: x509.CertificateRevocationList = field(repr=False)
    revoked: dict[int, _Revoked] = field(repr=False)

    @property
    def next_update(self) -> datetime | None:
        return self.crl.next_update_utc

    def made_by(self, issuer: x509.Certificate) -> bool:
        """Whether that authority's key signed the list."""
        try:
            return self.crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        except (TypeError, ValueError, UnsupportedAlgorithm):  # a key that makes no such signatures
            return False


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """All lists, as they were when they were read: other files need another context (tls.py)."""

    lists: tuple[RevocationList, ...] = ()

    @classmethod
    def read(cls, paths: Iterable[Path]) -> RevocationLists:
        """PEM (also several in a file) or DER. Raises CertificateError with the sentence, naming the file."""
        found = []
        for path in paths:
            data = read_file(path, most=LARGEST)
            found += [_taken(crl, path.name) for crl in _parsed(data, path.name)]
        return cls(tuple(found))

    def refusal(self, chain: Sequence[x509.Certificate], trusted: TrustedList) -> str:
        """Why the first certificate of a verified chain is not accepted; empty: no list names any of it."""
        authorities = [*chain, *trusted.certificates]
        for certificate in chain:
            for each in self.lists:
                entry = each.revoked.get(certificate.serial_number)
                if entry is None or each.crl.issuer != certificate.issuer:
                    continue
                signers = (a for a in authorities if a.subject == certificate.issuer)
                if any(each.made_by(signer) for signer in signers):
                    reason = f" ({entry.reason})" if entry.reason else ""
                    name = certificate_name(certificate)
                    return f"{name} was revoked on {entry.date:%Y-%m-%d}{reason}, says {each.name}"
        return ""

    def notes(self, trusted: TrustedList, now: datetime | None = None) -> list[str]:
        """What a person should know: lists that are outdated or nobody's, authorities without one."""
        now = now or now_utc()
        found = []
        for each in self.lists:
            issuer = short_name(each.crl.issuer)
            if each.next_update is not None and each.next_update < now:
                since = f"{each.next_update:%Y-%m-%d}"
                found.append(f"{each.name} of {issuer} is outdated since {since}: get its newest list")
            named = trusted.named(each.crl.issuer)
            if named and not any(each.made_by(entry.certificate) for entry in named):
                found.append(f"{each.name} was not made by the {issuer} on the trusted list: it is not used")
        if self.lists:
            covered = {each.crl.issuer for each in self.lists}
            bare = [entry for entry in trusted if entry.certificate.subject not in covered]
            found += [f"No revocation list of {entry.subject}: whom it revoked is accepted" for entry in bare]
        return found


def _parsed(data: bytes, name: str) -> list[x509.CertificateRevocationList]:
    pem = [block for label, block in blocks(data) if label == "X509 CRL"]
    try:
        if pem:
            return [x509.load_pem_x509_crl(block) for block in pem]
        return [x509.load_der_x509_crl(data)]
    except ValueError:
        what = nature(data)
        problem = "is damaged" if "revocation" in what else f"holds {what}, no certificate revocation list"
        raise CertificateError(f"{name} {problem}") from None


def _taken(crl: x509.CertificateRevocationList, name: str) -> RevocationList:
    try:
        for extension in crl.extensions:
            value = extension.value
            partial = isinstance(value, x509.IssuingDistributionPoint) and value.indirect_crl
            if partial or isinstance(value, x509.DeltaCRLIndicator):
                kind = "an indirect" if partial else "a delta"
                raise CertificateError(f"{name} is {kind} revocation list: give the authority's complete one")
        revoked = {}
        for entry in crl:
            reason = _reason(entry)
            if reason != x509.ReasonFlags.remove_from_crl.value:
                words = "" if reason == "unspecified" else _spaced(reason)
                revoked[entry.serial_number] = _Revoked(entry.revocation_date_utc, words)
    except ValueError:
        raise CertificateError(f"{name} is damaged") from None
    return RevocationList(name, crl, revoked)


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        reason: str = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        return "unspecified"
    return reason


def _spaced(reason: str) -> str:
    """keyCompromise -> key compromise."""
    return "".join(f" {c.lower()}" if c.isupper() and not reason.isupper() else c for c in reason)
