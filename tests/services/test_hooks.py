"""Hooks: real commands, told of real events, that can neither hold up nor flood anybody."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from pacskit.events import AssociationRefused, EventBus, ServiceChanged
from pacskit.services import hooks
from pacskit.services.hooks import Hooks
from pacskit.settings.models import HooksSettings

NOTE = "import sys, os; line = sys.stdin.readline(); open(os.environ['NOTES'], 'a').write(line)"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipe that the command writes to: reading waits for it."""
    path = tmp_path / "notes"
    os.mkfifo(path)
    monkeypatch.setenv("NOTES", str(path))
    return path


def command(tmp_path: Path, source: str) -> str:
    script = tmp_path / "a command.py"
    script.write_text(source)
    return f'{sys.executable} "{script}"'


def refused(address: str = "10.0.0.1") -> AssociationRefused:
    return AssociationRefused(calling="CT1", called="WRONG", address=address, reason="it called 'WRONG'")


def test_a_command_is_told_the_event(tmp_path: Path, notes: Path) -> None:
    events = EventBus()
    following = Hooks(HooksSettings(peer_refused=command(tmp_path, NOTE)), events)
    events.publish(ServiceChanged(service="listener", state="failed"))  # for another hook, which is not set
    events.publish(refused())
    told = json.loads(notes.read_text())
    assert (told["hook"], told["event"], told["calling"], told["address"], told["left_out"]) == (
        "peer_refused",
        "AssociationRefused",
        "CT1",
        "10.0.0.1",
        0,
    )
    following.close()


def test_a_command_does_not_inherit_our_passwords(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSKIT_SECURE_LISTENER__KEY_PASSWORD", "correct horse")
    monkeypatch.setenv("PACSKIT_HIS__TOKEN", "battery staple")
    monkeypatch.setenv("PACSKIT_LISTENER__PORT", "11113")
    events = EventBus()
    write = "import os; open(os.environ['NOTES'], 'w').write(repr(dict(os.environ)))"
    following = Hooks(HooksSettings(peer_refused=command(tmp_path, write)), events)
    events.publish(refused())
    told = notes.read_text()
    assert "'PACSKIT_LISTENER__PORT': '11113'" in told
    assert "correct horse" not in told
    assert "battery staple" not in told
    following.close()


def test_only_a_failed_service_is_down(tmp_path: Path, notes: Path) -> None:
    events = EventBus()
    following = Hooks(HooksSettings(service_down=command(tmp_path, NOTE)), events)
    for state in ("running", "stopped", "failed"):
        events.publish(ServiceChanged(service="listener", state=state, error="port 104 is taken"))
    told = json.loads(notes.read_text())
    assert (told["state"], told["error"]) == ("failed", "port 104 is taken")
    following.close()


def test_the_same_again_is_counted_and_not_run(
    tmp_path: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = EventBus()
    following = Hooks(HooksSettings(peer_refused=command(tmp_path, NOTE)), events)
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"):
        events.publish(refused(address))
    assert json.loads(notes.read_text())["address"] == "10.0.0.1"
    assert json.loads(notes.read_text())["address"] == "10.0.0.2"
    monkeypatch.setattr(hooks, "REST", 0.0)
    events.publish(refused("10.0.0.1"))
    again = json.loads(notes.read_text())
    assert (again["address"], again["left_out"]) == ("10.0.0.1", 2)
    following.close()


def test_nobody_waits_for_a_command_and_the_end_ends_it(tmp_path: Path, notes: Path) -> None:
    events = EventBus()
    endless = "import os, time; open(os.environ['NOTES'], 'w').write(str(os.getpid())); time.sleep(600)"
    following = Hooks(HooksSettings(peer_refused=command(tmp_path, endless)), events)
    events.publish(refused())
    pid = int(notes.read_text())
    began = time.monotonic()
    for number in range(1000):
        events.publish(refused(f"10.0.1.{number}"))
    assert time.monotonic() - began < 5
    following.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "pacskit-hooks" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import sys; sys.exit('no paper left')", "no paper left"),
        (None, "cannot be run"),
        ("'", "cannot be run"),
    ],
)
def test_what_goes_wrong_is_logged_and_the_next_is_run(
    tmp_path: Path, notes: Path, caplog: pytest.LogCaptureFixture, source: str | None, sentence: str
) -> None:
    events = EventBus()
    broken = source if source == "'" else command(tmp_path, source) if source else "/no/such/program"
    good = tmp_path / "good.py"
    good.write_text(NOTE)
    settings = HooksSettings(peer_refused=broken, service_down=f"{sys.executable} {good}")
    following = Hooks(settings, events)
    events.publish(refused())
    events.publish(ServiceChanged(service="listener", state="failed"))
    assert json.loads(notes.read_text())["hook"] == "service_down"
    assert sentence in caplog.text
    following.close()
