"""Apply: wanted settings against running services, with DICOM listeners, real sockets and associations."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pacskit.dimse.client import ClientAssociation, echo
from pacskit.dimse.listener import DicomListener
from pacskit.dimse.slot import ListenerSlot
from pacskit.dimse.storage_classes import EXPLICIT_LE, VERIFICATION
from pacskit.errors import AssociationError, PortTaken, Refused, ServiceError
from pacskit.events import AssociationClosed, EventBus, ServiceChanged
from pacskit.peers import PeerAddress
from pacskit.services.applying import apply
from pacskit.services.base import State, Status
from pacskit.services.ports import PortMemory
from pacskit.settings import ListenerSettings

HERE = "127.0.0.1"
HEAD = "Dicom Listener cannot be run. Error message: "
Slots = Callable[..., ListenerSlot]


class Nowhere:
    """A store that takes nothing: these tests are about associations."""

    def receiver(self, **_: str) -> Any:
        return self._refuse

    def entrance(self, **_: str) -> Any:
        raise AssertionError("there are no workers here")

    def _refuse(self, *_: str) -> Any:
        raise Refused(0xA700, "nothing is kept here")


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def slots(events: EventBus) -> Iterator[Slots]:
    """`slots(port=0)`: a slot that runs; afterwards nothing of it may be left."""
    made: list[ListenerSlot] = []

    def make(ports: PortMemory | None = None, start: bool = True, **values: Any) -> ListenerSlot:
        slot = ListenerSlot(lambda s: DicomListener(s, Nowhere(), events, ports), settings(**values))
        made.append(slot)
        if start:
            slot.start()
        return slot

    yield make
    for slot in made:
        slot.stop()
        assert slot.retired == ()
    for thread in threading.enumerate():  # one whose work has just ended may still be about to end itself
        if thread.name.startswith("pacskit-a"):
            thread.join(5)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def taken() -> Iterator[int]:
    """A port another program listens on."""
    with socket.create_server((HERE, 0)) as other:
        yield other.getsockname()[1]


def settings(**values: Any) -> ListenerSettings:
    return ListenerSettings(**{"enabled": True, "host": HERE, "port": 0, **values})


def changed(slot: ListenerSlot, **values: Any) -> ListenerSettings:
    return ListenerSettings(**{**slot.settings.model_dump(), **values})


def associate(slot: ListenerSlot, called: str = "PACSKIT") -> ClientAssociation:
    return ClientAssociation(PeerAddress(called, HERE, slot.status.port), [(VERIFICATION, (EXPLICIT_LE,))])


def reachable(port: int, called: str = "PACSKIT") -> bool:
    try:
        return echo(PeerAddress(called, HERE, port)).done
    except AssociationError:
        return False


def unused_port() -> int:
    with socket.create_server((HERE, 0)) as probe:
        return int(probe.getsockname()[1])


def states(queue: Any) -> list[tuple[str, str]]:
    return [(event.service, event.state) for event in queue.drain()]


def test_an_unchanged_service_is_left_alone(slots: Slots, events: EventBus) -> None:
    slot, other = slots(), slots()
    service, status = slot.current, slot.status
    with associate(slot) as association, events.queue(ServiceChanged) as told:
        apply([(slot, settings()), (other, changed(other, ae_title="OTHER"))])
        assert slot.current is service
        assert slot.status is status
        assert association.echo().done
        assert states(told) == [("listener", "running")], "of the other one, once"


def test_a_change_keeps_the_socket_the_time_and_the_counts(slots: Slots, events: EventBus) -> None:
    slot = slots()
    before = slot.status
    with associate(slot) as association, events.queue(ServiceChanged) as told:
        with pytest.raises(AssociationError):
            associate(slot, "NEW")
        apply([(slot, changed(slot, ae_title="NEW"))])
        assert states(told) == [("listener", "running")]
        assert slot.status == before
        assert slot.settings.ae_title == "NEW"
        assert association.echo().done
        with associate(slot, "NEW"):
            assert [a.called for a in slot.associations()] == ["PACSKIT", "NEW"]
            assert len({a.id for a in slot.associations()}) == 2
        totals = slot.totals()
        assert (totals.associations, totals.associations_refused) == (2, 1)
        assert len(slot.retired) == 1


def test_a_service_that_is_switched_off_finishes(slots: Slots, events: EventBus) -> None:
    slot = slots()
    port = slot.status.port
    with events.queue(AssociationClosed) as closed, events.queue(ServiceChanged) as told:
        with associate(slot) as association:
            apply([(slot, changed(slot, enabled=False))])
            assert states(told) == [("listener", "stopped")]
            assert slot.status.state is State.STOPPED
            socket.create_server((HERE, port)).close()
            assert association.echo().done
            (retired,) = slot.retired
            assert retired.draining
            assert len(slot.associations()) == 1
        event = closed.get(5)
        assert event is not None
        assert event.how == "released"
    assert slot.associations() == []


def test_without_enabled_only_the_snapshot_changes(slots: Slots, events: EventBus) -> None:
    slot = slots(start=False, enabled=False)
    with events.queue(ServiceChanged) as told:
        apply([(slot, changed(slot, ae_title="LATER"))])
    assert slot.status.state is State.STOPPED
    assert slot.settings.ae_title == "LATER"
    assert "running" not in [state for _, state in states(told)]


def test_another_port(slots: Slots) -> None:
    slot = slots()
    old, new = slot.status.port, unused_port()
    with associate(slot) as association:
        apply([(slot, changed(slot, port=new))])
        assert slot.status.port == new
        assert reachable(new)
        assert not reachable(old)
        assert association.echo().done


def test_the_new_one_listens_before_the_old_one_lets_go(events: EventBus) -> None:
    new, seen = unused_port(), []

    class Watching(DicomListener):
        def _retire(self) -> None:
            seen.append(reachable(new))
            super()._retire()

        def _become(self, status: Status, tell: bool) -> None:
            super()._become(status, tell)
            if status.state is State.STOPPED:
                seen.append(slot.status.running)

    slot = ListenerSlot(lambda s: Watching(s, Nowhere(), events), settings())
    slot.start()
    apply([(slot, changed(slot, port=new))])
    assert seen == [True, True]
    slot.stop()


def test_a_taken_port_changes_nothing(slots: Slots, events: EventBus, taken: int) -> None:
    slot = slots()
    service, before = slot.current, slot.status
    with associate(slot) as association, events.queue(ServiceChanged) as told:
        with pytest.raises(PortTaken) as caught:
            apply([(slot, changed(slot, port=taken, ae_title="NEW"))])
        assert slot.current is service
        assert slot.status is before
        assert states(told) == []
        assert association.echo().done
        assert reachable(before.port)
    sentence, free = str(caught.value), caught.value.free_port
    assert sentence.startswith(f"{HEAD}The address is protected. On {HERE} port {taken} is taken by ")
    assert sentence.endswith(f": Address already in use. Port {free} is free.")
    assert caught.value.holder in sentence
    socket.create_server((HERE, free)).close()


def test_the_same_port_on_an_address_that_is_not_ours(slots: Slots) -> None:
    """The old one had to let go first: it runs again, as if nothing had been."""
    slot = slots()
    service, before = slot.current, slot.status
    with associate(slot) as association:
        with pytest.raises(ServiceError, match=rf"^{HEAD}192\.0\.2\.1 is not an address of this computer"):
            apply([(slot, changed(slot, host="192.0.2.1", port=before.port))])
        assert slot.current is service
        assert slot.status == before
        assert association.echo().done
        assert reachable(before.port)
        assert slot.totals().associations == 2


def test_the_same_port_on_another_address(slots: Slots) -> None:
    slot = slots()
    port = slot.status.port
    with associate(slot) as association:
        apply([(slot, changed(slot, host="0.0.0.0", port=port))])
        assert (slot.status.host, slot.status.port) == ("0.0.0.0", port)
        assert association.echo().done
        assert reachable(port)


def test_two_services_swap_their_ports(slots: Slots) -> None:
    one, two = slots(ae_title="ONE"), slots(ae_title="TWO")
    first, second = one.status.port, two.status.port
    with associate(one, "ONE") as a, associate(two, "TWO") as b:
        apply([(one, changed(one, port=second)), (two, changed(two, port=first))])
        assert (one.status.port, two.status.port) == (second, first)
        assert reachable(second, "ONE")
        assert reachable(first, "TWO")
        assert a.echo().done
        assert b.echo().done


def test_a_port_that_another_one_lets_go(slots: Slots) -> None:
    one, two = slots(ae_title="ONE"), slots(ae_title="TWO")
    port = one.status.port
    apply([(two, changed(two, port=port)), (one, changed(one, enabled=False))])
    assert two.status.port == port
    assert reachable(port, "TWO")


def test_all_or_nothing(slots: Slots, taken: int) -> None:
    """Adopted, started first, retired first: whatever was done already is undone."""
    adopted, moved, one, two = (slots(ae_title=title) for title in ("ADOPTED", "MOVED", "ONE", "TWO"))
    every = [adopted, moved, one, two]
    services, before = [slot.current for slot in every], [slot.status for slot in every]
    open_now = [associate(slot, slot.settings.ae_title) for slot in every]
    free = unused_port()
    with pytest.raises(PortTaken):
        apply(
            [
                (adopted, changed(adopted, ae_title="NEW")),
                (moved, changed(moved, port=free)),
                (one, changed(one, port=two.status.port)),
                (two, changed(two, port=one.status.port, host="0.0.0.0")),
                (slots(start=False, enabled=False), settings(port=taken)),
            ]
        )
    # and where the last one that starts is the one that fails, after all others run:
    with pytest.raises(ServiceError):
        apply(
            [
                (adopted, changed(adopted, ae_title="NEW")),
                (moved, changed(moved, port=free)),
                (one, changed(one, port=two.status.port)),
                (two, changed(two, port=one.status.port, host="192.0.2.1")),
            ]
        )
    assert [slot.current for slot in every] == services
    assert [slot.status for slot in every] == before
    assert moved.status is before[1], "its port was in nobody's way"
    for slot, association in zip(every, open_now, strict=True):
        assert association.echo().done
        association.release()
        assert reachable(slot.status.port, slot.settings.ae_title)
    assert not reachable(adopted.status.port, "NEW")
    socket.create_server((HERE, free)).close()


def test_when_the_old_one_cannot_run_again_either(events: EventBus) -> None:
    """Another program is quicker."""
    thief: list[socket.socket] = []

    class Robbed(DicomListener):
        def _start(self, port: int) -> tuple[str, int]:
            if self.settings.ae_title == "NEW":
                thief.append(socket.create_server((HERE, int(self.settings.port))))
            return super()._start(port)

    slot = ListenerSlot(lambda s: Robbed(s, Nowhere(), events), settings())
    slot.start()
    port = slot.status.port
    with associate(slot) as association, events.queue(ServiceChanged) as told:
        with pytest.raises(PortTaken, match=r"What ran before cannot run again: Dicom Listener cannot"):
            apply([(slot, changed(slot, host="0.0.0.0", port=port, ae_title="NEW"))])
        assert slot.settings.ae_title == "PACSKIT"
        assert slot.status.state is State.FAILED
        assert slot.status.error.startswith(f"{HEAD}The address is protected. ")
        assert slot.status.free_port
        assert states(told) == [("listener", "failed")]
        assert association.echo().done, "what it had is not cut"
    thief[0].close()
    apply([(slot, slot.settings)])
    assert slot.status.running
    slot.stop()


def test_what_failed_is_tried_again(slots: Slots) -> None:
    with socket.create_server((HERE, 0)) as other:
        port = other.getsockname()[1]
        slot = slots(start=False, port=port)
        with pytest.raises(PortTaken):
            slot.start()
        failed = slot.status
        assert failed.state is State.FAILED
        assert failed.free_port
        with pytest.raises(PortTaken):
            apply([(slot, settings(port=port))])
        assert slot.status.since > failed.since
    apply([(slot, settings(port=port))])
    assert slot.status.running
    assert slot.status.error == ""


def test_what_fails_once_more_keeps_nobody_from_changing_others(slots: Slots, taken: int) -> None:
    broken, other = slots(start=False, port=taken), slots()
    apply([(broken, settings(port=taken)), (other, changed(other, ae_title="NEW"))])
    assert other.settings.ae_title == "NEW"
    assert broken.status.state is State.FAILED


def test_what_was_stopped_by_hand_runs_again(slots: Slots) -> None:
    slot = slots()
    slot.stop()
    apply([(slot, slot.settings)])
    assert slot.status.running


@pytest.mark.parametrize("change", ["title", "port", "address"])
def test_back_to_the_old_settings(slots: Slots, change: str) -> None:
    """As a station does when it could not write its settings file."""
    slot = slots(port=unused_port())
    before, port = slot.settings, slot.status.port
    new = {
        "title": {"ae_title": "NEW"},
        "port": {"port": unused_port()},
        "address": {"host": "0.0.0.0"},
    }[change]
    with associate(slot) as association:
        apply([(slot, changed(slot, **new))])
        with associate(slot, slot.settings.ae_title) as later:
            apply([(slot, before)])
            assert slot.settings == before
            assert slot.status.port == port
            assert reachable(port)
            assert association.echo().done
            assert later.echo().done


def test_services_with_work_are_kept_no_longer_than_it_lasts(slots: Slots, events: EventBus) -> None:
    slot = slots()
    with events.queue(AssociationClosed) as closed:
        with associate(slot):
            for number in range(30):
                apply([(slot, changed(slot, ae_title=f"N{number}"))])
            assert len(slot._services) == 2
            assert slot.totals().associations == 1
        assert closed.get(5) is not None
    assert slot.retired == ()
    assert len(slot._services) == 1


def test_stop_ends_what_drains(slots: Slots, events: EventBus) -> None:
    slot = slots()
    open_now = []
    with events.queue(AssociationClosed) as closed:
        for title in ("ONE", "TWO"):
            open_now.append(associate(slot, slot.settings.ae_title))
            apply([(slot, changed(slot, ae_title=title))])
        assert len(slot.retired) == 2
        slot.stop()
        assert [event.how for event in closed.drain()] == ["stopped", "stopped"]
    assert slot.associations() == []
    assert not [t for t in threading.enumerate() if t.name.startswith("pacskit-a")]
    for association in open_now:
        association.abort()


def test_stop_of_a_retired_service(events: EventBus) -> None:
    service = DicomListener(settings(), Nowhere(), events)
    service.start()
    waiting = socket.create_connection((HERE, service.status.port), 5)
    association = ClientAssociation(
        PeerAddress("PACSKIT", HERE, service.status.port), [(VERIFICATION, (EXPLICIT_LE,))]
    )
    service.retire()
    assert service.draining
    service.stop()
    assert not service.draining
    assert not [t for t in threading.enumerate() if t.name.startswith("pacskit-a")]
    with pytest.raises(AssociationError):
        association.echo()
    assert waiting.recv(1) == b""
    waiting.close()


def test_many_at_once(slots: Slots) -> None:
    """Callers in any order of slots: none waits for ever, and what runs is what was asked for last."""
    one, two = slots(), slots()

    def work(number: int) -> None:
        for turn in range(20):
            title = f"N{number}T{turn}"
            pair = [(one, changed(one, ae_title=title)), (two, changed(two, ae_title=title))]
            apply(pair if number % 2 else pair[::-1])

    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert one.settings.ae_title == two.settings.ae_title
    assert reachable(one.status.port, one.settings.ae_title)


def test_an_obstacle(slots: Slots) -> None:
    slot = slots(start=False)
    slot.obstacle = "the settings file is broken"
    with pytest.raises(ServiceError, match=f"^{HEAD}the settings file is broken$"):
        slot.start()
    assert slot.status.state is State.FAILED
    slot.obstacle = ""
    slot.start()
    slot.obstacle = "again"
    slot.start()
    assert slot.status.running, "what runs goes on"


def automatic(slots: Slots, memory: PortMemory, **values: Any) -> ListenerSlot:
    # model_construct: works as well where the model does not know "auto" yet
    slot = slots(start=False)
    wanted = ListenerSettings.model_construct(**{**slot.settings.model_dump(), **values, "port": "auto"})
    return slots(memory, **wanted.model_dump())


def test_auto_keeps_its_port(slots: Slots, tmp_path: Path) -> None:
    memory = PortMemory(tmp_path / "ports.json")
    slot = automatic(slots, memory)
    port = slot.status.port
    assert memory.recall("listener") == port
    slot.stop()
    slot.start()
    assert slot.status.port == port
    apply([(slot, changed(slot, ae_title="NEW"))])
    assert slot.status.port == port
    apply([(slot, changed(slot, host="0.0.0.0"))])
    assert (slot.status.host, slot.status.port) == ("0.0.0.0", port)
    slot.stop()
    with socket.create_server((HERE, port)):
        slot.start()
        assert slot.status.port not in (0, port)
        assert memory.recall("listener") == slot.status.port


def test_auto_comes_back_to_its_port(slots: Slots, tmp_path: Path) -> None:
    slot = automatic(slots, PortMemory(tmp_path / "ports.json"))
    before, port = slot.settings, slot.status.port
    apply([(slot, changed(slot, port=unused_port()))])
    assert slot.status.port != port
    apply([(slot, before)])
    assert slot.status.port == port
