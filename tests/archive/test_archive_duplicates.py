"""The same UID again: the same instance is a duplicate; another content is kept aside, refused or takes over."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from pacskit.archive import Archive, Origin, Stored
from pacskit.archive.header import read_attributes
from pacskit.errors import Refused
from pacskit.events import EventBus, InstanceSetAside, InstanceStored
from pacskit.imaging.part10 import read_head
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import Send, encode, make, send_to

LEVELS = ("study", "series", "instance")


def files(archive: Archive, below: str = "studies") -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in (archive.folder / below).rglob("*.dcm"))


def settings(duplicates: str) -> ArchiveSettings:
    return ArchiveSettings.model_validate({"durability": "fast", "duplicates": duplicates})


@pytest.fixture
def open_archive(tmp_path: Path, events: EventBus) -> Callable[[str], Archive]:
    return lambda duplicates: Archive.create_or_open(tmp_path / duplicates, events, settings(duplicates))


def store_file(archive: Archive, path: Path) -> Stored:
    """A Part 10 file as a listener would store it."""
    raw = path.read_bytes()
    head = read_head(raw)
    found = read_attributes(lambda n, at: raw[at : at + n], head.offset, len(raw), head.transfer_syntax_uid)
    incoming = archive.incoming(
        sop_class_uid=found["SOPClassUID"],
        sop_instance_uid=found["SOPInstanceUID"],
        transfer_syntax_uid=head.transfer_syntax_uid,
        origin=Origin(calling_ae="SCANNER", received_at=1.0),
    )
    incoming.write([raw[head.offset :]])
    return incoming.commit()


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


OTHERS = [{"InstanceNumber": 2}, {"PatientName": "Doe^Jana"}, {"Rows": 3}, {"StudyInstanceUID": "1.2.99"}]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("drained", [False, True], ids=["queued", "indexed"])
def test_first(open_archive: Callable[[str], Archive], other: dict[str, object], drained: bool) -> None:
    with open_archive("first") as archive:
        content = send_to(archive, make()).path.read_bytes()
        if drained:
            archive.drain()
        with pytest.raises(Refused, match="first is kept") as refusal:
            send_to(archive, make(**other))
        assert refusal.value.status == 0xC001
        assert [path.read_bytes() for path in archive.folder.rglob("*.dcm")] == [content]
        assert archive.studies().instances.sum() == 1
        assert list(archive.studies().conflict) == [""]
        assert not list((archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("drained", [False, True], ids=["queued", "indexed"])
def test_aside(
    archive: Archive, send: Send, events: EventBus, other: dict[str, object], drained: bool
) -> None:
    """The default: taken, kept apart, not served; the study's row says it, before and after a rebuild."""
    content = send(make()).path.read_bytes()
    if drained:
        archive.drain()
    stored = send(make(**other), ae="OTHER")
    assert stored.aside
    assert stored.path.read_bytes().endswith(encode(make(**other)))
    (event,) = events.recent(InstanceSetAside)
    assert (event.study_uid, event.received_from, event.path) == ("1.2.3", "OTHER", str(stored.path))
    assert [path.read_bytes() for path in (archive.folder / "studies").rglob("*.dcm")] == [content]
    tables = [archive.studies(), *(archive.table(level) for level in LEVELS)]
    assert list(tables[3].sop_instance_uid) == ["1.2.3.1"]
    assert list(tables[0].conflict) == ["1 instance came again with another content, which is kept aside"]
    assert send(make(**other)).duplicate, "the same one again is not kept twice"
    assert not send(make(Columns=7)).duplicate
    assert len(events.recent(InstanceSetAside)) == 2
    assert list(archive.studies().conflict) == [
        "2 instances came again with another content, which is kept aside"
    ]
    assert [one.received_from for one in archive.aside()].count("OTHER") == 1
    before = archive.table("series", columns=["conflict", "instances"])
    archive.rebuild()
    assert archive.table("series", columns=["conflict", "instances"]).equals(before)
    with Archive.read(archive.folder) as reader:
        assert list(reader.studies().conflict) == list(archive.studies().conflict)
    assert not list((archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("drained", [False, True], ids=["queued", "indexed"])
def test_replace(open_archive: Callable[[str], Archive], other: dict[str, object], drained: bool) -> None:
    with open_archive("replace") as archive:
        content = send_to(archive, make()).path.read_bytes()
        send_to(archive, make("1.2.3.2"))
        if drained:
            archive.drain()
        stored = send_to(archive, make(**other), ae="OTHER")
        assert not stored.duplicate
        assert stored.path.read_bytes().endswith(encode(make(**other)))
        (old,) = (archive.folder / "trash").rglob("*.dcm")
        assert old.read_bytes() == content
        (entry,) = archive.trash()
        assert (entry.why, entry.instances) == ("replaced", 1)
        found = archive.table("instance", columns=["received_from", "StudyInstanceUID", "Rows", "path"])
        row = found[found.sop_instance_uid == "1.2.3.1"].iloc[0]
        assert (row.received_from, row.path) == ("OTHER", str(stored.path))
        assert archive.studies().instances.sum() == 2
        before = [archive.table(level) for level in LEVELS]
        archive.rebuild()
        for level, table in zip(LEVELS, before, strict=True):
            assert archive.table(level).equals(table), level
        send_to(archive, make(Columns=9))
        assert sum(one.instances for one in archive.trash()) == 2
        assert len(archive.table("instance")) == 2


@pytest.mark.peer("dcmconv", "dcmcrle", "dcmcjpeg")
@pytest.mark.parametrize(
    "command",
    [["dcmconv", "+ti"], ["dcmconv", "+tb"], ["dcmconv", "+td"], ["dcmcrle"], ["dcmcjpeg", "+e1"]],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm"])
def test_another_transfer_syntax(archive: Archive, tmp_path: Path, command: list[str], name: str) -> None:
    """The same instance, recoded by DCMTK: the first is kept."""
    original, recoded = Path(str(get_testdata_file(name))), tmp_path / "recoded.dcm"
    subprocess.run([*command, original, recoded], check=True)
    assert read_head(recoded.read_bytes()).transfer_syntax_uid != ExplicitVRLittleEndian
    first = store_file(archive, original)
    assert store_file(archive, recoded).duplicate
    assert files(archive) == [(str(first.path), first.path.stat().st_mtime_ns)]
    assert not archive.aside()


@pytest.mark.peer("dcmcrle", "dcmconv")
@pytest.mark.parametrize("command", [["dcmcrle"], ["dcmconv", "+ti"]], ids=" ".join)
@pytest.mark.parametrize(
    "change",
    [{"PatientComments": "other"}, {"LossyImageCompression": "01"}, {"PixelData": None}],
    ids=lambda change: next(iter(change)),
)
def test_another_transfer_syntax_and_content(
    archive: Archive, tmp_path: Path, command: list[str], change: dict[str, str | None]
) -> None:
    """Pixels are compared where both have them as they are; an attribute always."""
    original, recoded = Path(str(get_testdata_file("CT_small.dcm"))), tmp_path / "recoded.dcm"
    dataset = pydicom.dcmread(original)
    for keyword, value in change.items():
        setattr(dataset, keyword, bytes(len(dataset.PixelData)) if value is None else value)
    dataset.save_as(tmp_path / "changed.dcm")
    subprocess.run([*command, tmp_path / "changed.dcm", recoded], check=True)
    store_file(archive, original)
    stored = store_file(archive, recoded)
    unseen = command == ["dcmcrle"] and "PixelData" in change
    assert (stored.duplicate, stored.aside) == (unseen, not unseen)


def test_the_same_elements_in_other_bytes(archive: Archive, send: Send) -> None:
    """Lengths of groups and sequences, and padding, are no content."""
    send(make(PatientComments="x"))
    body = encode(make(PatientComments="x"))
    assert send(make(), body=b"\x08\x00\x00\x00UL\x04\x00" + bytes(4) + body).duplicate
    assert send(make(), body=body + b"\xfc\xff\xfc\xffOB\x00\x00\x04\x00\x00\x00" + bytes(4)).duplicate
    assert send(make(), body=body.replace(b"x ", b"y ")).aside


@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_good_one_takes_the_place_of_a_damaged_one(archive: Archive, send: Send, damage: str) -> None:
    first = send(make())
    archive.drain()
    content = first.path.read_bytes()
    if damage == "gone":
        first.path.unlink()
    else:
        first.path.write_bytes(content[:-3] if damage == "cut" else b"")
    again = send(make())
    assert not again.duplicate
    assert again.path.read_bytes()[-100:] == content[-100:]
    assert list(archive.studies().instances) == [1]
    kept = [path.read_bytes() for path in (archive.folder / "damaged").rglob("*.dcm")]
    assert kept == ({"cut": [content[:-3]], "empty": [b""], "gone": []}[damage])


@pytest.mark.parametrize("duplicates", ["aside", "first", "replace"])
def test_eight_threads_at_once(open_archive: Callable[[str], Archive], duplicates: str) -> None:
    """Each outcome is true, and what is stored in the end is one of the contents, whole and indexed."""
    with open_archive(duplicates) as archive:
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
                    stored = send_to(archive, dataset)
                    outcome = "aside" if stored.aside else "duplicate" if stored.duplicate else "stored"
                except Refused as error:
                    outcome = "refused" if error.status == 0xC001 else str(error)
                outcomes.append((number % 2, outcome))

            threads = [threading.Thread(target=commit, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            found = archive.table("instance", SOPInstanceUID=uid)
            (number,) = found.instance_number
            assert int(pydicom.dcmread(found.path[0]).InstanceNumber) == number
            if duplicates == "replace":
                assert {outcome for _, outcome in outcomes} <= {"stored", "duplicate"}
                stored = [kind for kind, outcome in outcomes if outcome == "stored"]
                assert len(outcomes) == 8
                assert abs(stored.count(0) - stored.count(1)) <= 1, "each replaced the other kind"
                continue
            other = {"aside": "aside", "first": "refused"}[duplicates]
            expected = [(number, "stored"), *[(number, "duplicate")] * 3, *[(1 - number, other)] * 4]
            assert sorted(outcomes) == sorted(expected)
        assert len(files(archive)) == 5
        assert len(archive.aside()) == (5 if duplicates == "aside" else 0)
        assert not list((archive.folder / "incoming").iterdir())


def test_the_setting_may_change_while_it_is_open(archive: Archive, send: Send) -> None:
    send(make())
    archive.follow(settings("first"))
    with pytest.raises(Refused):
        send(make(Rows=3))
    archive.follow(settings("replace"))
    assert not send(make(Rows=3)).aside
    assert list(archive.table("instance", columns=["Rows"]).Rows) == [3]
