"""The event bus: nobody can make a publisher fail, wait or grow."""

from __future__ import annotations

import gc
import threading

from pacskit.events import Event, EventBus, InstanceStored, ServiceChanged


def stored(uid: str = "1.2") -> InstanceStored:
    return InstanceStored(sop_instance_uid=uid, series_uid="1", study_uid="1", received_from="CT", bytes=1)


def test_only_the_asked_kind_is_heard() -> None:
    bus = EventBus()
    heard: list[Event] = []
    bus.subscribe(InstanceStored, heard.append)
    bus.publish(ServiceChanged(service="listener", state="running"))
    bus.publish(stored())
    assert [type(event) for event in heard] == [InstanceStored]


def test_a_broken_receiver_harms_nobody(caplog) -> None:
    bus = EventBus()
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("mine")

    bus.subscribe(Event, broken)
    bus.subscribe(Event, heard.append)
    bus.publish(stored())
    assert len(heard) == 1
    assert "receiver failed" in caplog.text


def test_receivers_are_held_weakly() -> None:
    class Panel:
        def __init__(self) -> None:
            self.heard = 0

        def receive(self, event: Event) -> None:
            self.heard += 1

    bus = EventBus()
    panel = Panel()
    bus.subscribe(Event, panel.receive)
    bus.publish(stored())
    assert panel.heard == 1
    del panel
    gc.collect()
    bus.publish(stored())
    assert bus._subscriptions == ()


def test_a_slow_reader_loses_the_oldest_and_knows_how_many() -> None:
    bus = EventBus()
    with bus.queue(InstanceStored, size=2) as queue:
        for number in range(5):
            bus.publish(stored(str(number)))
        assert queue.dropped == 3
        assert [event.sop_instance_uid for event in queue.drain()] == ["3", "4"]


def test_closing_wakes_a_waiting_reader() -> None:
    bus = EventBus()
    queue = bus.queue(InstanceStored)
    got: list[object] = []
    reader = threading.Thread(target=lambda: got.append(queue.get()))
    reader.start()
    queue.close()
    reader.join(5)
    assert got == [None]


def test_recent_events_are_bounded() -> None:
    bus = EventBus(remember=3)
    for number in range(10):
        bus.publish(stored(str(number)))
    assert [event.sop_instance_uid for event in bus.recent(InstanceStored)] == ["7", "8", "9"]
