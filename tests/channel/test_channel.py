"""The control channel itself: what is told, in what order, and works that take their time."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pacskit.errors import (
    ServiceError,
)
from pacskit.events import CertificateExpiring, Event, EventBus, ServiceChanged, SettingsChanged
from pacskit.services.host import client, connection, places, plain, wire
from pacskit.services.host.client import Channel, NobodyThere
from pacskit.services.host.server import ControlServer
from tests.channel.conftest import Answers, Hearer, hello, raw, stored

# -- what is told, in what order


def test_state_then_events_then_the_answer(control: ControlServer, events: EventBus) -> None:
    events.publish(stored(1))
    ends = datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    events.publish(
        CertificateExpiring(
            service="secure_listener", what="certificate", subject="pacs", valid_to=ends, days_left=9
        )
    )
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
