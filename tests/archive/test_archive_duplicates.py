"""The same UID again: same content is a duplicate, another content is refused; the first stays."""

from __future__ import annotations

import threading

import pytest

from pacskit.archive import Archive
from pacskit.errors import Refused
from pacskit.events import EventBus, InstanceStored
from tests.archive.conftest import Send, make, send_to


def files(archive: Archive) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in archive.folder.rglob("*.dcm"))


@pytest.mark.parametrize("drained", [False, True], ids=["queued", "indexed"])
def test_same_content(archive: Archive, send: Send, events: EventBus, drained: bool) -> None:
    first = send(make(), at=100.0)
    if drained:
        archive.drain()
    before = files(archive)
    again = send(make(), at=200.0, ae="OTHER")
    assert again.duplicate
    assert not first.duplicate
    assert again.path == first.path
    assert files(archive) == before
    row = archive.studies().iloc[0]
    assert (row.instances, row.received_from, row.received_at.timestamp()) == (1, "SCANNER", 100.0)
    assert [event.duplicate for event in events.recent(InstanceStored)] == [False, True]


@pytest.mark.parametrize("other", [{"InstanceNumber": 2}, {"PatientName": "Doe^Jana"}, {"Rows": 3}])
def test_other_content(archive: Archive, send: Send, other: dict[str, object]) -> None:
    content = send(make()).path.read_bytes()
    with pytest.raises(Refused, match="first is kept") as refusal:
        send(make(**other))
    assert refusal.value.status == 0xC001
    assert [path.read_bytes() for path in archive.folder.rglob("*.dcm")] == [content]
    assert archive.studies().instances.sum() == 1
    assert not list((archive.folder / "incoming").iterdir())


def test_eight_threads_at_once(archive: Archive) -> None:
    """Each outcome is true: told `stored` by one alone, `duplicate` where the content is the winner's."""
    for round_number in range(5):
        uid = f"1.2.3.{round_number}"
        outcomes: list[tuple[int, str]] = []
        ready = threading.Barrier(8)

        def commit(
            number: int,
            uid: str = uid,
            outcomes: list[tuple[int, str]] = outcomes,
            ready: threading.Barrier = ready,
        ) -> None:
            dataset = make(uid, InstanceNumber=number % 2)
            ready.wait()
            try:
                outcome = "duplicate" if send_to(archive, dataset).duplicate else "stored"
            except Refused as error:
                outcome = "refused" if error.status == 0xC001 else str(error)
            outcomes.append((number % 2, outcome))

        threads = [threading.Thread(target=commit, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        winner = next(kind for kind, outcome in outcomes if outcome == "stored")
        expected = sorted([(winner, "stored"), *[(winner, "duplicate")] * 3, *[(1 - winner, "refused")] * 4])
        assert sorted(outcomes) == expected
        numbers = archive.table("instance", SOPInstanceUID=uid).instance_number
        assert list(numbers) == [winner]
    assert not list((archive.folder / "incoming").iterdir())
