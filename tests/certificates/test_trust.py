"""The trusted list: what may be added, what each row says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hospital import LONG_AGO, Lab

from pacskit.certificates import AlreadyTrusted, Authority, Doubtful, TrustedList
from pacskit.errors import CertificateError
from pacskit.settings.models import SecureListenerSettings


def test_a_row_says_what_a_person_needs(lab: Lab) -> None:
    (row,) = TrustedList().add(lab.ours.root)
    assert row.subject == "Hospital Root, pacskit teaching authority"
    assert row.issuer == "itself"
    assert (row.valid_to - row.valid_from).days == 3650
    assert row.fingerprint.count(":") == 31
    assert row.key_type == "EC P-256"
    assert row.state() == ("ok", "ok")
    (ward,) = TrustedList().add(lab.ward.root)
    assert ward.issuer == "Hospital Root"


def test_it_is_kept_by_content(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "root.cer"
    certificate = x509.load_pem_x509_certificate(lab.ours.root.read_bytes())
    file.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    texts = TrustedList().add(file).texts
    file.unlink()
    settings = SecureListenerSettings(trusted=texts)
    assert [row.certificate for row in TrustedList.of(settings.trusted)] == [certificate]
    assert (
        TrustedList.of([str(lab.ours.root), *texts]).texts == texts
    )  # paths are taken too, and no one twice


def test_one_that_is_there_is_the_seeds_error(lab: Lab, tmp_path: Path) -> None:
    trusted = TrustedList().add(lab.ours.root)
    with pytest.raises(AlreadyTrusted, match="already been added to the list: Hospital Root, pacskit teach"):
        trusted.add(lab.ours.root)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(lab.other.root.read_bytes() + lab.ours.root.read_bytes())
    with pytest.raises(AlreadyTrusted) as caught:
        trusted.add(bundle)
    assert [row.subject.split(",")[0] for row in caught.value.rest] == ["Hospital Root", "Other Root"]
    assert len(TrustedList().add(bundle)) == 2


def test_doubtful_ones_only_knowingly(lab: Lab, tmp_path: Path) -> None:
    leaf = lab.server.certificate
    with pytest.raises(
        Doubtful, match="pacs, pacskit teaching authority is not an authority: it vouches for"
    ):
        TrustedList().add(leaf)
    (row,) = TrustedList().add(leaf, knowingly=True)
    assert row.state()[0] == "not an authority"
    old = Authority.create(tmp_path, name="Old Root", start=LONG_AGO, days=30)
    with pytest.raises(Doubtful, match=r"Old Root.* expired on 2020-01-31: clients it signed are refused"):
        TrustedList().add(old.root)
    (row,) = TrustedList().add(old.root, knowingly=True)
    assert row.state() == ("expired", "expired on 2020-01-31")


def test_states_follow_the_calendar(lab: Lab) -> None:
    (row,) = lab.trusted
    assert row.state(row.valid_to - timedelta(days=31, hours=1)) == ("ok", "ok")
    day = f"on {row.valid_to:%Y-%m-%d}"
    assert row.state(row.valid_to - timedelta(days=29, hours=1)) == (
        "expires soon",
        f"expires in 29 days, {day}",
    )
    assert row.state(row.valid_to - timedelta(days=1, hours=1))[1] == f"expires in 1 day, {day}"
    assert row.state(row.valid_to + timedelta(hours=1))[0] == "expired"
    assert row.state(row.valid_from - timedelta(hours=1))[0] == "not yet valid"


def test_remove(lab: Lab) -> None:
    both = lab.trusted.add(lab.other.root)
    assert both.remove(both.entries[0].fingerprint).entries == both.entries[1:]


def test_what_is_no_certificate(lab: Lab, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.crt"
    wrong.write_bytes(lab.revocation.read_bytes())
    with pytest.raises(CertificateError, match=r"wrong\.crt holds a certificate revocation list, no"):
        TrustedList().add(wrong)
    with pytest.raises(CertificateError, match=r"root\.key is none of \*\.pem, \*\.crt, \*\.cer"):
        TrustedList().add(lab.ours.folder / "root.key")
    with pytest.raises(CertificateError, match="Entry 2 of the trusted list is damaged"):
        TrustedList.of([*lab.trusted.texts, lab.trusted.texts[0].replace("M", "N")])
    with pytest.raises(CertificateError, match=r"uploaded\.crt holds text"):
        TrustedList().add(b"hello", name="uploaded.crt")
