"""After a rebuild every answer is the same, receipt and conflict included."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from pacskit.archive import Archive, Origin
from pacskit.errors import ArchiveError
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

COLUMNS = [
    "received_at",
    "received_from",
    "instances",
    "bytes",
    "PatientBirthDate",
    "ProtocolName",
    "conflict",
]
LEVELS = ("study", "series", "instance")


def answers(archive: Archive) -> list[pd.DataFrame]:
    tables = [archive.table(level) for level in LEVELS]
    return [archive.studies(), *tables, archive.table("series", columns=COLUMNS)]


def assert_same(one: list[pd.DataFrame], other: list[pd.DataFrame]) -> None:
    for left, right in zip(one, other, strict=True):
        assert_frame_equal(left, right)


def fill(archive: Archive) -> None:
    """Conflicts of both kinds, left out birth dates, ties in time, scripts, two senders, an import."""
    number = 0
    for study in ("1.2.3", "1.2.4", "1.2.5"):
        for series in ("0", "1"):
            for about in (
                {},
                {"PatientBirthDate": ""},
                {"PatientName": "Яков^Müller=山田"},
                {"PatientID": ""},
            ):
                number += 1
                dataset = make(f"9.{number}", study, f"{study}.{series}", InstanceNumber=number, **about)
                send_to(archive, dataset, ae="CT99" if number % 3 else "MR1", at=1e9 + number // 4 + 0.123)
    loose = archive.folder.parent / "loose"
    loose.write_bytes(archive.series_paths("1.2.3.0")[0].read_bytes().replace(b"9.1\0", b"8.1\0"))
    assert archive.import_paths([loose]).stored == 1


@pytest.fixture
def filled(tmp_path: Path, fast: ArchiveSettings) -> tuple[Path, list[pd.DataFrame]]:
    with Archive.create_or_open(tmp_path / "archive", EventBus(), fast) as archive:
        fill(archive)
        found = answers(archive)
    assert len(found[0]) == 12
    assert (found[0].conflict != "").any()
    assert set(found[3].received_from) == {"CT99", "MR1", "import"}
    return tmp_path / "archive", found


def test_in_place(filled: tuple[Path, list[pd.DataFrame]], events: EventBus) -> None:
    folder, before = filled
    steps: list[int] = []
    with Archive.create_or_open(folder, events) as archive:
        report = archive.rebuild(steps.append)
        assert_same(answers(archive), before)
    assert report.instances == steps[-1] == 25
    assert not report.unreadable


@pytest.mark.parametrize("damage", ["deleted", "noise", "table", "version", "deleted but its log"])
def test_index_lost_or_damaged(
    filled: tuple[Path, list[pd.DataFrame]], events: EventBus, damage: str
) -> None:
    folder, before = filled
    index = folder / "index.sqlite"
    if damage.startswith("deleted"):
        index.unlink()
        if "log" in damage:
            index.with_name("index.sqlite-wal").write_bytes(b"\x37\x7f\x06\x82" + bytes(5000))
    elif damage == "noise":
        index.write_bytes(b"no database " * 1000)
    else:
        with sqlite3.connect(index) as connection:
            connection.execute("DROP TABLE instance" if damage == "table" else "PRAGMA user_version=0")
        connection.close()
    if damage not in ("table", "deleted but its log"):
        with pytest.raises(ArchiveError, match="rebuild"):
            Archive.read(folder)
    with Archive.create_or_open(folder, events) as archive:
        assert_same(answers(archive), before)


def test_readers_see_the_same(filled: tuple[Path, list[pd.DataFrame]], events: EventBus) -> None:
    folder, before = filled
    with Archive.read(folder) as reader:
        assert_same(answers(reader), before)
        with Archive.create_or_open(folder, events) as owner:
            owner.rebuild()
            assert_same(answers(reader), before)


def test_damaged_files_are_named_and_stay(filled: tuple[Path, list[pd.DataFrame]], events: EventBus) -> None:
    folder, _ = filled
    victim = sorted(folder.rglob("*.dcm"))[0]
    victim.write_bytes(victim.read_bytes()[:-3])
    with Archive.create_or_open(folder, events) as archive:
        report = archive.rebuild()
        assert [path for path, _ in report.unreadable] == [victim]
        assert archive.studies().instances.sum() == 24
    assert victim.exists()


def test_rebuild_while_receiving(archive: Archive) -> None:
    started = archive.incoming(
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        origin=Origin(received_at=1.0),
    )
    started.write([b"\x08\0\x16\0"])
    archive.rebuild()
    part = Path(started.part)
    assert part.exists(), "it belongs to one who still sends"
    started.discard()
    assert not part.exists()
