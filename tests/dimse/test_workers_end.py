"""Workers that end: told to, killed, hanging, with their owner; and settings that change meanwhile."""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import socket
from collections.abc import Iterator
from logging.handlers import QueueHandler
from pathlib import Path

import psutil
import pytest

from pacskit.dimse.client import ClientAssociation
from pacskit.dimse.slot import ListenerSlot
from pacskit.dimse.storage_classes import EXPLICIT_LE
from pacskit.dimse.workers import pool
from pacskit.errors import AssociationError, AssociationRejected
from pacskit.events import (
    AssociationClosed,
    EventBus,
    ServiceChanged,
)
from pacskit.system import local
from tests.archive.conftest import encode, make
from tests.archive.serving import Flood, Server, check_kept, instance, store
from tests.dimse.workers import (
    CT,
    HERE,
    Open,
    associate,
    change,
    check_stored,
    pids,
    workers_left,
    workers_of,
)


def test_stop_with_open_associations(start: Open, events: EventBus) -> None:
    slot, archive = start()
    port, before = slot.status.port, pids(slot)
    first, second = associate(slot), associate(slot)
    assert store(first, "1.2.3.1", encode(make())).status == 0
    with events.queue(AssociationClosed) as closed:
        slot.stop()
        assert not any(psutil.pid_exists(pid) for pid in before), "on return"
        assert sorted((event.how, event.stored) for event in closed.drain()) == [
            ("stopped", 0),
            ("stopped", 1),
        ]
    for association in (first, second):
        with pytest.raises(AssociationError, match="abort"):
            store(association, "1.2.3.2", encode(make("1.2.3.2")))
    socket.create_server((HERE, port)).close()
    check_stored(archive, {"1.2.3.1": encode(make())})


def test_stop_ends_a_worker_that_hangs(start: Open, events: EventBus) -> None:
    slot, _ = start()
    before = pids(slot)
    with associate(slot) as association, events.queue(AssociationClosed) as closed:
        (worker,) = [one for one in workers_of(slot).processes() if one.associations]
        os.kill(worker.pid, signal.SIGSTOP)  # a worker that hangs
        slot.stop()
        assert not any(psutil.pid_exists(pid) for pid in before)
        event = closed.get(5)
        assert event is not None
        assert event.how == "fault"
        with pytest.raises(AssociationError):
            store(association, "1.2.3.1", encode(make()))
        association.abort()


@pytest.mark.parametrize("workers", [2, 1, 3])
def test_settings_change_while_two_associations_run(start: Open, events: EventBus, workers: int) -> None:
    """The AE title, and in two cases the number of workers: what runs goes on where it is."""
    slot, archive = start()
    before, sent = pids(slot), dict[str, bytes]()

    def send(association: ClientAssociation, number: int) -> None:
        uid, body = instance(1, 1, number)
        sent[uid] = body
        assert store(association, uid, body).status == 0

    with associate(slot) as first, associate(slot) as second:
        send(first, 1)
        change(slot, ae_title="NEW", workers=workers)
        assert (workers == 2) == (slot.current._workers is not None and pids(slot) == before)
        send(first, 2)
        send(second, 3)
        with pytest.raises(AssociationRejected):
            associate(slot)
        with associate(slot, "NEW") as third:
            send(third, 4)
        assert {(info.called, info.stored) for info in slot.associations()} >= {
            ("PACSKIT", 2),
            ("PACSKIT", 1),
        }
        with events.queue(AssociationClosed) as closed:
            first.release()
            second.release()
            while len(slot.associations()):
                assert closed.get(5) is not None
    if workers != 2:
        psutil.wait_procs([psutil.Process(pid) for pid in before if psutil.pid_exists(pid)], 5)
        assert not any(psutil.pid_exists(pid) for pid in before)
    check_stored(archive, sent)
    assert slot.totals().stored == 4


def test_a_worker_is_killed(start: Open, events: EventBus, caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of a data set: only its association is lost, and a new worker comes."""
    slot, archive = start()
    before = pids(slot)
    first, second = associate(slot), associate(slot)
    mine = [worker for worker in workers_of(slot).processes() if worker.associations == 1]
    assert len(mine) == 2
    body = encode(make("1.2.3.1"))
    assert store(first, "1.2.3.1", body).status == 0
    large = encode(make("1.2.3.2", EncapsulatedDocument=bytes(300_000)))
    with events.queue(AssociationClosed) as closed:

        def pieces() -> Iterator[memoryview]:
            yield memoryview(large)[:200_000]
            while not list((archive.folder / "incoming").iterdir()):
                pass
            os.kill(min(mine, key=lambda worker: worker.pid).pid, signal.SIGKILL)
            event = closed.get(10)
            assert event is not None
            assert (event.how, event.reason) == ("fault", "the process that served it ended")
            yield memoryview(large)[200_000:]

        lost = first if min(before) == min(mine, key=lambda worker: worker.pid).pid else second
        (other,) = {first, second} - {lost}
        with pytest.raises(AssociationError):
            lost.store(CT, "1.2.3.2", EXPLICIT_LE, pieces(), len(large))
        assert not list((archive.folder / "incoming").iterdir())
        assert store(other, "1.2.3.3", encode(make("1.2.3.3"))).status == 0
        other.release()
    ready_again(slot, before)
    with associate(slot) as again, associate(slot):
        assert store(again, "1.2.3.2", large).status == 0
    assert re.search(r"process \d+, a worker of the DICOM Listener, ended \(signal 9\)", caplog.text)
    assert not slot.status.error
    check_stored(archive, {"1.2.3.1": body, "1.2.3.2": large, "1.2.3.3": encode(make("1.2.3.3"))})


def ready_again(slot: ListenerSlot, before: set[int]) -> None:
    """As many as there shall be, one at least of them new."""
    workers = workers_of(slot)
    with workers._changed:
        assert workers._changed.wait_for(
            lambda: (
                len(workers._workers) == workers.count
                and all(worker.ready for worker in workers._workers.values())
                and {worker.pid for worker in workers._workers.values()} != before
            ),
            20,
        )


def test_workers_that_die_again_and_again(
    start: Open, events: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five deaths no new one comes: its own process serves, and the status says so."""
    monkeypatch.setattr(pool, "PAUSE", 0.001)
    slot, archive = start()
    with events.queue(ServiceChanged) as told:
        for _ in range(4):
            before = pids(slot)
            os.kill(max(before), signal.SIGKILL)
            ready_again(slot, before)
        assert not slot.status.error
        for number, sentence in ((5, "1 of 2 workers serve what comes"), (6, "its own process serves what")):
            os.kill(max(pids(slot)), signal.SIGKILL)
            event = told.get(10)
            assert event is not None, number
            assert sentence in event.error
            assert event.error == slot.status.error
    assert not pids(slot)
    assert slot.status.running
    with associate(slot) as association:
        assert store(association, "1.2.3.1", encode(make())).status == 0
    check_stored(archive, {"1.2.3.1": encode(make())})


def test_where_sockets_cannot_be_handed_over(
    start: Open, events: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_SEND_FDS", None)
    with events.queue(ServiceChanged) as told:
        slot, _ = start()
        while "This system cannot have 2 workers" not in slot.status.error:
            assert told.get(5) is not None
    with associate(slot) as association:
        assert store(association, "1.2.3.1", encode(make())).status == 0
    assert not workers_left()


def test_the_log_of_a_worker(start: Open) -> None:
    """What it says comes to the owner's log; what it cannot serve does not end it."""
    slot, _ = start()
    worker = workers_of(slot).processes()[0]
    said: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler, logger = QueueHandler(said), logging.getLogger("pacskit.dimse.workers.child")
    logger.addHandler(handler)
    try:
        assert worker.tell("serve", 99)
        record = said.get(timeout=10)
    finally:
        logger.removeHandler(handler)
    assert (record.levelname, "association 99 cannot be served" in record.getMessage()) == ("ERROR", True)
    assert "Traceback" in record.getMessage() or "in run" in record.getMessage()
    with associate(slot), associate(slot) as association:
        assert store(association, "1.2.3.1", encode(make())).status == 0
    assert worker.pid in pids(slot)


def test_the_owner_is_killed(tmp_path: Path) -> None:
    """No worker is left, and everything acknowledged is there at the next start."""
    acknowledged: dict[str, bytes] = {}
    archive = tmp_path / "archive"
    with Server() as server:
        for number in range(4):
            server.serve(archive, workers=2, durability=("safe", "fast")[number % 2])
            children = psutil.Process(server.pid).children()
            assert len(children) == 2
            flood = Flood(server, first=number * 10)
            flood.wait_for(40 + 30 * number)
            server.kill()
            _, alive = psutil.wait_procs(children, 5)
            assert not alive
            acknowledged |= flood.join()
            check_kept(archive, acknowledged)


def test_serve_ends_in_good_order(tmp_path: Path) -> None:
    with Server() as server:
        server.serve(tmp_path / "archive", workers=2)
        children = psutil.Process(server.pid).children()
        flood = Flood(server, first=1)
        flood.wait_for(50)
        for child in children:  # as a terminal's Ctrl+C, which is meant for all of them
            child.send_signal(signal.SIGINT)
        assert server.stop() == 0
        assert not [child for child in children if child.is_running()]
        check_kept(tmp_path / "archive", flood.join())
