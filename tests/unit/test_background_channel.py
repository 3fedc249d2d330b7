"""The control channel itself: hostile, slow, many and strange clients, against a real owner's end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pacskit.errors import (
    PacskitError,
    ServiceError,
)
from pacskit.events import Event, EventBus, InstanceStored, ServiceChanged, SettingsChanged
from pacskit.services.host import client, connection, log, places, plain, server, wire
from pacskit.services.host.client import Channel, NobodyThere
from pacskit.services.host.server import ControlServer
from pacskit.system import local
from tests import second_user


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


# -- what is told, in what order


def test_state_then_events_then_the_answer(control: ControlServer, events: EventBus) -> None:
    events.publish(stored(1))
    with raw(control) as sock, sock.makefile("rb") as stream:

        def until(last: str) -> list[tuple[str, Any]]:
            """(kind, content) of each message until one of this kind."""
            found: list[tuple[str, Any]] = []
            while not found or found[-1][0] != last:
                message = wire.read(stream, wire.LONGEST_ANSWER)
                assert message is not None
                found.append(next(iter(message.items())))
            return found

        sock.sendall(hello(control, follow=True))
        _, (_, state), (_, told) = until("events")
        assert state == {"number": 0}
        assert [plain.event_of(data) for data in told] == events.recent(Event), "what was before is told too"
        sock.sendall(wire.encode({"id": 1, "ask": "change", "with": {"to": 7}}))
        assert until("id") == [("state", {"number": 7}), ("id", 1)]
        events.publish(stored(2))
        events.publish(ServiceChanged(service="listener", state="stopped"))
        sock.sendall(wire.encode({"id": 2, "ask": "sync"}))
        found = until("id")
        kinds = [data["event"] for kind, content in found if kind == "events" for data in content]
        assert kinds == ["InstanceStored", "ServiceChanged"]
        position = [kind for kind, _ in found].index("state")
        assert "ServiceChanged" not in json.dumps(found[:position]), "a change is not told before its state"
    hearer = Hearer()
    channel = hearer.follow(control.folder)
    channel.ask("change", to=8)
    assert hearer.heard[0] == 7
    assert hearer.heard[-1] == 8
    channel.close()


def test_several_clients_and_questions_at_once(
    control: ControlServer, folder: Path, answers: Answers
) -> None:
    first, second = Hearer(), Hearer()
    channels = [first.follow(folder), second.follow(folder)]
    slow = threading.Thread(target=channels[0].ask, args=("wait",))
    slow.start()
    channels[0].ask("change", to=5)
    assert channels[0].ask("count") == 5, "a question that takes its time holds up no other"
    assert channels[1].ask("count") == 5
    assert control.clients == 2
    assert slow.is_alive()
    answers.held.set()
    slow.join(10)
    for channel in channels:
        channel.close()
    assert answers.left.wait(10)
    assert answers.counts == [1, 2, 1, 0]


def test_a_client_that_stopped_costs_nothing(control: ControlServer, events: EventBus, folder: Path) -> None:
    """It reads nothing; its queue holds 50. Publishing goes on, others hear, it is told what it missed."""
    with raw(control) as sock:
        sock.sendall(hello(control, follow=True))
        stream = sock.makefile("rb")
        assert [list(wire.read(stream, wire.LONGEST_ANSWER) or ()) for _ in "ab"] == [["welcome"], ["state"]]
        for number in range(20_000):
            events.publish(stored(number))
        (stopped,) = control._clients
        assert len(stopped.outbox._events) <= 50
        hearer = Hearer()
        channel = hearer.follow(folder)
        events.publish(SettingsChanged(sections=frozenset({"listener"})))
        channel.ask("sync")
        assert hearer.heard[-1]["event"] == "SettingsChanged"
        told = dropped = 0
        last = None
        while last != "SettingsChanged":
            message = wire.read(stream, wire.LONGEST_ANSWER)
            assert message is not None
            dropped += message.get("dropped", 0)
            for event in message.get("events", ()):
                told, last = told + 1, event["event"]
        assert told + dropped == 20_001
        assert dropped > 0
        stream.close()
        channel.close()


def test_a_receiver_may_ask(
    control: ControlServer, events: EventBus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer does not wait for itself."""
    monkeypatch.setattr(client, "DISPATCH_PATIENCE", 20)
    took: list[float] = []

    class Asking(Hearer):
        def events(self, told: list[Any], dropped: int) -> None:
            begun = time.monotonic()
            assert channel.ask("count") == 0
            took.append(time.monotonic() - begun)

    hearer = Asking()
    channel = hearer.follow(folder)
    events.publish(stored(1))
    channel.ask("sync")
    assert took[0] < 10
    channel.close()


def test_an_answer_comes_after_what_was_told_before(
    control: ControlServer, events: EventBus, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a receiver takes its time; but not for ever."""
    entered, gate = threading.Event(), threading.Event()

    class Slow(Hearer):
        def events(self, told: list[Any], dropped: int) -> None:
            entered.set()
            assert gate.wait(20)

    hearer = Slow()
    channel = hearer.follow(folder)
    events.publish(stored(1))
    assert entered.wait(10)
    asking = threading.Thread(target=channel.ask, args=("sync",))
    asking.start()
    asking.join(0.3)
    assert asking.is_alive()
    gate.set()
    asking.join(10)
    assert not asking.is_alive()
    entered.clear()
    gate.clear()
    monkeypatch.setattr(client, "DISPATCH_PATIENCE", 0.1)
    events.publish(stored(2))
    assert entered.wait(10)
    channel.ask("sync")
    gate.set()
    channel.close()


def test_the_end_is_told(control: ControlServer, folder: Path) -> None:
    hearer = Hearer()
    channel = hearer.follow(folder)
    control.end("a person wanted it")
    with pytest.raises(ServiceError, match="a person wanted it"):
        channel.ask("sync")
    place = places.find(folder)
    assert place is not None
    assert place.closing
    assert not channel.ended, "it means that the archive is free"
    control.close()
    assert hearer.lost.wait(5)
    assert hearer.heard[-1] == "a person wanted it"
    with pytest.raises(ServiceError, match="is gone: a person wanted it"):
        channel.ask("sync")
    with pytest.raises(NobodyThere):
        Channel(place)


# -- works


def test_a_work_tells_how_far_it_is_and_is_cancelled(
    control: ControlServer, folder: Path, answers: Answers
) -> None:
    hearer = Hearer()
    channel = hearer.follow(folder)
    far: list[int] = []
    assert channel.work("count to", far.append, to=1000, then="end") == 1000
    assert far == sorted(far)
    assert far[-1] == 999, "the last figure comes before the answer"
    assert len(far) < 1000, "a client gets no more than it can take"
    cancel = threading.Event()

    def stop(number: int) -> None:
        cancel.set()

    assert channel.work("count to", stop, cancel, to=3, then="wait") == "cancelled"
    assert channel.ask("count") == 0, "and all goes on"
    answers.cancelled.clear()

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        channel.work("count to", interrupt, to=3, then="wait")
    assert answers.cancelled.is_set(), "it had ended before the interrupt went on"
    channel.close()


def test_a_work_ends_with_who_asked_and_with_the_owner(
    control: ControlServer, folder: Path, answers: Answers
) -> None:
    for end in ("client", "owner"):
        answers.cancelled.clear()
        channel = Hearer().follow(folder)
        begun = threading.Event()
        failures: list[Exception] = []

        def ask(channel=channel, begun=begun, failures=failures) -> None:  # type: ignore[no-untyped-def]
            try:
                channel.work("count to", lambda _: begun.set(), to=1, then="wait")
            except ServiceError as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(10)
        if end == "client":
            channel.close()
            assert answers.cancelled.wait(10)
        else:
            control.end("a person wanted it")
            assert answers.cancelled.is_set(), "the archive is not closed below it"
        asking.join(10)
        assert not asking.is_alive()
        assert len(failures) == (end == "client")


def test_no_more_works_than_some(control: ControlServer, folder: Path, answers: Answers) -> None:
    channel = Hearer().follow(folder)
    cancel = threading.Event()
    begun = threading.Semaphore(0)
    works = [
        threading.Thread(
            target=channel.work,
            args=("count to", lambda _: begun.release(), cancel),
            kwargs={"to": 1, "then": "wait"},
        )
        for _ in range(connection.WORKS)
    ]
    for work in works:
        work.start()
        assert begun.acquire(timeout=10)
    with pytest.raises(ServiceError, match="wait until one has ended"):
        channel.work("count to", to=1, then="end")
    assert channel.ask("count") == 0
    cancel.set()
    for work in works:
        work.join(10)
    assert channel.work("count to", to=1, then="end") == 1
    channel.close()


def test_an_answer_may_be_longer_than_a_line(control: ControlServer, folder: Path) -> None:
    """A report of an import may name a million files."""
    channel = Hearer().follow(folder)
    text = '\udcfcé"\n' * 1000
    times = wire.LONGEST_ANSWER // 8000
    answer = channel.work("repeat", text=text, times=times)
    assert len(answer) == len(text) * times
    assert answer == text * times
    channel.close()


# -- hostile, strange


def test_hostile_bytes(control: ControlServer, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes, before the hello and after it: that client goes, the others stay."""
    chance = random.Random(7)
    good = json.dumps({"id": 1, "ask": "sync", "with": {}})
    words = [
        b"\n",
        b"{}\n",
        b"[" * 5000 + b"\n",
        b'{"hello": 5}\n',
        b'{"hello": {"secret": 5}}\n',
        b'{"hello": {"secret": "\\ud800"}}\n',
        b'{"id": 1e999, "ask": "sync"}\n',
        b'{"id": true, "ask": "sync"}\n',
        b'{"id": 1, "ask": "sync", "with": []}\n',
        b'{"id": 1, "ask": "cancel", "with": {"id": []}}\n',
        b'{"id": 1, "ask": "count to", "with": {"to": []}}\n',
        b"\xff\xfe\n",
        b"A" * (wire.LONGEST_REQUEST + 10),
        good.encode()[:-3],
    ]
    for _ in range(150):
        text = bytearray(good, "ascii")
        for _ in range(chance.randrange(1, 6)):
            text[chance.randrange(len(text))] = chance.randrange(256)
        words.append(bytes(text).replace(b"\n", b"") + b"\n\n")
    for number, word in enumerate(words):
        for first in (b"", hello(control, follow=number % 3 == 0)):
            with raw(control) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(first + word)
                    sock.shutdown(socket.SHUT_WR)
                assert is_closed(sock)
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_failure_tells_no_patient(
    control: ControlServer, folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    handler = log.rotating(tmp_path / "log")
    logging.getLogger().addHandler(handler)
    channel = Hearer().follow(folder)
    try:
        with pytest.raises(PacskitError, match=r"failed \(KeyError\)") as failure:
            channel.ask("fail")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "Phantom^Ada" not in str(failure.value)
    text = (tmp_path / "log").read_text()
    assert "KeyError" in text
    assert "in answer" in text
    assert "Phantom^Ada" not in text
    channel.close()


def test_without_the_secret(control: ControlServer, folder: Path) -> None:
    for secret in ("", "0" * 32, control.place.secret[:-1]):
        with raw(control) as sock:
            sock.sendall(wire.encode({"hello": {"secret": secret, "protocol": 1, "follow": True}}))
            assert sock.recv(10) == b""


def test_another_protocol(control: ControlServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(control) as sock:
        sock.sendall(hello(control, protocol=2, follow=True))
        stream = sock.makefile("rb")
        welcome = wire.read(stream, wire.LONGEST_ANSWER)
        assert welcome is not None
        assert welcome["welcome"]["protocol"] == wire.PROTOCOL
        assert stream.read() == b"", "it cannot follow"
        stream.close()


def test_silence_is_not_waited_for(control: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HELLO_PATIENCE", 0.05)
    with raw(control) as sock:
        assert sock.recv(10) == b""


def test_too_many(control: ControlServer, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(server, "MOST", 1)
    channel = Hearer().follow(folder)
    with raw(control) as sock:
        assert is_closed(sock)
    assert channel.ask("count") == 0
    channel.close()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux tells who is at the other end")
def test_another_user_is_refused(events: EventBus, answers: Answers) -> None:
    """Though file modes let it in, and it has the secret."""
    user = second_user.needed()
    folder = user.shared()
    control = ControlServer(folder, events, answers, os.getpid())
    try:
        (folder / places.SOCKET).chmod(0o666)
        code = f"""
import socket
sock = socket.socket(socket.AF_UNIX)
sock.connect({str(folder / places.SOCKET)!r})
try:
    sock.sendall({hello(control)!r})
    print(sock.recv(100))
except ConnectionError:
    print(b'')
"""
        assert user.run([sys.executable, "-c", code], check=True).stdout == "b''\n"
        (folder / places.SOCKET).chmod(0o600)
        assert "PermissionError" in user.run([sys.executable, "-c", code]).stderr
        with raw(control) as sock:
            sock.sendall(hello(control))
            assert b"welcome" in sock.recv(100), "its own user may"
    finally:
        control.close()


# -- where it is


def test_a_long_path(tmp_path: Path, events: EventBus, answers: Answers) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    control = ControlServer(folder, events, answers, os.getpid())
    path = Path(control.place.address.removeprefix("unix:"))
    assert control.place.address.startswith("unix:")
    assert folder not in path.parents
    assert len(str(path)) <= local.LONGEST_PATH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    control.close()
    assert not path.exists()


def test_a_folder_that_can_have_no_socket(folder: Path, events: EventBus, answers: Answers) -> None:
    """As on a network drive."""
    (folder / places.SOCKET).mkdir()
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address.startswith("unix:")
    assert str(folder) not in control.place.address
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    control.close()


def test_without_unix_sockets(
    folder: Path, events: EventBus, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_FAMILY", None)
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address.startswith("tcp:")
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    with raw(control) as sock:
        sock.sendall(wire.encode({"hello": {"secret": "guessed", "protocol": 1}}))
        assert is_closed(sock)
    control.close()


def test_what_a_killed_owner_left_is_replaced(folder: Path, events: EventBus, answers: Answers) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / places.SOCKET))
    left.close()
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address == f"unix:{folder / places.SOCKET}"
    channel = Hearer().follow(folder)
    channel.close()
    control.close()
