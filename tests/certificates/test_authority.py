"""The teaching authority, judged by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hospital import Lab, identity

from pacskit.certificates import Authority
from pacskit.errors import CertificateError

pytestmark = pytest.mark.peer("openssl")


def openssl(*arguments: str | Path) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_openssl_finds_nothing_wrong(tmp_path: Path, key) -> None:  # type: ignore[no-untyped-def]
    authority = Authority.create(tmp_path / "a", key=key)
    ward = Authority.create(tmp_path / "w", key=key, name="Ward", parent=authority)
    for signer in (authority, ward):
        for use in ("server", "client"):
            issued = signer.issue(f"one-{use}", use=use, key=key, names=["pacs.example", "10.0.0.9", "::1"])
            assert identity(issued).ok
            verify = ("verify", "-x509_strict", "-CAfile", authority.root, "-untrusted", issued.certificate)
            out = openssl(*verify, "-purpose", f"ssl{use}", issued.certificate)
            assert out.strip() == f"{issued.certificate}: OK"
            other = "sslserver" if use == "client" else "sslclient"
            assert "purpose" in openssl(*verify, "-purpose", other, issued.certificate)
    text = openssl("x509", "-noout", "-text", "-in", tmp_path / "a" / "one-server.crt")
    assert "OU = for teaching and test networks" in text
    assert "DNS:pacs.example, IP Address:10.0.0.9, IP Address:0:0:0:0:0:0:0:1" in text
    assert ("prime256v1" if key == "ec" else "(3072 bit)") in text


def test_keys_are_for_the_owner_alone(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path / "new" / "folder")
    issued = authority.issue("pacs")
    for path in (authority.folder / "root.key", issued.private_key):
        assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(authority) + repr(issued)
    assert "EllipticCurve" not in repr(authority)


def test_revoked_ones_stay_revoked(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    first, second, third = (authority.issue(name, use="client").certificate for name in ("a", "b", "c"))
    authority.revoke(first)
    path = Authority.open(tmp_path).revoke(second)
    assert path == tmp_path / "root.crl"
    for certificate, result in (
        (first, "certificate revoked"),
        (second, "certificate revoked"),
        (third, "OK"),
    ):
        out = openssl("verify", "-crl_check", "-CRLfile", path, "-CAfile", authority.root, certificate)
        assert result in out
    assert "3" in openssl("crl", "-in", authority.write_list(), "-noout", "-crlnumber")


def test_what_cannot_be(tmp_path: Path, lab: Lab) -> None:
    authority = Authority.create(tmp_path)
    before = (tmp_path / "root.key").read_bytes()
    with pytest.raises(CertificateError, match=r"root\.crt exists: nothing is overwritten"):
        Authority.create(tmp_path)
    with pytest.raises(CertificateError, match=r"root\.crt exists: nothing is overwritten"):
        authority.issue("root")
    assert (tmp_path / "root.key").read_bytes() == before
    for name in ("", "../x", "a/b", "x" * 65, "a\n", ".hidden", "trailing "):
        with pytest.raises(CertificateError, match="is no name for a certificate"):
            authority.issue(name)
    with pytest.raises(CertificateError, match="neither a host name nor an address"):
        authority.issue("x", names=["a" * 70])
    with pytest.raises(CertificateError, match="is not one of this authority's"):
        authority.revoke(lab.server.certificate)
    with pytest.raises(CertificateError, match="does not exist"):
        Authority.open(tmp_path / "nowhere")
    (tmp_path / "root.key").write_bytes((lab.ours.folder / "root.key").read_bytes())
    with pytest.raises(CertificateError, match="do not belong together"):
        Authority.open(tmp_path)


def test_nothing_outlives_its_authority(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path, days=10)
    assert identity(authority.issue("pacs")).days_left() == 9
