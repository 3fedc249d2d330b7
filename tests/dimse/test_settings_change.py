"""Settings that change while peers send: nothing is cut, nothing is lost, new associations see the new ones."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from pacskit.archive import Archive
from pacskit.dimse.client import ClientAssociation, echo
from pacskit.dimse.listener import GRACE, DicomListener
from pacskit.dimse.send import InMemory, SendReport, send
from pacskit.dimse.slot import ListenerSlot
from pacskit.dimse.storage_classes import EXPLICIT_LE
from pacskit.errors import AssociationError, AssociationRejected, PortTaken
from pacskit.events import AssociationClosed, AssociationOpened, AssociationRefused, EventBus
from pacskit.peers import PeerAddress
from pacskit.services.applying import apply
from pacskit.services.base import cannot_listen
from pacskit.settings import ArchiveSettings, ListenerSettings
from pacskit.station import ArchiveStore

HERE = "127.0.0.1"
CT = Path(str(get_testdata_file("CT_small.dcm")))
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def archive(tmp_path: Path, events: EventBus) -> Iterator[Archive]:
    settings = ArchiveSettings(durability="fast")
    with Archive.create_or_open(tmp_path / "archive", events, settings) as opened:
        yield opened


@pytest.fixture
def slot(archive: Archive, events: EventBus) -> Iterator[ListenerSlot]:
    """A running listener; afterwards no thread and no socket of it is left."""
    before = len(psutil.Process().net_connections("all"))
    store = ArchiveStore(archive)
    made = ListenerSlot(
        lambda settings: DicomListener(settings, store, events),
        ListenerSettings(enabled=True, host=HERE, port=0, ae_title="OLD"),
    )
    made.start()
    yield made
    made.stop()
    for thread in threading.enumerate():  # one whose work has just ended may still be about to end itself
        if thread.name.startswith("pacskit-a"):
            thread.join(5)
            assert not thread.is_alive(), thread.name
    assert len(psutil.Process().net_connections("all")) <= before  # the archive keeps files open


def change(slot: ListenerSlot, **values: Any) -> None:
    apply([(slot, ListenerSettings(**{**slot.settings.model_dump(), **values}))])


def peer(slot: ListenerSlot, called: str) -> PeerAddress:
    return PeerAddress(called, HERE, slot.status.port)


def instance() -> InMemory:
    dataset = pydicom.dcmread(CT)
    dataset.SOPInstanceUID = generate_uid()
    return InMemory.of(dataset)


def store(association: ClientAssociation, pause: Callable[[], None] = lambda: None) -> str:
    """C-STORE of a new instance, with a pause in the middle of its data set; its UID once it is stored."""
    sent = instance()
    content = memoryview(sent.content)

    def pieces() -> Iterator[memoryview]:
        yield content[:20000]
        pause()
        yield content[20000:]

    response = association.store(
        sent.sop_class_uid, sent.sop_instance_uid, EXPLICIT_LE, pieces(), len(content)
    )
    assert response.status == 0
    return sent.sop_instance_uid


def stored(archive: Archive) -> set[str]:
    return set(archive.table(level="instance")["sop_instance_uid"])


def unused_port() -> int:
    with socket.create_server((HERE, 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("change_of", ["ae_title", "port", "host", "enabled"])
def test_in_the_middle_of_a_data_set(
    slot: ListenerSlot, archive: Archive, events: EventBus, change_of: str
) -> None:
    port = slot.status.port
    values: dict[str, Any] = {
        "ae_title": {"ae_title": "NEW"},
        "port": {"port": unused_port(), "ae_title": "NEW"},
        "host": {"host": "0.0.0.0", "port": port, "ae_title": "NEW"},
        "enabled": {"enabled": False},
    }[change_of]
    with events.queue(AssociationClosed) as closed:
        association = ClientAssociation(peer(slot, "OLD"), [(CT_IMAGE, (EXPLICIT_LE,))])
        uids = [store(association)]
        uids.append(store(association, lambda: change(slot, **values)))
        uids.append(store(association))
        if change_of != "enabled":
            with pytest.raises(AssociationRejected) as refused:
                echo(peer(slot, "OLD"))
            assert (refused.value.result, refused.value.source, refused.value.reason) == (1, 1, 7)
            assert echo(peer(slot, "NEW")).done
            assert closed.get(5) is not None
        (info,) = slot.associations()
        assert (info.called, info.stored) == ("OLD", 3)
        association.release()
        event = closed.get(5)
        assert event is not None
        assert (event.how, event.stored, event.refused) == ("released", 3, 0)
    assert stored(archive) == set(uids)


@pytest.mark.peer("storescu")
def test_storescu_does_not_notice(
    slot: ListenerSlot, archive: Archive, events: EventBus, tmp_path: Path
) -> None:
    """The AE title and the port change several times while DCMTK sends one study in one association."""
    folder = tmp_path / "study"
    folder.mkdir()
    for number in range(200):
        dataset = pydicom.dcmread(CT)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"{number}.dcm")
    with events.queue(AssociationClosed) as closed, events.queue(AssociationOpened) as opened:
        command = ["storescu", "+sd", "-aec", "OLD", HERE, str(slot.status.port), str(folder)]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert opened.get(20) is not None
        for number in range(10):
            change(slot, ae_title=f"NEW{number}")
            change(slot, port=unused_port())
        printed, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0, printed
        event = closed.get(10)
    assert event is not None
    assert (event.how, event.stored) == ("released", 200)
    assert len(stored(archive)) == 200


def test_fifty_changes_while_clients_come_and_go(slot: ListenerSlot) -> None:
    """No connection is refused or reset: whoever calls the title of the moment is served, the other told."""
    port, done = slot.status.port, threading.Event()
    troubles: list[str] = []
    answers = {"OLD": 0, "NEW": 0, "refused": 0}

    def work(title: str) -> None:
        while not done.is_set():
            try:
                echo(PeerAddress(title, HERE, port))
                answers[title] += 1
            except AssociationRejected as error:
                if (error.result, error.source, error.reason) != (1, 1, 7):
                    troubles.append(str(error))
                answers["refused"] += 1
            except AssociationError as error:
                troubles.append(str(error))

    clients = [threading.Thread(target=work, args=(title,)) for title in ("OLD", "NEW") * 2]
    for client in clients:
        client.start()
    before = 0
    for number in range(50):
        change(slot, ae_title=("NEW", "OLD")[number % 2])
        while sum(answers.values()) < before + 4 and not troubles:
            done.wait(0.001)  # let some in between two changes
        before = sum(answers.values())
    done.set()
    for client in clients:
        client.join(20)
    assert not troubles
    assert min(answers.values()) > 0
    totals = slot.totals()
    assert totals.associations == answers["OLD"] + answers["NEW"]
    assert totals.associations_refused == answers["refused"]
    assert slot.status.port == port


def test_who_is_connected_but_has_not_asked_is_served_by_the_new_settings(
    slot: ListenerSlot, events: EventBus
) -> None:
    with events.queue(AssociationOpened) as opened, connect(slot) as first, connect(slot) as second:
        first.sendall(associate_rq("NEW")[:30])
        echo(peer(slot, "OLD"))  # they have been accepted: it is one thread, in order
        change(slot, ae_title="NEW", max_pdu=65536)
        first.sendall(associate_rq("NEW")[30:])
        answer = first.recv(4096)
        assert answer[0] == 2
        assert struct.pack(">BBHL", 0x51, 0, 4, 65536) in answer, "the new longest PDU"
        second.sendall(associate_rq("OLD"))
        refusal = second.recv(4096)
        assert (refusal[0], tuple(refusal[7:10])) == (3, (1, 1, 7))
        assert [event.called for event in opened.drain()] == ["OLD", "NEW"]


def test_a_shorter_patience_is_for_those_who_wait_already(slot: ListenerSlot, events: EventBus) -> None:
    with events.queue(AssociationRefused) as refused, connect(slot) as silent:
        echo(peer(slot, "OLD"))
        change(slot, artim_timeout=0.2)
        event = refused.get(5)
        assert event is not None
        assert event.reason == "said nothing for 0.2 s"
        assert silent.recv(1) == b""


def test_who_is_connected_to_a_port_that_goes_has_a_moment_to_ask(
    slot: ListenerSlot, events: EventBus
) -> None:
    with (
        events.queue(AssociationRefused) as refused,
        connect(slot) as quick,
        connect(slot) as silent,
    ):
        change(slot, port=unused_port(), ae_title="NEW")
        quick.sendall(associate_rq("OLD"))
        assert quick.recv(4096)[0] == 2, "by the settings of the port it called"
        event = refused.get(GRACE + 5)
        assert event is not None
        assert event.reason == "had not asked for an association when the service ended"
        assert silent.recv(1) == b""
        quick.sendall(RELEASE_RQ)
        assert quick.recv(4096)[0] == 6
    (retired,) = slot.retired or (None,)
    assert retired is None or retired.draining


def test_who_was_connected_by_the_system_only_is_not_reset(slot: ListenerSlot, events: EventBus) -> None:
    """The acceptor's thread is busy with another one when they come, and when the port goes."""
    busy, go_on = threading.Event(), threading.Event()

    def hold(_: AssociationRefused) -> None:
        busy.set()
        go_on.wait(20)

    subscription = events.subscribe(AssociationRefused, hold)
    with connect(slot) as other:
        other.sendall(associate_rq("NOBODY"))
        assert busy.wait(5)
        late = [connect(slot) for _ in range(5)]
        for waiting in late:
            waiting.sendall(associate_rq("OLD"))
        changing = threading.Thread(target=change, args=(slot,), kwargs={"port": unused_port()})
        acceptor = slot.current._acceptor
        assert acceptor is not None
        changing.start()
        while not acceptor._orders:  # until it has been told to let go of the port
            assert changing.is_alive()
        subscription.close()
        go_on.set()
        for waiting in late:
            assert waiting.recv(4096)[0] == 2
            waiting.sendall(RELEASE_RQ)
            assert waiting.recv(4096)[0] == 6
            waiting.close()
        changing.join(10)


def test_an_association_keeps_its_own_timeout(slot: ListenerSlot, events: EventBus) -> None:
    with events.queue(AssociationClosed) as closed:
        association = ClientAssociation(peer(slot, "OLD"), [(CT_IMAGE, (EXPLICIT_LE,))])
        change(slot, network_timeout=0.2)
        fresh = ClientAssociation(peer(slot, "OLD"), [(CT_IMAGE, (EXPLICIT_LE,))])
        event = closed.get(5)
        assert event is not None
        assert event.how == "timeout"
        store(association)
        (info,) = slot.associations()
        assert info.stored == 1
        association.release()
        fresh.abort()


def test_what_is_stored_after_a_change_is_counted(slot: ListenerSlot, events: EventBus) -> None:
    since = slot.status.since
    with events.queue(AssociationClosed) as closed:
        with ClientAssociation(peer(slot, "OLD"), [(CT_IMAGE, (EXPLICIT_LE,))]) as association:
            store(association)
            assert slot.totals().stored == 1, "while it is open"
            change(slot, ae_title="NEW")
            store(association)
            assert slot.totals().stored == 2
        assert closed.get(5) is not None
    report: SendReport = send(peer(slot, "NEW"), [instance() for _ in range(3)])
    assert report.sent == 3
    totals = slot.totals()
    assert (totals.associations, totals.stored, totals.refused) == (2, 5, 0)
    assert totals.bytes > 5 * 30000
    assert slot.status.since == since
    slot.stop()
    slot.start()
    assert slot.totals().stored == 0
    assert slot.status.since > since


@pytest.mark.parametrize(
    ("number", "port", "kind", "sentence"),
    [
        (errno.EACCES, 104, PortTaken, "port 104 needs an administrator's rights"),
        (errno.EACCES, 11112, PortTaken, "port 11112 is not permitted"),
        (errno.EADDRINUSE, 11112, PortTaken, "on 10.9.9.9 port 11112 is taken"),
        (errno.EADDRNOTAVAIL, 1, Exception, "10.9.9.9 is not an address of this computer: use"),
        (errno.EINVAL, 1, Exception, "cannot listen on 10.9.9.9:1: Invalid argument"),
    ],
)
def test_why_a_port_cannot_be_had(number: int, port: int, kind: type[Exception], sentence: str) -> None:
    error = cannot_listen(OSError(number, errno.errorcode[number]), "10.9.9.9", port)
    assert isinstance(error, kind)
    assert str(error).startswith(sentence.removesuffix(": Invalid argument"))


def connect(slot: ListenerSlot) -> socket.socket:
    return socket.create_connection((HERE, slot.status.port), 10)


def associate_rq(called: str) -> bytes:
    def item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(body)) + body

    context = item(0x20, b"\x01\0\0\0" + item(0x30, CT_IMAGE.encode()) + item(0x40, EXPLICIT_LE.encode()))
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    titles = called.encode().ljust(16) + b"HAND".ljust(16)
    body = b"\0\1\0\0" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return b"\x01\0" + struct.pack(">L", len(body)) + body
