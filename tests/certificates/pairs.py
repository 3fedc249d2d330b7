"""A folder with a certificate and its key, and the ways to spoil them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12 as pkcs12_store
from cryptography.x509.oid import NameOID

from pacskit.certificates import Authority


@dataclass(frozen=True)
class Bench:
    """A folder with a good pair, `good.crt` and `good.key`, and what goes wrong."""

    folder: Path
    authority: Authority

    def path(self, name: str, content: bytes | None = None) -> Path:
        path = self.folder / name
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o600)
        return path

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        found = serialization.load_pem_private_key(self.path("good.key").read_bytes(), None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        return found

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.path("good.crt").read_bytes())


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, **names: str) -> x509.Certificate:
    oids = {"cn": NameOID.COMMON_NAME, "o": NameOID.ORGANIZATION_NAME, "c": NameOID.COUNTRY_NAME}
    subject = x509.Name([x509.NameAttribute(oids[name], value) for name, value in names.items()])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).serial_number(7)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(400))
    alternative = x509.SubjectAlternativeName([x509.DNSName("pacs.example")])
    return builder.public_key(key.public_key()).add_extension(alternative, False).sign(key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_bytes(key: object, form: str = "PEM", password: bytes | None = None) -> bytes:
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    encoding = getattr(serialization.Encoding, form)
    content: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, cipher)  # type: ignore[attr-defined]
    return content


def pipe(bench: Bench, name: str) -> Path:
    os.mkfifo(bench.folder / name)
    return bench.folder / name


def crl(bench: Bench) -> bytes:
    return bench.authority.write_list().read_bytes()


def request(bench: Bench) -> bytes:
    run = ["openssl", "req", "-new", "-key", str(bench.path("good.key")), "-subj", "/CN=x"]
    return subprocess.run(run, check=True, capture_output=True).stdout


def pkcs12(bench: Bench) -> bytes:
    return pkcs12_store.serialize_key_and_certificates(
        b"x", bench.key, bench.certificate, None, serialization.BestAvailableEncryption(b"x")
    )


GOOD_LINE = "pacs, pacskit teaching authority"
INCORRECT, INCORRECT_KEY = "Incorrect certificate", "Incorrect private key"
PASSWORD, NO_MATCH = "Private key needs a password", "Certificate and private key do not match"
