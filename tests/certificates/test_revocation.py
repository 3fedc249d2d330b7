"""Revocation lists: read within limits, and true to their own authority alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hospital import LONG_AGO, Lab

from pacskit.certificates import Authority, RevocationLists, TrustedList
from pacskit.errors import CertificateError


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "own", name="Own Root")


def chain(authority: Authority, name: str) -> list[x509.Certificate]:
    issued = authority.issue(name, use="client")
    leaf = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    return [leaf, authority.certificate]


def test_whom_it_names_is_refused(own: Authority) -> None:
    stolen, good = chain(own, "stolen"), chain(own, "good")
    lists = RevocationLists.read([own.revoke(stolen[0])])
    trusted = TrustedList().add(own.root)
    assert "stolen was revoked on" in lists.refusal(stolen, trusted)
    assert lists.refusal(good, trusted) == ""
    # A resumed chain, or one this Python does not give: the authority is found on the trusted list.
    assert "stolen was revoked on" in lists.refusal(stolen[:1], trusted)


def test_der_and_several_in_one_file(own: Authority, tmp_path: Path) -> None:
    stolen = chain(own, "stolen")
    crl = x509.load_pem_x509_crl(own.revoke(stolen[0]).read_bytes())
    der, several = tmp_path / "a.crl", tmp_path / "b.crl"
    der.write_bytes(crl.public_bytes(serialization.Encoding.DER))
    other = Authority.create(tmp_path / "x", name="X")
    several.write_bytes(other.write_list().read_bytes() + crl.public_bytes(serialization.Encoding.PEM))
    for path in (der, several):
        assert "stolen" in RevocationLists.read([path]).refusal(stolen, TrustedList())


def test_an_outdated_list_still_names_whom_it_names(own: Authority, tmp_path: Path) -> None:
    stolen, good = chain(own, "stolen"), chain(own, "good")
    own.write_list([stolen[0].serial_number], start=LONG_AGO, days=30)
    lists, trusted = RevocationLists.read([own.folder / "root.crl"]), TrustedList().add(own.root)
    assert lists.refusal(stolen, trusted)
    assert not lists.refusal(good, trusted)
    assert lists.notes(trusted) == ["root.crl of Own Root is outdated since 2020-01-31: get its newest list"]


def test_a_forged_list_counts_for_nothing(own: Authority, tmp_path: Path) -> None:
    """Same name, another key."""
    victim = chain(own, "victim")
    forger = Authority.create(tmp_path / "forger", name="Own Root")
    lists = RevocationLists.read([forger.write_list([victim[0].serial_number])])
    trusted = TrustedList().add(own.root)
    assert lists.refusal(victim, trusted) == ""
    assert lists.notes(trusted) == [
        "root.crl was not made by the Own Root on the trusted list: it is not used",
    ]


def test_authorities_without_a_list_are_named(lab: Lab) -> None:
    lists = RevocationLists.read([lab.revocation])
    assert lists.notes(lab.trusted.add(lab.other.root)) == [
        "No revocation list of Other Root, pacskit teaching authority: whom it revoked is accepted"
    ]
    assert RevocationLists().notes(lab.trusted) == []


def test_what_is_no_list(lab: Lab, tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    for path, sentence in (
        (lab.ours.root, "root.crt holds a certificate, no certificate revocation list"),
        (file("t", b"text"), "t holds text, no"),
        (file("e", b""), "e is empty"),
        (file("d", lab.revocation.read_bytes().replace(b"M", b"N")), "d is damaged"),
        (tmp_path / "gone", "gone does not exist"),
    ):
        with pytest.raises(CertificateError, match=sentence):
            RevocationLists.read([path])


def test_partial_lists_are_not_taken_for_whole_ones(tmp_path: Path) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(x509.Name([]))
    builder = builder.last_update(now).next_update(now + timedelta(1))
    delta = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True).sign(key, hashes.SHA256())
    (tmp_path / "delta.crl").write_bytes(delta.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(
        CertificateError, match=r"delta\.crl is a delta revocation list: give the authority's"
    ):
        RevocationLists.read([tmp_path / "delta.crl"])


def test_reasons_are_said_in_words(own: Authority, tmp_path: Path) -> None:
    stolen, now = chain(own, "stolen"), datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder(stolen[0].serial_number, now)
    entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
    builder = x509.CertificateRevocationListBuilder().issuer_name(own.certificate.subject)
    builder = builder.last_update(now).next_update(now + timedelta(1)).add_revoked_certificate(entry.build())
    key = serialization.load_pem_private_key((own.folder / "root.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    content = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (tmp_path / "r.crl").write_bytes(content)
    assert "(key compromise), says r.crl" in RevocationLists.read([tmp_path / "r.crl"]).refusal(
        stolen, TrustedList()
    )
