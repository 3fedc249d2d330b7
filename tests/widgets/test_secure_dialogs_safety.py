"""The Secure DICOM Listener's panel: what CANCEL, DEFAULTS and a fixed setting do, and what no widget holds."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as w
import pytest

import pacskit
from pacskit.certificates import Authority
from pacskit.certificates.contents import CERTIFICATE_SUFFIXES, KEY_SUFFIXES
from pacskit.widgets.file_field import beginning
from tests.widgets.secure_panels import PASSWORD, Person, files, saved


def test_inner_cancel_and_escape_change_nothing(person: Person, hospital: Authority) -> None:
    good = hospital.issue("pacs")
    person.choose("trusted")
    person.upload(person.trusted, "add", "root.crt", hospital.root.read_bytes())
    person.click(person.trusted, "cancel:")
    assert "none" in person.chooser("trusted")._summary.html
    person.choose("certificate")
    person.paths(good.certificate, good.private_key)
    person.click(person.identity, "cancel:")
    person.until(lambda: "No certificate" in person.chooser("certificate")._summary.html)
    assert not person.panel.ok.disabled
    assert person.panel.form.changes(person.panel.form.typed()) == {}
    person.choose("trusted")
    assert "The list is empty" in person.trusted.top.html, "a cancelled list came back"
    person.press("cancel")
    assert not person.trusted.is_open


def test_defaults_empties_list_and_paths(person: Person, hospital: Authority, free_home: Path) -> None:
    good = hospital.issue("pacs")
    settings = {
        "trusted": [hospital.root.read_text()],
        "certificate": str(good.certificate),
        "private_key": str(good.private_key),
    }
    person.station.apply({"secure_listener": settings}, save=True)
    person.until(lambda: "Hospital CA" in person.chooser("trusted")._summary.html)
    person.choose("trusted")
    person.press("defaults")
    assert not person.trusted.is_open
    fields = person.panel.form.fields
    assert [fields[name].raw for name in settings] == [(), None, None]
    assert "changed, was 1 authority: Hospital CA" in fields["trusted"].said
    assert set(saved(free_home)) == set(settings)
    person.press("ok")
    assert saved(free_home) == {}


def test_what_the_environment_fixes_cannot_be_chosen(
    tmp_path: Path, hospital: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = hospital.issue("pacs")
    monkeypatch.setenv("PACSKIT_SECURE_LISTENER__TRUSTED", str(hospital.root.read_text()))
    monkeypatch.setenv("PACSKIT_SECURE_LISTENER__CERTIFICATE", str(good.certificate))
    with pacskit.Station(tmp_path / "archive") as station:
        person = Person(station)
        assert person.chooser("trusted").button.disabled
        assert "fixed by the environment: PACSKIT_SECURE_LISTENER__TRUSTED" in person.chooser("trusted").said
        person.click(person.trusted, "choose:")
        assert not person.trusted.is_open
        # the key alone can still be chosen
        assert not person.chooser("certificate").button.disabled
        person.choose("certificate")
        assert "readonly" in person.identity.top.html
        person.paths("/elsewhere.crt", good.private_key)
        assert "pacs, pacskit" in person.status()
        person.upload(person.identity, "certificate", "x.crt", good.certificate.read_bytes())
        assert person.identity.paths["certificate"].text == str(good.certificate)


def test_enabled_without_a_certificate_is_said_before_ok(person: Person) -> None:
    form = person.panel.form
    person.settle()
    form.fields["enabled"].put(True)
    person.until(lambda: "The service cannot run without them" in form.fields["certificate"].said)
    assert "No certificate" in form.fields["certificate"].said


def test_paths_are_completed(tmp_path: Path) -> None:
    for name in ("root.crt", "root.key", "roots.PEM", ".hidden.crt"):
        (tmp_path / name).touch()
    (tmp_path / "rooted").mkdir()
    names = [Path(found).name for found in beginning(f"{tmp_path}/ro", CERTIFICATE_SUFFIXES)]
    assert names == ["root.crt", "roots.PEM", "rooted"]
    assert beginning(f"{tmp_path}/", KEY_SUFFIXES) == [f"{tmp_path}/root.key", f"{tmp_path}/rooted/"]
    for nothing in ("", "~", "relative/ro", f"{tmp_path}/gone/x", "/\0/x", "~nobody-here/x"):
        assert beginning(nothing, KEY_SUFFIXES) == []


def test_completion_comes_with_typing(person: Person, hospital: Authority) -> None:
    person.choose("trusted")
    typed = f"{hospital.folder}/ro"
    person.trusted.heard({"type": "input", "key": "add", "text": typed})
    person.until(lambda: f'<option value="{hospital.root}">' in person.trusted.foot.html)


def test_no_widget_state_holds_a_key_or_a_password(
    person: Person, hospital: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After an error, an inner and an outer OK, and CANCEL."""
    good = hospital.issue("pacs")
    certificate, locked = files(Authority.create(tmp_path / "second"), tmp_path)[
        "Private key needs a password"
    ]
    password = tmp_path / "secret"
    password.write_text(PASSWORD)
    person.panel.form.fields["key_password_file"].put(str(password))
    person.choose("certificate")
    person.upload(person.identity, "certificate", "wrong.crt", good.private_key.read_bytes())
    person.upload(person.identity, "private_key", "locked.key", Path(str(locked)).read_bytes())
    person.upload(person.identity, "certificate", "pacs.crt", Path(str(certificate)).read_bytes())
    person.until(lambda: "pacs, pacskit" in person.identity.middle.html)
    person.click(person.identity, "ok:")
    person.until(lambda: not person.identity.is_open)
    person.press("ok")
    person.press("cancel")
    state = str(w.Widget.get_manager_state()) + caplog.text + repr(vars(person.identity))
    assert "pk-services" in state
    secrets = [PASSWORD, "PRIVATE KEY"]
    for key in (good.private_key, Path(str(locked))):
        secrets += [line for line in key.read_text().splitlines() if "KEY" not in line and len(line) > 20]
    for secret in secrets:
        assert secret not in state


def test_a_front_end_without_anywidget_is_told_what_to_do_instead(person: Person) -> None:
    person.station.services._redraw(frozenset({"fallback", "check"}))
    summary = person.chooser("trusted")._summary
    assert "CHOOSE needs anywidget" in summary.html
    assert summary.widget.children[0].value == summary.html
