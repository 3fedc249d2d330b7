"""The form builder and the services panel without a browser: every section, OK, CANCEL, DEFAULTS, other hands."""

from __future__ import annotations

import socket
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import pacskit
from pacskit.errors import PacskitError
from pacskit.events import ServiceChanged, SettingsChanged
from pacskit.settings import SECTIONS, SERVICES
from pacskit.settings.stack import SettingsStack
from pacskit.widgets.form import Form
from pacskit.widgets.service_panel import ServicePanel
from pacskit.widgets.services import ServicesPanel


@pytest.fixture
def station(tmp_path: Path) -> Iterator[pacskit.Station]:
    with pacskit.Station(tmp_path / "archive") as running:
        yield running


def panel_of(station: pacskit.Station) -> ServicePanel:
    services = station.services
    assert isinstance(services, ServicesPanel)
    assert services.settle()
    return services.panels["listener"]


def click(station: pacskit.Station, button: str) -> ServicePanel:
    panel = panel_of(station)
    getattr(panel, button).click()
    assert station.services.settle()
    return panel


def saved(home: Path) -> dict[str, object]:
    path = home / "pacskit" / "settings.toml"
    return dict(tomllib.loads(path.read_text())["listener"]) if path.exists() else {}


def loopback(panel: ServicePanel, port: int) -> None:
    panel.form.fields["enabled"].put(True)
    panel.form.fields["port"].put(port)
    panel.form.fields["host"].put("127.0.0.1")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("section", SECTIONS)
def test_a_form_can_be_made_of_every_section(section: str) -> None:
    form = Form(SECTIONS[section], lambda: None)
    form.load(SettingsStack().settings)
    assert form.check(), form.errors
    assert form.changes(form.typed()) == {}
    form.defaults()
    assert form.changes(form.typed()) == {}
    labels = [field.title for field in form.fields.values()]
    assert len(set(labels)) == len(labels), "two fields of one name"
    assert all(field.help_text for field in form.fields.values())


def test_every_service_that_is_here_has_a_tab_under_the_seeds_name(station: pacskit.Station) -> None:
    panel_of(station)
    assert list(station.services.tabs.titles) == [SECTIONS[name].label for name in station.slots]
    assert set(station.slots) <= set(SERVICES)


def test_no_password_stands_in_a_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSKIT_WEB__PASSWORD", "correct horse")
    form = Form(SECTIONS["web"], lambda: None)
    settings = SettingsStack().settings
    form.load(settings)
    form.check()
    assert settings.web.password is not None
    shown = [widget.get_state() for field in form.fields.values() for widget in field.widgets]
    assert "correct horse" not in str(shown)
    assert "$argon2" not in str(shown)
    assert "correct horse" not in repr(settings)
    assert "password" not in form.changes(form.typed()), "an empty field leaves the password as it is"


def test_ok_cancel_defaults(station: pacskit.Station, free_home: Path) -> None:
    panel, port = panel_of(station), free_port()
    loopback(panel, port)
    panel.form.fields["ae_title"].put("MINE")
    click(station, "cancel")
    assert panel.form.fields["ae_title"].input.value == "PACSKIT"
    assert saved(free_home) == {}
    loopback(panel, port)
    click(station, "ok")
    assert "Saved" in panel.message.html
    assert station.listener.status.port == port
    assert saved(free_home) == {"enabled": True, "port": port, "host": "127.0.0.1"}
    click(station, "defaults")
    assert panel.form.fields["port"].input.value == "11112"
    assert station.listener.status.running, "DEFAULTS fills the form only"
    click(station, "ok")
    assert not station.listener.status.running
    assert saved(free_home) == {}


def test_ok_with_a_wrong_value_does_nothing(station: pacskit.Station, free_home: Path) -> None:
    """A click may come before the button is off."""
    panel = panel_of(station)
    panel.form.fields["ae_title"].put("Ж")
    panel._clicked("ok")
    assert station.services.settle()
    assert panel.ok.disabled
    assert "no Ж" in panel.form.fields["ae_title"].said
    assert station.settings.listener.ae_title == "PACSKIT"
    assert saved(free_home) == {}


def test_what_another_hand_changes_is_shown_and_what_is_typed_stays(station: pacskit.Station) -> None:
    panel = panel_of(station)
    panel.form.fields["ae_title"].put("TYPED")
    station.apply({"listener": {"ae_title": "OTHER", "max_associations": 7}})
    assert station.services.settle()
    assert panel.form.fields["ae_title"].input.value == "TYPED"
    assert "was OTHER" in panel.form.fields["ae_title"].said
    assert panel.form.fields["max_associations"].input.value == "7"


def test_a_wrong_entry_of_a_file_is_replaced_by_ok_and_said_before(free_home: Path, tmp_path: Path) -> None:
    (free_home / "pacskit").mkdir()
    path = free_home / "pacskit" / "settings.toml"
    path.write_text('[listener]\nae_title = "Ж"  # a slip\n')
    with pytest.warns(RuntimeWarning, match="line 2"):
        opened = pacskit.Station(tmp_path / "archive")
    with opened as station:
        panel = panel_of(station)
        said = panel.form.fields["ae_title"].said
        assert "line 2" in said
        assert "OK writes PACSKIT there" in said
        assert "Ж" in path.read_text()
        click(station, "ok")
        assert "Ж" not in path.read_text()
        assert "# a slip" in path.read_text()
        assert panel.form.fields["ae_title"].said == ""


def test_a_port_that_is_taken_at_the_start_is_offered_another(free_home: Path, tmp_path: Path) -> None:
    (free_home / "pacskit").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = f'[listener]\nenabled = true\nport = {port}\nhost = "127.0.0.1"\n'
        (free_home / "pacskit" / "settings.toml").write_text(text)
        with pytest.warns(RuntimeWarning, match="protected"):
            opened = pacskit.Station(tmp_path / "archive")
        with opened as station:
            panel = panel_of(station)
            assert "The address is protected" in panel.message.html
            offered = station.listener.status.free_port
            assert panel.take.description == f"Take port {offered}"
            click(station, "take")
            assert station.listener.status.port == offered
            assert "for this notebook only" in panel.message.html
            assert "pk-hidden" in panel.take._dom_classes, "the offer stayed"
    assert saved(free_home)["port"] == port, "two notebooks would fight: each would follow the other's port"


def test_a_closed_station_can_no_longer_be_set(tmp_path: Path) -> None:
    with pacskit.Station(tmp_path / "archive") as station:
        panel = panel_of(station)
    assert all(widget.disabled for widget in panel.widgets)
    assert panel.state.html == ""
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pacskit")]


def test_a_failing_ok_shows_the_sentence_and_keeps_what_was_typed(
    station: pacskit.Station, free_home: Path
) -> None:
    panel, port = panel_of(station), free_port()
    loopback(panel, port)
    click(station, "ok")
    (free_home / "pacskit" / "settings.toml").chmod(0o400)
    panel.form.fields["ae_title"].put("MINE")
    with station.events.queue(ServiceChanged) as changed, station.events.queue(SettingsChanged):
        click(station, "ok")
        assert "read-only" in panel.message.html
        assert panel.form.fields["ae_title"].input.value == "MINE"
        assert station.listener.settings.ae_title == "PACSKIT"
        assert station.settings.listener.ae_title == "PACSKIT"
        assert station.listener.status.running
        assert all(event.state == "running" for event in changed.drain())
    with pytest.raises(PacskitError, match="read-only"):
        station.apply({"listener": {"ae_title": "MINE"}}, save=True)
