"""The status line of a good certificate and key, its second line, and what never gets out."""

from __future__ import annotations

import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hospital import LONG_AGO, Lab
from pairs import GOOD_LINE, PASSWORD, Bench, key_bytes, pem, pipe, request, self_signed
from pydantic import SecretStr

from pacskit.certificates import Identity, TrustedList, server_context
from pacskit.errors import CertificateError
from pacskit.settings.models import SecureListenerSettings

SECRET = "open sesame"


def test_a_good_pair(bench: Bench) -> None:
    identity = Identity(bench.path("good.crt"), str(bench.path("good.key")))
    state = identity.read()
    assert identity.status == state.status == GOOD_LINE
    assert state.ok
    assert (state.reason, state.notes) == ("", ())
    assert state.days_left() == 396
    server_context("rfc9325", state, verify=False, trusted=TrustedList())


@pytest.mark.parametrize("suffix", ["pem", "crt", "cer", "CRT"])
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_forms_and_extensions(bench: Bench, suffix: str, form: str) -> None:
    certificate = bench.certificate.public_bytes(getattr(serialization.Encoding, form))
    state = Identity(
        bench.path(f"a.{suffix}", certificate), bench.path("a.key", key_bytes(bench.key, form))
    ).read()
    assert state.status == GOOD_LINE
    server_context("rfc9325", state, verify=False, trusted=TrustedList())


def test_text_around_the_certificate_does_no_harm(bench: Bench) -> None:
    run = ["openssl", "x509", "-text", "-in", str(bench.path("good.crt"))]
    text = subprocess.run(run, check=True, capture_output=True).stdout
    key = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + key_bytes(
        bench.key
    )
    assert Identity(bench.path("a.pem", b"\xef\xbb\xbf" + text), bench.path("a.key", key)).read().ok


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ({"cn": "Scanner", "o": "Clinic", "c": "DE"}, "Scanner, Clinic, DE"),
        ({"cn": "Scanner", "c": "DE"}, "Scanner, DE"),
        ({"o": "Clinic"}, "pacs.example, Clinic"),
        ({}, "pacs.example"),
        ({"cn": "Röntgen\n\x1b[31m"}, r"Röntgen\n\x1b[31m"),
    ],
)
def test_the_subject_line(bench: Bench, names: dict[str, str], line: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    identity = Identity(
        bench.path("a.crt", pem(self_signed(key, **names))), bench.path("a.key", key_bytes(key))
    )
    assert identity.status == line


def test_a_chain_in_the_same_file_is_sorted(bench: Bench, lab: Lab) -> None:
    issued = lab.ward.issue("deep", folder=bench.folder)
    leaf, ward = x509.load_pem_x509_certificates(issued.certificate.read_bytes())
    root = x509.load_pem_x509_certificate(lab.ours.root.read_bytes())
    stranger = x509.load_pem_x509_certificate(lab.other.root.read_bytes())
    shuffled = b"".join(map(pem, (root, stranger, ward, leaf)))
    state = Identity(bench.path("a.crt", shuffled), issued.private_key).read()
    assert state.status == "deep, pacskit teaching authority"
    assert state.chain == (leaf, ward, root)


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_encrypted_keys(bench: Bench, form: str) -> None:
    key = bench.path("a.key", key_bytes(bench.key, form, SECRET.encode()))
    file = bench.path("password", f"{SECRET}\r\nsecond line".encode())
    for identity in (
        Identity(bench.path("good.crt"), key, SecretStr(SECRET)),
        Identity(bench.path("good.crt"), key, password_file=file),
    ):
        state = identity.read()
        assert state.status == GOOD_LINE
        server_context("rfc9325", state, verify=False, trusted=TrustedList())
    traditional = bench.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )
    old = Identity(bench.path("good.crt"), bench.path("old.key", traditional), SecretStr(SECRET))
    assert old.read().ok
    assert Identity(old.certificate, old.private_key).read().status == PASSWORD


def test_wrong_passwords_and_password_files(bench: Bench) -> None:
    key = bench.path("a.key", key_bytes(bench.key, password=SECRET.encode()))
    certificate = bench.path("good.crt")
    for identity, sentence in (
        (Identity(certificate, key, SecretStr("wrong")), "The password does not open a.key"),
        (Identity(certificate, key, SecretStr("x" * 5000)), "The password does not open a.key"),
        (Identity(certificate, key, password_file=bench.path("gone")), "gone does not exist"),
        (Identity(certificate, key, password_file=pipe(bench, "p")), "p is a pipe"),
        (Identity(certificate, key, password_file=bench.path("e", b"")), "e is empty"),
    ):
        state = identity.read()
        assert state.status == PASSWORD
        assert sentence in state.reason


def test_a_password_for_a_key_that_needs_none_does_no_harm(bench: Bench) -> None:
    assert Identity(bench.path("good.crt"), bench.path("good.key"), SecretStr("x")).read().ok


def test_the_second_line_blocks_nothing(bench: Bench, lab: Lab) -> None:
    now = datetime.now(UTC)
    rows = {
        "expired": (
            lab.ours.issue("e", start=LONG_AGO, days=30, folder=bench.folder),
            "expired on 2020-01-31",
        ),
        "soon": (lab.ours.issue("s", days=12, folder=bench.folder), "The certificate expires in 11 days, on"),
        "later": (lab.ours.issue("l", start=now + timedelta(5), folder=bench.folder), "is not valid before"),
        "use": (lab.ours.issue("u", use="client", folder=bench.folder), "Made for another use than a server"),
    }
    for issued, note in rows.values():
        state = Identity(issued.certificate, issued.private_key).read()
        assert state.ok
        assert note in state.notes[0]
        server_context("rfc9325", state, verify=False, trusted=TrustedList())


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(
    ("options", "note", "taken"),
    [
        (["-newkey", "rsa:1024"], "Weak: RSA key of 1024 bits, at least 2048 are needed", False),
        (["-newkey", "rsa:2048"], "", True),
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"], "Weak: curve of 224 bits", True),
    ],
)
def test_weak_keys(bench: Bench, options: list[str], note: str, taken: bool) -> None:
    run = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=weak", "-days", "90", *options]
    subprocess.run(
        [*run, "-keyout", "w.key", "-out", "w.crt"], check=True, capture_output=True, cwd=bench.folder
    )
    state = Identity(bench.path("w.crt"), bench.path("w.key")).read()
    assert state.ok
    assert any(note in each for each in state.notes)
    assert "Self-signed: every client has to trust this very certificate" in state.notes or not note
    if taken:
        server_context("rfc9325", state, verify=False, trusted=TrustedList())
    else:
        with pytest.raises(
            CertificateError, match=r"RSA key of 1024 bits.*Have a new one made, or choose legacy"
        ):
            server_context("rfc9325", state, verify=False, trusted=TrustedList())
        server_context("legacy", state, verify=False, trusted=TrustedList())


@pytest.mark.peer("openssl")
def test_a_weak_signature(bench: Bench, lab: Lab) -> None:
    request_file = bench.path("r.csr", request(bench))
    run = ["openssl", "x509", "-req", "-sha1", "-in", str(request_file), "-CA", str(lab.ours.root)]
    run += ["-CAkey", str(lab.ours.folder / "root.key"), "-days", "60", "-out", str(bench.path("s.crt"))]
    subprocess.run(run, check=True, capture_output=True)
    state = Identity(bench.path("s.crt"), bench.path("good.key")).read()
    assert state.ok
    assert "Weak: signed with SHA-1" in state.notes


def test_a_key_that_others_can_read_is_told(bench: Bench) -> None:
    bench.path("good.key").chmod(0o644)
    notes = Identity(bench.path("good.crt"), bench.path("good.key")).read().notes
    assert notes == ("The private key can be read by all users of this computer: chmod 600 good.key",)


def test_the_settings_say_where(bench: Bench) -> None:
    settings = SecureListenerSettings(
        certificate=bench.path("good.crt"),
        private_key=bench.path("a.key", key_bytes(bench.key, password=SECRET.encode())),
        key_password=SecretStr(SECRET),
    )
    assert Identity.of(settings).status == GOOD_LINE


def test_no_secret_gets_out(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret_key = key_bytes(bench.key)
    key = bench.path("a.key", key_bytes(bench.key, password=SECRET.encode()))
    right = Identity(bench.path("good.crt"), key, SecretStr(SECRET))
    wrong = Identity(bench.path("good.crt"), key, SecretStr(SECRET + "!"))
    broken = Identity(bench.path("good.crt"), bench.path("b.key", secret_key.replace(b"M", b"N")))
    mixed = Identity(bench.path("good.crt"), bench.path("c.key", secret_key * 2))
    said = "".join(
        repr(each) + str(each) + repr(each.read()) + each.read().reason
        for each in (right, wrong, broken, mixed)
    )
    said += caplog.text
    assert SECRET not in said
    for line in secret_key.splitlines()[1:-1]:
        assert line.decode() not in said
    assert "PRIVATE" not in said


def test_the_key_is_never_on_the_disk_in_plain(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    seen: list[tuple[int, bytes]] = []
    really = os.unlink

    def look(path: str) -> None:
        seen.append((os.stat(path).st_mode & 0o777, Path(path).read_bytes()))
        really(path)

    monkeypatch.setattr("pacskit.certificates.tls.os.unlink", look)
    state = Identity(bench.path("good.crt"), bench.path("good.key")).read()
    server_context("rfc9325", state, verify=False, trusted=TrustedList())
    ((mode, content),) = seen
    assert mode == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in content
    assert b"BEGIN PRIVATE KEY" not in content
    assert list(folder.iterdir()) == []
