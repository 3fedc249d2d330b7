"""What goes over the control channel, where it says that it is, and what is logged."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from pacskit.errors import (
    AssociationRejected,
    NotAdministrator,
    PortTaken,
    Refused,
    ServiceError,
    SettingError,
    UnknownUID,
)
from pacskit.events import Event, StudiesChanged
from pacskit.services.host import log, places, plain
from pacskit.services.host.client import Channel, NobodyThere
from pacskit.settings import SECTIONS
from pacskit.settings import wire as settings_wire
from pacskit.settings.stack import SettingsStack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "owner.lock").write_text(json.dumps({"pid": os.getpid()}))
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 10_000,
        "null",
        '{"address": 5}',
        '{"address": "unix:x", "secret": "", "pid": "me", "host": "x", "closing": false}',
    ],
)
def test_a_damaged_control_file_is_none(folder: Path, text: str) -> None:
    (folder / places.CONTROL).write_text(text)
    assert places.find(folder) is None


@pytest.mark.parametrize("address", ["unix:/nowhere", "tcp:99999", "tcp:x", "what", "", "unix:", "unix:a\0b"])
def test_nobody_there(address: str) -> None:
    with pytest.raises(NobodyThere):
        Channel(places.Place(address, "", 1, ""))


@pytest.mark.parametrize(
    "error",
    [
        SettingError("listener.port", "is odd", "you"),
        NotAdministrator("listener.shared"),
        PortTaken("taken", host="h", port=1, reason="r", in_use=False, holder="x", free_port=2),
        AssociationRejected("no", 1, 2, 3),
        Refused(0xA900, "no"),
        UnknownUID("1.2.3"),
        ServiceError("it is off"),
        ValueError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors(error: Exception) -> None:
    back = plain.error_of(json.loads(json.dumps(plain.error(error))))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_events_of_every_kind() -> None:
    """Also those that others add: made of their fields' types."""
    kinds = [kind for name, kind in plain._EVENTS.items() if kind is not Event]
    assert StudiesChanged in kinds
    for kind in kinds:
        values = {
            name: made("2027-01-02") if made else number
            for number, (name, made) in enumerate(plain._fields(kind).items())
        }
        event = kind(**values)
        assert plain.event_of(json.loads(json.dumps(plain.event(event)))) == event
    assert plain.event_of({"event": "FromTheFuture", "at": 1}) is None
    assert plain.event_of({"event": "StudiesChanged", "at": 1, "new": 2, "study_uids": []}) is not None
    assert plain.event_of({"event": "StudiesChanged"}) is None
    assert plain.event_of({"event": "__builtins__"}) is None


def test_settings(monkeypatch: pytest.MonkeyPatch, free_home: Path) -> None:
    file = free_home / "pacskit" / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[listener]\nport = 104\nhots = "x"\n[web]\npassword = "plain"\n')
    monkeypatch.setenv("PACSKIT_WEB__PASSWORD", "correct horse")
    monkeypatch.setenv("PACSKIT_SECURE_LISTENER__TRUSTED", '["a", "b"]')
    before = SettingsStack({"archive": {"folder": "/x"}, "listener": {"port": 0}}).settings
    data = settings_wire.to_plain(before)
    after = settings_wire.from_plain(json.loads(json.dumps(data)))
    assert after == before
    assert after.explain("listener.port") == before.explain("listener.port")
    assert after.problems == before.problems
    assert "correct horse" not in json.dumps(data)
    assert settings_wire.code_of(after) == {"archive": {"folder": "/x"}, "listener": {"port": 0}}
    for name in SECTIONS:
        section = before.section(name)
        assert settings_wire.section_from_plain(name, settings_wire.section_to_plain(section)) == section
    data["stacks"]["listener.colour"] = [["code", None, 0, "red"]]
    data["stacks"]["listener.artim_timeout"] = [["code", None, 0, "soon"]]
    assert settings_wire.from_plain(data) == before, "what another version allows is left out"


def test_the_log_rotates(tmp_path: Path) -> None:
    path = tmp_path / "station.log"
    handler = log.rotating(path)
    logger = logging.Logger("alone")
    logger.addHandler(handler)
    for number in range(6_000):
        logger.warning("%d %s", number, "x" * 900)
    handler.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["station.log", *(f"station.log.{n}" for n in range(1, 5))]
    assert all(file.stat().st_size <= log.BYTES for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    tail = log.tail(path, 3)
    assert [line.split()[3] for line in tail] == ["5997", "5998", "5999"]
    assert log.tail(tmp_path / "none", 3) == []
