"""Attributes that were not read when a file came are read later, while the index answers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pacskit.archive import Archive, tables
from pacskit.archive.extra import parse
from pacskit.archive.index import IndexWriter
from pacskit.archive.reindex import Reindexer, ReindexReport, read_again
from pacskit.archive.rows import Row
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

EXTRA = ("EchoTime", "FlipAngle", "SliceThickness", "series.KVP", "PixelSpacing", "study.RequestingPhysician")


def some(number: int) -> Dataset:
    return make(
        f"9.{number}",
        "1.2.3",
        f"1.2.3.{number % 2}",
        EchoTime=number + 0.5,
        KVP="120" if number < 2 else "80",
        PixelSpacing=[0.5, 0.25],
        RequestingPhysician="Roe^Ann",
        FlipAngle=None if number == 3 else 90,
    ) if number != 3 else make("9.3", "1.2.3", "1.2.3.1", EchoTime=3.5)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, fast: ArchiveSettings) -> Path:
    with Archive.create_or_open(tmp_path, EventBus(), fast) as archive:
        for number in range(4):
            send_to(archive, some(number), at=float(number))
    return tmp_path


def opened(folder: Path, extra: tuple[str, ...] = EXTRA, **options: Any) -> IndexWriter:
    committed = options.pop("committed", lambda rows, conflicts: None)
    return IndexWriter(folder / "index.sqlite", committed, lambda reason: None, extra=extra, **options)


def test_old_instances_are_read(folder: Path) -> None:
    index = opened(folder)
    reindexer = Reindexer(index, folder)
    steps: list[tuple[int, int]] = []
    assert reindexer.run(lambda done, of: steps.append((done, of))) == ReindexReport(read=4)
    assert steps == [(4, 4)]
    assert reindexer.run() == ReindexReport(read=4), "since it was opened"
    found = tables.table(
        index, None, "instance", [*EXTRA[:3], "KVP", "PixelSpacing"], {"SOPInstanceUID": "9.0"}
    )
    assert (found.EchoTime[0], found.FlipAngle[0], found.KVP[0]) == (0.5, 90.0, 120.0)
    assert found.SliceThickness.isna().all()
    assert list(found.PixelSpacing) == [(0.5, 0.25)]
    for query, count in (
        ({"EchoTime": 2.5}, 1), ({"FlipAngle": 90}, 3), ({"KVP": 120}, 4), ({"KVP": 80}, 0),
        ({"PixelSpacing": "0.25"}, 3), ({"RequestingPhysician": "roe*"}, 4),
    ):  # fmt: skip
        assert tables.count(index, "instance", query) == count, query
    index.close()


def test_in_the_background_new_ones_too(folder: Path, tmp_path: Path) -> None:
    read = threading.Event()
    reindexer: list[Reindexer] = []

    def committed(rows: list[Row], conflicts: dict[str, str]) -> None:
        if rows:
            reindexer[0].committed(rows)
        elif not index.unread():
            read.set()

    index = opened(folder, committed=committed)
    reindexer.append(Reindexer(index, folder))
    reindexer[0].start()
    assert read.wait(30)
    read.clear()
    row = read_again(folder, index.path_of("9.0"), ())
    assert row is not None
    index.remove(["9.0"])
    index.put(row)  # as it comes: a header without extra attributes
    assert read.wait(30)
    assert tables.count(index, "instance", {"EchoTime": 0.5}) == 1
    reindexer[0].close()
    reindexer[0].close()
    index.close()


def test_what_cannot_be_read_is_counted_and_tried_again_later(folder: Path) -> None:
    index = opened(folder)
    victim, other = (folder / index.path_of(uid) for uid in ("9.1", "9.2"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-3])
    content = other.read_bytes()
    other.write_bytes(content.replace(b"9.2\0", b"9.7\0"))
    report = Reindexer(index, folder).run()
    assert report == ReindexReport(read=2, unreadable=2)
    assert str(report) == "2 instances read again, 2 could not be read"
    victim.write_bytes(whole)
    other.write_bytes(content)
    assert Reindexer(index, folder).run() == ReindexReport(read=2)
    index.close()


def test_removed_first_instance_gives_way_to_the_next(folder: Path) -> None:
    names = parse(EXTRA).keywords
    index = opened(folder, read=lambda path: read_again(folder, path, names))
    Reindexer(index, folder).run()
    index.remove(["9.0"])
    assert not index.unread()
    assert tables.table(index, None, "series", ["KVP"], {"SeriesInstanceUID": "1.2.3.0"}).KVP[0] == 80
    index.close()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["EchoTim"], "did you mean EchoTime"),
        (["frame.EchoTime"], "before the point stands patient"),
        (["ReferencedStudySequence"], "is a sequence"),
        (["PixelData"], "no text or number"),
    ],
)
def test_what_no_index_can_keep(names: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse(names)
    with pytest.raises(ValueError, match=sentence):
        ArchiveSettings(extra_attributes=tuple(names))


def test_what_every_index_has_is_left_out() -> None:
    assert parse(["Modality", "series.KVP", "KVP"]).names == ("series.KVP",)
    assert ArchiveSettings(extra_attributes=(" instance.KVP",)).extra_attributes == ("KVP",)
