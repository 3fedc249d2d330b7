"""What is said of a certificate: its names, dates, kind of key and weaknesses.

Names of a peer's certificate are a claim: control characters are escaped, and long ones cut.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

SOON = 30
"""Days before its end from which a certificate counts as expiring."""
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp224r1": "P-224"}
_LONGEST = 120


def now_utc() -> datetime:
    return datetime.now(UTC)


def clean(text: str) -> str:
    """Fit for a log and a panel: printable, at most 120 characters."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_LONGEST])
    return shown + "…" if len(text) > _LONGEST else shown


def _first(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    return next((clean(str(item.value)) for item in name.get_attributes_for_oid(oid)), "")


def dns_names(certificate: x509.Certificate) -> list[str]:
    """DNS names and IP addresses the certificate is for (subjectAltName)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    names = [clean(name) for name in found.get_values_for_type(x509.DNSName)]
    return names + [str(address) for address in found.get_values_for_type(x509.IPAddress)]


def subject_line(certificate: x509.Certificate) -> str:
    """`<Certificate name>, <Company name>, <Country abbreviation>` (seed 12.1.4): CN, O, C.

    What is missing is left out; without CN the first DNS name.
    """
    subject = certificate.subject
    name = _first(subject, NameOID.COMMON_NAME) or next(iter(dns_names(certificate)), "")
    parts = (name, _first(subject, NameOID.ORGANIZATION_NAME), _first(subject, NameOID.COUNTRY_NAME))
    return ", ".join(part for part in parts if part) or clean(subject.rfc4514_string()) or "(no name)"


def short_name(name: x509.Name) -> str:
    """CN, else O, else all of it."""
    found = _first(name, NameOID.COMMON_NAME) or _first(name, NameOID.ORGANIZATION_NAME)
    return found or clean(name.rfc4514_string()) or "(no name)"


def certificate_name(certificate: x509.Certificate) -> str:
    return subject_line(certificate).split(", ")[0] if certificate.subject else subject_line(certificate)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate: 32 pairs of hex digits with colons, as browsers and openssl show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def key_type(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size} bit"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSA {key.key_size} bit"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else "unknown"


def signature_hash(certificate: x509.Certificate) -> str:
    """`sha256`, `sha1`, ...; empty where the signature has none of its own (Ed25519) or an unknown one."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return ""
    return algorithm.name if algorithm is not None else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others (RFC 5280 4.2.1.9, 4.2.1.3); a self-signed one of version 1 counts."""
    if certificate.version is x509.Version.v1:
        return certificate.subject == certificate.issuer
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    """Whole days until it expires; negative afterwards."""
    return (certificate.not_valid_after_utc - now).days


def validity(certificate: x509.Certificate, now: datetime) -> str:
    """Its dates in words; empty while there is nothing to say."""
    if certificate.not_valid_before_utc > now:
        return f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    left = days_left(certificate, now)
    if certificate.not_valid_after_utc < now:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if left > SOON:
        return ""
    return f"expires in {left} day{'' if left == 1 else 's'}, on {certificate.not_valid_after_utc:%Y-%m-%d}"


def weaknesses(certificate: x509.Certificate) -> list[str]:
    """What BCP 195 (RFC 9325 4.5, 4.6) would not have."""
    found = []
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        found.append(f"weak: RSA key of {key.key_size} bits, at least 2048 are needed")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < 256:
        found.append(f"weak: curve of {key.key_size} bits, at least 256 are needed")
    if isinstance(key, dsa.DSAPublicKey):
        found.append("weak: DSA key, TLS has given it up")
    own = certificate.subject == certificate.issuer and is_authority(certificate)
    if signature_hash(certificate) in ("md5", "sha1") and not own:  # nobody relies on a root's own signature
        found.append(f"weak: signed with {signature_hash(certificate).upper().replace('SHA', 'SHA-')}")
    return found
