"""`listener.workers`: associations in processes of their own, and everything else as with one process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pacskit.dimse.client import ClientAssociation, echo
from pacskit.dimse.storage_classes import EXPLICIT_LE
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.contexts import ProposedContext
from pacskit.dimse.upper.negotiation import negotiate
from pacskit.dimse.upper.pdu import AssociateRequest, Fragment
from pacskit.dimse.workers.child import established, taken_over
from pacskit.errors import AssociationError, AssociationRejected
from pacskit.events import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    EventBus,
    InstanceRefused,
    InstanceStored,
)
from pacskit.settings import ArchiveSettings
from tests.archive.conftest import encode, make
from tests.archive.serving import instance, store
from tests.archive.test_archive_durability import CALLS, calls, place, traced
from tests.dimse.workers import (
    CT,
    HERE,
    Open,
    associate,
    body_of,
    check_stored,
    peer,
    pids,
    workers_of,
)


@pytest.mark.parametrize("durability", ["fast", "safe"])
def test_four_senders(start: Open, events: EventBus, durability: str) -> None:
    """Small instances come whole, large ones in pieces; both workers serve; all is counted and told."""
    slot, archive = start({"durability": durability})
    sent: dict[str, bytes] = {}
    connected = threading.Barrier(5)

    def send(study: int) -> None:
        with associate(slot) as association:
            connected.wait(20)
            connected.wait(20)
            for number in range(1, 31):
                uid, body = instance(study, number // 10, number, 2_000_000 if number == 7 else 500 * number)
                sent[uid] = body
                assert store(association, uid, body).status == 0

    with (
        events.queue(AssociationClosed) as closed,
        events.queue(AssociationOpened) as opened,
        events.queue(InstanceStored) as told,
    ):
        senders = [threading.Thread(target=send, args=(study,)) for study in range(4)]
        for sender in senders:
            sender.start()
        connected.wait(20)
        assert sorted(worker.associations for worker in workers_of(slot).processes()) == [2, 2]
        assert len(pids(slot)) == 2
        assert os.getpid() not in pids(slot)
        assert [(info.calling, info.called, info.address) for info in slot.associations()] == [
            ("PACSKIT", "PACSKIT", HERE)
        ] * 4
        connected.wait(20)
        for sender in senders:
            sender.join(60)
        ended = [closed.get(10) for _ in range(4)]
        assert [(event.how, event.stored, event.refused) for event in ended if event] == [
            ("released", 30, 0)
        ] * 4
        assert {event.association for event in opened.drain()} == {
            event.association for event in ended if event
        }
        assert {event.sop_instance_uid for event in told.drain()} == sent.keys()
    check_stored(archive, sent)
    totals = slot.totals()
    assert (totals.associations, totals.stored, totals.refused) == (4, 120, 0)
    assert totals.bytes == archive.table("instance").bytes.sum()
    assert not slot.associations()
    meta = pydicom.dcmread(archive.table("instance").path[0]).file_meta
    assert (meta.SendingApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == (
        "PACSKIT",
        "PACSKIT",
    )


@pytest.mark.peer("storescu")
def test_storescu(start: Open, tmp_path: Path) -> None:
    slot, archive = start()
    sent: dict[str, bytes] = {}
    for sender in range(4):
        (tmp_path / str(sender)).mkdir()
        for number in range(50):
            uid = f"1.2.{sender}.{number}"
            dataset = make(uid, EncapsulatedDocument=bytes(1000 * number))
            sent[uid] = encode(dataset)
            path = tmp_path / str(sender) / f"{number}.dcm"
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(path, enforce_file_format=True)
    command = ["storescu", "+sd", "-aec", "PACSKIT", HERE, str(slot.status.port)]
    senders = [
        subprocess.Popen([*command, str(tmp_path / str(n))], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for n in range(4)
    ]
    for process in senders:
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, printed
    check_stored(archive, sent)


@pytest.mark.parametrize("duplicates", ["aside", "first", "replace"])
def test_one_uid_by_two_workers_at_once(start: Open, events: EventBus, duplicates: str) -> None:
    """Eight associations, four in each worker, half of them with another content: each hears a true status."""
    slot, archive = start({"duplicates": duplicates})
    bodies = [encode(make("1.2.3.1", InstanceNumber=number)) for number in (0, 1)]
    together = threading.Barrier(8)
    statuses: list[tuple[int, int]] = []

    def send(number: int) -> None:
        with associate(slot) as association:
            together.wait(20)
            status = store(association, "1.2.3.1", bodies[number % 2]).status
            statuses.append((number % 2, status))

    with events.queue(InstanceStored) as told:
        senders = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(30)
        found = archive.table("instance")
        (number,) = found.instance_number
        assert body_of(found.path[0]) == bodies[number]
        assert len(statuses) == 8
        other = 0xC001 if duplicates == "first" else 0
        assert duplicates == "replace" or sorted(statuses) == sorted(
            [(number, 0)] * 4 + [(1 - number, other)] * 4
        )
        assert {status for _, status in statuses} <= {0, other}
        slot.stop()  # an event follows its answer
        kept = [event.duplicate for event in told.drain()]
        if duplicates != "replace":
            assert sorted(kept) == [False, True, True, True]
    assert len(archive.aside()) == (1 if duplicates == "aside" else 0)


def test_what_is_refused_is_told_and_counted(start: Open, events: EventBus) -> None:
    slot, archive = start(max_object=1)
    with events.queue(InstanceRefused) as refused, associate(slot) as association:
        body = encode(make("1.2.3.1", StudyInstanceUID="../x"))
        assert store(association, "1.2.3.1", body).status == 0xA900
        assert store(association, "1.2/3", body).status == 0xA900
        answer = store(association, "1.2.3.2", encode(make("1.2.3.2", EncapsulatedDocument=bytes(3_000_000))))
        assert (answer.status, "1 MB" in answer.comment) == (0xA700, True)
        assert store(association, "1.2.3.3", encode(make("1.2.3.3"))).status == 0
        (info,) = slot.associations()
        assert (info.stored, info.refused) == (1, 3)
        assert [(event.sop_instance_uid, event.received_from) for event in refused.drain()] == [
            ("1.2.3.1", "PACSKIT"),
            ("1.2/3", "PACSKIT"),
            ("1.2.3.2", "PACSKIT"),
        ]
        archive.follow(ArchiveSettings(durability="fast", min_free="1000 TB"))
        archive.storage()  # it looks now
        assert store(association, "1.2.3.4", encode(make("1.2.3.4"))).status == 0xA700
        assert store(association, "1.2.3.5", encode(make("1.2.3.5"))).status == 0xA700
        archive.follow(ArchiveSettings(durability="fast", min_free="0 MB"))
        assert store(association, "1.2.3.6", encode(make("1.2.3.6"))).status == 0
    check_stored(archive, {uid: encode(make(uid)) for uid in ("1.2.3.3", "1.2.3.6")})


def test_files_are_for_the_group(start: Open) -> None:
    before = os.umask(0o077)
    try:
        slot, archive = start({"group": str(os.getgid())})
    finally:
        os.umask(before)
    with associate(slot) as association:
        assert store(association, "1.2.3.1", encode(make())).status == 0
    (path,) = archive.table("instance").path
    assert Path(path).stat().st_mode & 0o777 == 0o640


def test_the_most_associations_are_those_of_all_workers(start: Open, events: EventBus) -> None:
    slot, _ = start(max_associations=2)
    with events.queue(AssociationRefused) as refused, associate(slot), associate(slot):
        with pytest.raises(AssociationRejected) as rejected:
            associate(slot)
        assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (2, 3, 2)
        event = refused.get(5)
        assert event is not None
        assert "2 associations are open" in event.reason
    assert slot.totals().associations_refused == 1


def test_silent_ones_block_nobody(start: Open) -> None:
    """Connections that say nothing, and one in each worker that stops in the middle of a data set."""
    slot, archive = start()
    silent = [socket.create_connection((HERE, slot.status.port), 10) for _ in range(20)]
    stalled = [associate(slot) for _ in range(2)]
    body = encode(make("1.2.3.9", EncapsulatedDocument=bytes(200_000)))
    reached, go_on = threading.Barrier(3), threading.Event()

    def stall(association: ClientAssociation, uid: str) -> None:
        def pieces() -> Iterator[memoryview]:
            yield memoryview(body)[:100_000]
            reached.wait(10)
            go_on.wait(30)

        with pytest.raises((AssociationError, ValueError)):
            association.store(CT, uid, EXPLICIT_LE, pieces(), len(body))

    stalling = [threading.Thread(target=stall, args=(a, f"1.2.3.{n}")) for n, a in enumerate(stalled)]
    for thread in stalling:
        thread.start()
    reached.wait(10)
    with associate(slot) as association:
        assert store(association, "1.2.3.8", encode(make("1.2.3.8"))).status == 0
    assert echo(peer(slot)).done
    for sock in silent:
        sock.close()
    slot.stop()
    go_on.set()
    for thread in stalling:
        thread.join(10)
    check_stored(archive, {"1.2.3.8": encode(make("1.2.3.8"))})


def test_a_worker_is_small_and_says_nothing_secret(start: Open) -> None:
    slot, _ = start()
    process = psutil.Process(max(pids(slot)))
    assert process.cmdline()[-2].startswith("# pacskit: a worker")
    maps = {Path(one.path).name for one in process.memory_maps()}
    assert not [name for name in maps if re.match("(_sqlite3|.*pandas|cyextension|.*_pydantic_core)", name)]


def test_what_came_with_the_request_is_not_lost() -> None:
    """A peer need not wait for the A-ASSOCIATE-AC to send; it may have been read already."""
    request = AssociateRequest(
        called_ae_title="A",
        calling_ae_title="B",
        contexts=(ProposedContext(1, CT, (EXPLICIT_LE,)),),
        implementation_class_uid="1.2",
        implementation_version_name="X",
    )
    early = b"\x04\0\0\0\0\x0a\0\0\0\x06\x01\x03abcd"
    connection = Connection("acceptor")
    data = request.encode() + early
    connection.get_buffer()[: len(data)] = data
    connection.buffer_updated(len(data))
    event = connection.next_event()
    assert isinstance(event, AssociateRequest)
    connection.accept(negotiate(event, {CT: {EXPLICIT_LE}}, maximum_length=50_000))
    again = taken_over(*established(connection))
    assert again.contexts == connection.contexts
    assert (again.maximum_length, again.peer_maximum_length) == (50_000, 131072)
    fragment = again.next_event()
    assert isinstance(fragment, Fragment)
    assert bytes(fragment.data) == b"abcd"
    assert again.next_event() is None


@pytest.mark.peer("strace")
def test_safe_syncs_in_order_before_success(tmp_path: Path) -> None:
    """The worker writes → data synced once → rename → its name on the disk → the answer of the worker."""
    archive = tmp_path / "archive"
    with traced(tmp_path, "-e", f"trace={CALLS}") as (server, log):
        server.serve(archive, workers=2)
        sent = [instance(1, 1, 1), instance(1, 1, 2, 700_000)]
        assert [answer.status for answer in server.store(sent)] == [0, 0]
        assert server.stop() == 0
    found, start = calls(log, archive), -1
    for _ in sent:
        part = place(found, "writev", r"<incoming/\w+-\w+\.part>", start)
        worker = found[part].thread
        name = re.search(r"incoming/[\w-]+\.part", found[part].what)[0]  # type: ignore[index]
        synced = place(found, "fdatasync", name, part)
        renamed = place(found, "rename", name, synced)
        target = re.search(r'"(studies/[^/]+/[^/]+)/\d+-\w+\.dcm"', found[renamed].what)
        assert target is not None
        named = place(found, "fsync", f"<{target[1]}>$", renamed)
        after = [n for n, call in enumerate(found) if n > named and call.name.startswith("send")]
        owner = found[renamed].thread
        assert found[synced].thread == found[named].thread == owner != worker
        answered = next(n for n in after if found[n].thread == owner)
        told = next(n for n in after if found[n].thread == worker)
        early = [n for n, call in enumerate(found) if renamed < n < named and call.name.startswith("send")]
        assert not [n for n in early if found[n].thread in (owner, worker)]
        assert answered < told
        touched = [(n, call.name) for n, call in enumerate(found) if name in call.what]
        assert [name for _, name in touched].count("fdatasync") == 1
        assert max(n for n, name in touched if name in ("writev", "pwrite64")) < synced
        start = told
