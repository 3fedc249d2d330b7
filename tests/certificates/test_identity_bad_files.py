"""Every kind of wrong file has its status and its sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pairs import (
    INCORRECT,
    INCORRECT_KEY,
    NO_MATCH,
    PASSWORD,
    Bench,
    crl,
    key_bytes,
    pem,
    pipe,
    pkcs12,
    request,
)

from pacskit.certificates import Identity, TrustedList, server_context
from pacskit.errors import CertificateError

# Each row: what is put where (c: certificate, k: key), the status, and how the sentence goes on.
BAD = {
    "no path": (lambda b: (None, b.path("good.key")), "No certificate", "Choose the file of the certificate"),
    "empty path": (lambda b: ("", None), "No certificate", "Choose the file of the certificate"),
    "no key path": (lambda b: (b.path("good.crt"), None), "No private key", "Choose the file of the private"),
    "no key, bad certificate": (lambda b: (b.path("gone.crt"), ""), "No private key", "Choose the file"),
    "both bad": (lambda b: (b.path("a.crt", b""), b.path("a.key", b"")), INCORRECT, "a.crt is empty"),
    "c gone": (lambda b: (b.path("gone.crt"), b.path("good.key")), INCORRECT, "gone.crt does not exist"),
    "c extension": (
        lambda b: (b.path("good.txt", pem(b.certificate)), b.path("good.key")),
        INCORRECT,
        "good.txt is none of *.pem, *.crt, *.cer",
    ),
    "c empty": (lambda b: (b.path("a.crt", b""), b.path("good.key")), INCORRECT, "a.crt is empty"),
    "c text": (
        lambda b: (b.path("a.crt", b"hello\n"), b.path("good.key")),
        INCORRECT,
        "a.crt holds text, no",
    ),
    "c noise": (
        lambda b: (b.path("a.crt", bytes(range(256)) * 9), b.path("good.key")),
        INCORRECT,
        "a.crt holds unknown bytes, no certificate",
    ),
    "c key": (
        lambda b: (b.path("a.crt", key_bytes(b.key)), b.path("good.key")),
        INCORRECT,
        "a.crt holds a private key, no certificate",
    ),
    "c key, DER": (
        lambda b: (b.path("a.crt", key_bytes(b.key, "DER")), b.path("good.key")),
        INCORRECT,
        "a.crt holds a private key, no certificate",
    ),
    "c damaged": (
        lambda b: (b.path("a.crt", pem(b.certificate).replace(b"M", b"N")), b.path("good.key")),
        INCORRECT,
        "a.crt is damaged",
    ),
    "c cut": (
        lambda b: (b.path("a.crt", pem(b.certificate)[:300]), b.path("good.key")),
        INCORRECT,
        "a.crt holds text, no certificate",
    ),
    "c CRL": (
        lambda b: (b.path("a.crt", crl(b)), b.path("good.key")),
        INCORRECT,
        "a.crt holds a certificate revocation list, no certificate",
    ),
    "c CRL, DER": (
        lambda b: (
            b.path("a.crt", x509.load_pem_x509_crl(crl(b)).public_bytes(serialization.Encoding.DER)),
            b.path("good.key"),
        ),
        INCORRECT,
        "a.crt holds a certificate revocation list, no certificate",
    ),
    "c request": (
        lambda b: (b.path("a.crt", request(b)), b.path("good.key")),
        INCORRECT,
        "a.crt holds a signing request, no certificate",
    ),
    "c PKCS#12": (
        lambda b: (b.path("a.crt", pkcs12(b)), b.path("good.key")),
        INCORRECT,
        "a.crt holds a PKCS#12 store (openssl pkcs12",
    ),
    "c 10 MB": (
        lambda b: (b.path("a.crt", bytes(10 << 20)), b.path("good.key")),
        INCORRECT,
        "a.crt has more than 1 MB",
    ),
    "c 1 MB of beginnings": (
        lambda b: (b.path("a.crt", b"-----BEGIN CERTIFICATE-----\n" * 36000), b.path("good.key")),
        INCORRECT,
        "a.crt holds text, no certificate",
    ),
    "c folder": (
        lambda b: ((b.folder / "d.crt").mkdir() or b.folder / "d.crt", b.path("good.key")),
        INCORRECT,
        "d.crt is a folder",
    ),
    "c pipe": (
        lambda b: (pipe(b, "p.crt"), b.path("good.key")),
        INCORRECT,
        "p.crt is a pipe or device, not a file",
    ),
    "c device": (
        lambda b: ((b.folder / "z.crt").symlink_to("/dev/zero") or b.folder / "z.crt", b.path("good.key")),
        INCORRECT,
        "z.crt is a pipe or device, not a file",
    ),
    "c null character": (lambda b: ("a\0.crt", b.path("good.key")), INCORRECT, "a\0.crt cannot be read"),
    "c long name": (lambda b: ("a" * 300 + ".crt", b.path("good.key")), INCORRECT, "a" * 300),
    "k gone": (lambda b: (b.path("good.crt"), b.path("gone.key")), INCORRECT_KEY, "gone.key does not exist"),
    "k extension": (
        lambda b: (b.path("good.crt"), b.path("k.pem", key_bytes(b.key))),
        INCORRECT_KEY,
        "k.pem is none of *.key",
    ),
    "k empty": (lambda b: (b.path("good.crt"), b.path("a.key", b"")), INCORRECT_KEY, "a.key is empty"),
    "k text": (lambda b: (b.path("good.crt"), b.path("a.key", b"hi")), INCORRECT_KEY, "a.key holds text, no"),
    "k noise": (
        lambda b: (b.path("good.crt"), b.path("a.key", bytes(range(256)))),
        INCORRECT_KEY,
        "a.key holds unknown bytes, no private key",
    ),
    "k certificate": (
        lambda b: (b.path("good.crt"), b.path("a.key", pem(b.certificate))),
        INCORRECT_KEY,
        "a.key holds a certificate, no private key",
    ),
    "k certificate, DER": (
        lambda b: (
            b.path("good.crt"),
            b.path("a.key", b.certificate.public_bytes(serialization.Encoding.DER)),
        ),
        INCORRECT_KEY,
        "a.key holds a certificate, no private key",
    ),
    "k public": (
        lambda b: (
            b.path("good.crt"),
            b.path(
                "a.key",
                b.key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                ),
            ),
        ),
        INCORRECT_KEY,
        "a.key holds a public key, no private key",
    ),
    "k OpenSSH": (
        lambda b: (
            b.path("good.crt"),
            b.path(
                "a.key",
                b.key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.OpenSSH,
                    serialization.NoEncryption(),
                ),
            ),
        ),
        INCORRECT_KEY,
        "a.key holds a key in OpenSSH's own form",
    ),
    "k PKCS#12": (
        lambda b: (b.path("good.crt"), b.path("a.key", pkcs12(b))),
        INCORRECT_KEY,
        "a.key holds a PKCS#12 store (openssl pkcs12",
    ),
    "k damaged": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(b.key).replace(b"M", b"N"))),
        INCORRECT_KEY,
        "a.key is damaged",
    ),
    "k several": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(b.key) * 2)),
        INCORRECT_KEY,
        "a.key holds 2 private keys",
    ),
    "k 10 MB": (
        lambda b: (b.path("good.crt"), b.path("a.key", bytes(10 << 20))),
        INCORRECT_KEY,
        "a.key has more than 1 MB",
    ),
    "k folder": (
        lambda b: (b.path("good.crt"), (b.folder / "d.key").mkdir() or b.folder / "d.key"),
        INCORRECT_KEY,
        "d.key is a folder",
    ),
    "k pipe": (
        lambda b: (b.path("good.crt"), pipe(b, "p.key")),
        INCORRECT_KEY,
        "p.key is a pipe or device, not a file",
    ),
    "k encrypted": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(b.key, password=b"x"))),
        PASSWORD,
        "a.key is encrypted: give the file with its password",
    ),
    "k encrypted, DER": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(b.key, "DER", b"x"))),
        PASSWORD,
        "a.key is encrypted: give the file with its password",
    ),
    "k of another": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(ec.generate_private_key(ec.SECP256R1())))),
        NO_MATCH,
        "a.key is the key of another certificate than good.crt",
    ),
    "k of another kind": (
        lambda b: (b.path("good.crt"), b.path("a.key", key_bytes(rsa.generate_private_key(65537, 2048)))),
        NO_MATCH,
        "a.key is the key of another certificate than good.crt",
    ),
}


@pytest.mark.timeout(20)
@pytest.mark.peer("openssl")
@pytest.mark.parametrize("row", BAD)
def test_each_bad_file_has_its_status_and_sentence(bench: Bench, row: str) -> None:
    place, status, sentence = BAD[row]
    state = Identity(*place(bench)).read()  # type: ignore[no-untyped-call]
    assert state.status == status
    assert sentence in state.reason
    assert not state.ok
    assert Identity(bench.path("good.crt"), bench.path("good.key")).read().ok
    with pytest.raises(CertificateError, match=status):
        server_context("rfc9325", state, verify=False, trusted=TrustedList())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize(("name", "status"), [("good.crt", INCORRECT), ("good.key", INCORRECT_KEY)])
def test_a_file_without_permission(bench: Bench, name: str, status: str) -> None:
    bench.path(name).chmod(0)
    _unreadable(Identity(bench.path("good.crt"), bench.path("good.key")), status)


@pytest.mark.parametrize(("name", "status"), [("good.crt", INCORRECT), ("good.key", INCORRECT_KEY)])
def test_a_file_the_system_refuses_to_open(
    bench: Bench, name: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads everything; so the system's answer is given here, at the one call that opens files."""
    really = os.open

    def refuse(path: Path, *rest: int) -> int:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied")
        return really(path, *rest)

    monkeypatch.setattr("pacskit.certificates.contents.os.open", refuse)
    _unreadable(Identity(bench.path("good.crt"), bench.path("good.key")), status)


def _unreadable(identity: Identity, status: str) -> None:
    state = identity.read()
    assert state.status == status
    assert "cannot be read: this account has no permission" in state.reason
