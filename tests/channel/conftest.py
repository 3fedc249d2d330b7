"""A real owner's end of the control channel, and what tests need around it."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pacskit.events import EventBus, InstanceStored
from pacskit.services.host import places, wire
from pacskit.services.host.client import Channel
from pacskit.services.host.server import ControlServer
from pacskit.system import local


class Answers:
    """The least a station answers."""

    quick = frozenset({"about", "sync", "count"})
    changing = frozenset({"change"})
    works = frozenset({"count to", "repeat"})

    def __init__(self) -> None:
        self.number = 0
        self.counts: list[int] = []
        self.left = threading.Event()
        self.held = threading.Event()
        self.cancelled = threading.Event()

    def work(
        self, ask: str, arguments: Mapping[str, Any], tell: Callable[[Any], None], cancel: threading.Event
    ) -> Any:
        if ask == "repeat":
            return arguments["text"] * arguments["times"]
        for number in range(arguments["to"]):
            tell(number)
        if arguments["then"] == "wait" and cancel.wait(20):
            self.cancelled.set()
        return "cancelled" if cancel.is_set() else arguments["to"]

    def answer(self, ask: str, arguments: Mapping[str, Any]) -> Any:
        match ask:
            case "about":
                return {"version": "0"}
            case "sync":
                return None
            case "count":
                return self.number
            case "change":
                self.number = arguments["to"]
            case "wait":
                assert self.held.wait(20)
            case "fail":
                raise KeyError("^".join(("Phantom", "Ada")))
            case _:
                raise ValueError(f"there is no question {ask!r}")
        return None

    def state(self) -> Mapping[str, Any]:
        return {"number": self.number}

    def clients_changed(self, count: int) -> None:
        self.counts.append(count)
        if count == 0:
            self.left.set()


class Hearer:
    """What a client hears, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.dropped = 0
        self.lost = threading.Event()

    def state(self, said: Any) -> None:
        self.heard.append(said["number"])

    def events(self, told: list[Any], dropped: int) -> None:
        self.dropped += dropped
        self.heard += told

    def gone(self, reason: str) -> None:
        self.heard.append(reason)
        self.lost.set()

    def follow(self, folder: Path) -> Channel:
        place = places.find(folder)
        assert place is not None
        return Channel(place, state=self.state, events=self.events, lost=self.gone)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "owner.lock").write_text(json.dumps({"pid": os.getpid()}))
    return tmp_path


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def control(folder: Path, events: EventBus, answers: Answers) -> Iterator[ControlServer]:
    before = threading.active_count()
    made = ControlServer(folder, events, answers, os.getpid(), queue=50)
    yield made
    answers.held.set()
    made.close()
    made.close()
    for thread in threading.enumerate():
        if thread.name in ("pacskit-channel", "pacskit-answer"):
            thread.join(5)
    assert threading.active_count() <= before, threading.enumerate()  # others' threads may end too


def stored(number: int) -> InstanceStored:
    return InstanceStored(
        sop_instance_uid=f"1.{number}", series_uid="2", study_uid="3", received_from="A", bytes=number
    )


def raw(control: ControlServer) -> socket.socket:
    sock = local.connect(control.place.address, 5)
    sock.settimeout(10)
    return sock


def hello(control: ControlServer, **more: Any) -> bytes:
    return wire.encode({"hello": {"secret": control.place.secret, "protocol": wire.PROTOCOL, **more}})


def is_closed(sock: socket.socket) -> bool:
    """Sent away, whatever was said before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True
