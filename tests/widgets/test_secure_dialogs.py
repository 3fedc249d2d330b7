"""The Secure DICOM Listener's panel without a browser: what each click of 12.1.4 does, and what no widget holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacskit.certificates import NOBODY, Authority, TrustedList
from pacskit.certificates.contents import KEY_SUFFIXES
from pacskit.errors import CertificateError
from pacskit.widgets import uploads
from pacskit.widgets.private import LARGEST, PrivateHTML
from tests.widgets.secure_panels import PASSWORD, Person, files, mode, saved

# -- step 4: trusted peer certificates


def test_a_list_is_made_and_kept_by_content(person: Person, hospital: Authority, free_home: Path) -> None:
    assert "none" in person.chooser("trusted")._summary.html
    person.choose("trusted")
    assert "The list is empty" in person.trusted.top.html
    person.click(person.trusted, "add:")
    assert "Enter the path" in person.trusted.foot.html
    person.click(person.trusted, "add:", add=str(hospital.root))
    person.until(lambda: len(person.trusted.list))
    html = person.trusted.top.html
    for fact in ("Hospital CA, pacskit teaching authority", "issued by itself", "EC P-256", "> ok<", ":"):
        assert fact in html, fact
    assert TrustedList().add(hospital.root).entries[0].fingerprint in html
    assert person.panel.ok.disabled, "the outer OK would leave out what was not taken over"
    person.click(person.trusted, "ok:")
    assert not person.trusted.is_open
    assert not person.trusted.top.html
    assert "1 authority: Hospital CA" in person.chooser("trusted")._summary.html
    assert "● changed, was none" in person.chooser("trusted").said
    assert saved(free_home) == {}, "an inner OK saves nothing"
    person.press("ok")
    hospital.root.unlink()
    assert saved(free_home)["trusted"] == list(person.station.settings.secure_listener.trusted)
    assert "BEGIN CERTIFICATE" in str(saved(free_home)["trusted"])
    assert "1 authority: Hospital CA" in person.chooser("trusted")._summary.html


def test_adding_one_twice_is_the_seeds_error_and_the_rest_is_added(
    person: Person, hospital: Authority, tmp_path: Path
) -> None:
    other = Authority.create(tmp_path / "other", name="Other CA")
    both = tmp_path / "both.pem"
    both.write_bytes(hospital.root.read_bytes() + other.root.read_bytes())
    person.choose("trusted")
    person.upload(person.trusted, "add", "root.crt", hospital.root.read_bytes())
    assert "Added: Hospital CA" in person.trusted.foot.html
    person.click(person.trusted, "add:", add=str(both))
    person.until(lambda: len(person.trusted.list) == 2)
    html = person.trusted.foot.html
    assert "The certificate has already been added to the list: Hospital CA" in html
    assert "Added: Other CA" in html


@pytest.mark.parametrize("by", ["path", "upload"])
def test_a_doubtful_one_is_added_only_knowingly(person: Person, hospital: Authority, by: str) -> None:
    leaf = hospital.issue("leaf").certificate
    person.choose("trusted")
    if by == "path":
        person.click(person.trusted, "add:", add=str(leaf))
    else:
        person.upload(person.trusted, "add", "leaf.crt", leaf.read_bytes())
    person.until(lambda: "is not an authority" in person.trusted.foot.html)
    assert "Add all the same" in person.trusted.foot.html
    assert not len(person.trusted.list)
    person.click(person.trusted, "knowingly:")
    assert len(person.trusted.list) == 1
    assert "■" in person.trusted.top.html
    assert "not an authority" in person.trusted.top.html


@pytest.mark.parametrize(
    ("start", "days", "state", "mark"),
    [(-40, 20, "expired on", "▲"), (-1, 10, "expires in", "◆"), (5, 20, "not valid before", "◇")],
)
def test_dates_are_told_in_words_and_by_shape(
    person: Person, tmp_path: Path, start: int, days: int, state: str, mark: str
) -> None:
    root = Authority.create(
        tmp_path / "dated", start=datetime.now(UTC) + timedelta(days=start), days=days
    ).root
    person.choose("trusted")
    person.upload(person.trusted, "add", "root.crt", root.read_bytes())
    if mark == "▲":
        person.click(person.trusted, "knowingly:")
    assert state in person.trusted.top.html
    assert mark in person.trusted.top.html


def test_remove_and_remove_all(person: Person, tmp_path: Path) -> None:
    person.choose("trusted")
    for name in ("A", "B", "C"):
        root = Authority.create(tmp_path / name, name=f"Root {name}").root
        person.upload(person.trusted, "add", "root.crt", root.read_bytes())
    first = person.trusted.list.entries[0].fingerprint
    person.click(person.trusted, f"select:{first}")
    assert f'data-key="select:{first}" aria-selected="true"' in person.trusted.top.html
    person.click(person.trusted, "remove:")
    assert [entry.subject.split(",")[0] for entry in person.trusted.list] == ["Root B", "Root C"]
    for by, chosen in ((1, 1), (5, 1), (-1, 0)):  # arrow keys, from the next one, which is chosen now
        person.trusted.heard({"type": "step", "key": "list", "by": by})
        person.settle()
        assert person.trusted._selected == person.trusted.list.entries[chosen].fingerprint
    person.click(person.trusted, "remove-all:")
    assert "The list is empty" in person.trusted.top.html


BAD = {
    "empty.crt": (b"", "empty.crt is empty"),
    "text.crt": (b"hello", "text.crt holds text, no certificate"),
    "root.txt": (b"hello", "root.txt is none of *.pem, *.crt, *.cer"),
    "large.crt": (None, "large.crt has more than 1 MB"),
    "<b>.crt": (b"x", "_b_.crt holds text"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_upload_has_its_sentence(person: Person, name: str) -> None:
    data, sentence = BAD[name]
    person.choose("trusted")
    person.upload(person.trusted, "add", name, data)
    assert sentence in person.trusted.foot.html
    assert "<b>." not in person.trusted.foot.html


def test_a_bad_path_has_its_sentence(person: Person, tmp_path: Path) -> None:
    person.choose("trusted")
    for path, sentence in ((tmp_path / "gone.crt", "does not exist"), (tmp_path, "is none of *.pem")):
        person.click(person.trusted, "add:", add=str(path))
        person.until(lambda said=sentence: said in person.trusted.foot.html)  # type: ignore[misc]


def test_verification_with_nobody_trusted_is_allowed_and_said(person: Person) -> None:
    form = person.panel.form
    assert "every client is accepted" in form.fields["verify_peer"].said
    form.fields["verify_peer"].put(True)
    person.settle()
    assert NOBODY in form.fields["trusted"].said
    assert not person.panel.ok.disabled
    form.fields["tls_profile"].put("legacy")
    person.settle()
    assert "INSECURE" in form.fields["tls_profile"].said
    person.press("ok")
    shown = "".join(carrier.html for carrier in person.panel.carriers)
    assert "INSECURE" in shown, "also where More settings is folded"
    assert NOBODY in shown


# -- step 5: certificate and private key


def test_every_status_of_the_seed_live_and_ok_only_when_good(
    person: Person, hospital: Authority, tmp_path: Path, free_home: Path
) -> None:
    person.choose("certificate")
    rows = files(hospital, tmp_path)
    for status, (certificate, key) in rows.items():
        person.paths(certificate, key)
        assert status in person.status()
        good = status.startswith("pacs")
        assert person.ok_on is good
        person.click(person.identity, "ok:", certificate=str(certificate or ""), private_key=str(key or ""))
        person.until(lambda: person.identity._ok_for is None)
        assert person.identity.is_open is not good, "OK worked for what is not usable"
        if "password" in status:
            assert "PACSKIT_SECURE_LISTENER__KEY_PASSWORD" in person.identity.middle.html
            assert "Key password file" in person.identity.middle.html
    certificate, key = rows["pacs, pacskit teaching authority"]
    form = person.panel.form
    assert (form.fields["certificate"].raw, form.fields["private_key"].raw) == (certificate, key)
    person.until(lambda: "pacs, pacskit" in person.chooser("certificate")._summary.html)
    assert "changed" in form.fields["private_key"].said
    assert saved(free_home) == {}
    person.press("ok")
    assert saved(free_home) == {"certificate": str(certificate), "private_key": str(key)}


def test_ok_takes_what_stands_in_the_fields_though_it_was_not_read_yet(
    person: Person, hospital: Authority
) -> None:
    good = hospital.issue("pacs")
    person.choose("certificate")
    person.click(person.identity, "ok:", certificate=str(good.certificate), private_key=str(good.private_key))
    person.until(lambda: not person.identity.is_open)
    assert person.panel.form.fields["private_key"].raw == good.private_key


def test_a_password_file_of_the_form_opens_the_key(
    person: Person, hospital: Authority, tmp_path: Path
) -> None:
    certificate, key = files(hospital, tmp_path)["Private key needs a password"]
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    person.choose("certificate")
    person.paths(certificate, key)
    assert "needs a password" in person.status()
    person.panel.form.fields["key_password_file"].put(str(secret))
    person.until(lambda: "pacs, pacskit" in person.identity.middle.html)


def test_expiry_and_weakness_warn_and_do_not_block(person: Person, hospital: Authority) -> None:
    old = hospital.issue("old", start=datetime.now(UTC) - timedelta(days=9), days=3)
    old.private_key.chmod(0o644)
    person.choose("certificate")
    person.paths(old.certificate, old.private_key)
    assert "The certificate expired on" in person.status()
    assert "can be read by all users" in person.identity.middle.html
    assert person.ok_on


def test_an_uploaded_key_is_the_owners_alone_and_its_path_is_set(
    person: Person, hospital: Authority, free_home: Path
) -> None:
    good, other = hospital.issue("pacs"), hospital.issue("other")
    person.choose("certificate")
    person.upload(person.identity, "certificate", "pacs.crt", good.certificate.read_bytes())
    person.upload(person.identity, "private_key", "../../pacs.key", good.private_key.read_bytes())
    assert "pacs, pacskit" in person.status()
    kept = free_home / "pacskit" / "certificates" / "pacs.key"
    assert person.identity.paths["private_key"].text == str(kept)
    assert kept.read_bytes() == good.private_key.read_bytes()
    assert mode(kept) == 0o600
    assert mode(kept.parent) == 0o700
    # the same content is the same file, another one gets another name
    person.upload(person.identity, "private_key", "pacs.key", good.private_key.read_bytes())
    assert person.identity.paths["private_key"].text == str(kept)
    person.upload(person.identity, "private_key", "pacs.key", other.private_key.read_bytes())
    assert person.identity.paths["private_key"].text == str(kept.with_name("pacs-2.key"))
    assert kept.read_bytes() == good.private_key.read_bytes()
    # what is no key is not written
    person.upload(person.identity, "private_key", "wrong.key", good.certificate.read_bytes())
    assert "Incorrect private key: wrong.key holds a certificate, no private key" in person.identity.foot.html
    assert sorted(path.name for path in kept.parent.iterdir()) == ["pacs-2.key", "pacs.crt", "pacs.key"]


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ("../../x.key", "x.key"),
        ("C:\\keys\\x.KEY", "x.key"),
        ("/etc/x.key", "x.key"),
        ("..key", None),
        (".key", None),
        ("a\0b\n.key", "a_b_.key"),
        ("con.key", "con_.key"),
        (".hidden.key", "hidden.key"),
        ("x" * 300 + ".key", "x" * 60 + ".key"),
        ("x.key.exe", None),
    ],
)
def test_the_name_of_an_upload_is_a_claim(claim: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(CertificateError, match=r"none of \*\.key"):
            uploads.named(claim, KEY_SUFFIXES)
    else:
        assert uploads.named(claim, KEY_SUFFIXES) == name


def test_more_than_a_megabyte_is_dropped_in_python_too() -> None:
    got: list[object] = []
    private = PrivateHTML(lambda message: got.append(message["data"]))
    for size in (LARGEST, LARGEST + 1):
        private._message(None, {"type": "file", "key": "k", "name": "n"}, [memoryview(bytes(size))])
    assert got == [bytes(LARGEST), None]


def test_teaching_certificates_in_one_click(person: Person, free_home: Path) -> None:
    person.choose("certificate")
    person.status()
    assert "Make certificates for teaching" in person.identity.foot.html
    person.click(person.identity, "teach:")
    person.until(lambda: "server, pacskit" in person.identity.middle.html)
    folder = free_home / "pacskit" / "certificates" / "teaching"
    assert str(folder / "root.crt") in person.identity.foot.html
    assert "teaching and test networks only" in person.identity.foot.html
    assert mode(folder / "server.key") == 0o600
    person.click(person.identity, "trust:")
    person.click(person.identity, "ok:")
    person.until(lambda: not person.identity.is_open)
    assert "pacskit teaching root" in person.chooser("trusted")._summary.html
    # a second time: the same ones
    before = (folder / "server.key").read_bytes()
    person.press("defaults")
    person.choose("certificate")
    person.click(person.identity, "teach:")
    person.until(lambda: "server, pacskit" in person.identity.middle.html)
    assert (folder / "server.key").read_bytes() == before
    assert not (folder / "server-2.key").exists()


# -- around them
