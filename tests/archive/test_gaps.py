"""Gaps: holes are seen and named, whole series say nothing, and doubt is told as doubt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from pacskit.archive import Archive, Gap
from pacskit.archive.gaps import Numbered, number_gaps, position_gaps, stated_gaps
from pacskit.simulator.phantoms import STUDIES
from tests.archive.conftest import make, send_to


def numbers(*found: int | None) -> list[Gap]:
    return number_gaps("1", "Series 1 (CT)", [Numbered(number, None) for number in found])


def said(gaps: Sequence[Gap]) -> list[tuple[bool, int]]:
    return [(gap.certain, gap.missing) for gap in gaps]


@pytest.mark.parametrize(
    ("found", "short"),
    [
        ((1, 2, 4), "3"),
        ((1, 2, 5, 6, 9), "3–4, 7–8"),
        ((1, 2, 6), "3–5"),
        (tuple(one for one in range(1, 40) if one % 3), "3, 6, 9, 12, 15, 18, 21, 24 …"),
        ((1, 100, 200), ""),
    ],
)
def test_missing_numbers_in_short(found: tuple[int, ...], short: str) -> None:
    assert [gap.numbers for gap in numbers(*found)] == [short]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((1, 2, 3), []),
        ((0, 1, 2), []),
        ((3, 1, 2), []),
        ((1,), []),
        ((1, 2, 4), [(True, 1)]),
        ((1, 2, 5, 6, 9), [(True, 4)]),
        ((5, 6, 8), [(True, 1), (False, 0)]),
        ((7,), [(False, 0)]),
        ((1, 3, 5, 7), [(False, 0)]),
        ((1, 100, 200), [(False, 0)]),
        ((None,), []),
        ((None, None), [(False, 0)]),
        ((1, 2, None), [(False, 0)]),
        ((1, 1, 1), [(False, 0)]),
        ((1, 1, 2, 2, 3, 3), []),
        ((1, 1, 2, 3, 3), [(False, 0)]),
        ((1, 1, 3, 3), [(True, 1)]),
        ((-3, -2, -1), []),
    ],
)
def test_numbers(found: tuple[int | None, ...], expected: list[tuple[bool, int]]) -> None:
    assert said(numbers(*found)) == expected


def test_the_sentences() -> None:
    (gap,) = numbers(1, 2, 4)
    assert str(gap) == "Series 1 (CT): 1 instance is missing: number 3 of 1 to 4."
    (gap,) = numbers(*range(1, 30, 2), *range(31, 60))
    assert str(gap).endswith("missing: number 2, 4, 6, 8, 10, 12, 14, 16 and 7 more of 1 to 59.")
    assert gap.kind == "instance numbers"


def test_acquisitions_that_begin_anew() -> None:
    found = [Numbered(number, acquisition) for acquisition in (1, 2) for number in range(1, 11)]
    assert number_gaps("1", "Series 1", found) == []
    (gap,) = number_gaps("1", "Series 1", [one for one in found if one != Numbered(4, 2)])
    assert str(gap) == "Series 1: 1 instance is missing of acquisition 2: number 4 of 1 to 10."


def slices(count: int, **attributes: Any) -> list[Dataset]:
    """A stack along z, 2.5 mm apart."""
    found = []
    for number in range(count):
        dataset = make(f"1.2.3.{number + 1}", InstanceNumber=number + 1, **attributes)
        dataset.Rows = dataset.Columns = 16
        dataset.PixelSpacing, dataset.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, 2.5 * number]
        found.append(dataset)
    return found


def test_slice_left_out() -> None:
    stack = slices(20)
    assert position_gaps("1", "Series 1 (CT)", stack) == []
    (gap,) = position_gaps("1", "Series 1 (CT)", stack[:7] + stack[9:])
    assert (gap.certain, gap.missing, gap.kind) == (True, 2, "slice positions")
    assert str(gap) == ("Series 1 (CT): 2 slices missing at 17.5, 20.0 mm along the normal (spacing 2.5 mm).")


def test_a_pause_between_blocks_is_no_loss() -> None:
    """The numbers follow each other over the hole: nothing was lost, the scan was planned so."""
    stack = slices(20)
    (gap,) = position_gaps("1", "Series 1", stack[:10] + stack[13:], numbers_follow=True)
    assert not gap.certain
    assert "follow each other" in str(gap)


def test_few_or_uneven_slices_say_nothing() -> None:
    stack = slices(20)
    assert position_gaps("1", "Series 1", [stack[0], stack[1], stack[9]]) == []
    for number, dataset in enumerate(stack):
        dataset.ImagePositionPatient = [0, 0, number**1.3]
    assert position_gaps("1", "Series 1", stack) == []


def test_one_slice_of_one_time_point() -> None:
    points = []
    for point in (1, 2, 3):
        for dataset in slices(8, TemporalPositionIdentifier=point):
            dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{point}"
            points.append(dataset)
    assert position_gaps("1", "Series 1", points) == []
    (gap,) = position_gaps("1", "Series 1", points[:11] + points[12:])
    assert "time point 2: 1 slice missing" in str(gap)
    (gap,) = position_gaps("1", "Series 1", points[:-2])
    assert str(gap) == "Series 1, time point 3: 6 slices, and 8 in the other volumes."
    assert (gap.certain, gap.missing) == (False, 2)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"NumberOfSeriesRelatedInstances": 5}, []),
        ({"NumberOfSeriesRelatedInstances": 8}, [(True, 3)]),
        ({"ConcatenationUID": "1.5", "InConcatenationTotalNumber": 6}, [(True, 1)]),
        ({"ImagesInAcquisition": 6, "ImageType": ["ORIGINAL", "PRIMARY"]}, [(False, 1)]),
        ({"ImagesInAcquisition": 6, "ImageType": ["DERIVED", "SECONDARY"]}, []),
        ({"ImagesInAcquisition": 5, "ImageType": ["ORIGINAL", "PRIMARY"]}, []),
        ({}, []),
    ],
)
def test_stated_counts(attributes: dict[str, Any], expected: list[tuple[bool, int]]) -> None:
    gaps = stated_gaps("1", "Series 1", slices(5, **attributes))
    assert said(gaps) == expected
    assert all("the header says" in str(gap) for gap in gaps)


def test_in_an_archive(archive: Archive) -> None:
    stack = slices(12, NumberOfSeriesRelatedInstances=12)
    for dataset in stack[:5] + stack[6:]:
        send_to(archive, dataset)
    report = make("7.7", series="7.8", Modality="SR", SeriesNumber=9, ContentSequence=Items([]))
    send_to(archive, report)
    gaps = archive.gaps("1.2.3")
    assert [gap.kind for gap in gaps] == ["instance numbers", "slice positions", "stated count"]
    assert {gap.series_uid for gap in gaps} == {"1.2.3.0"}
    found = archive.completeness("1.2.3")
    assert (found.series, found.instances, found.gaps) == (2, 12, 1)
    send_to(archive, stack[5])
    assert archive.gaps("1.2.3") == []
    assert archive.completeness("1.2.3").gaps == 0
    with Archive.read(archive.folder) as reader:
        assert reader.gaps("1.2.3") == []


def test_files_that_are_gone_are_said(archive: Archive) -> None:
    for dataset in slices(5):
        send_to(archive, dataset)
    archive.series_paths("1.2.3.0")[2].unlink()
    gaps = archive.gaps("1.2.3")
    assert [gap.kind for gap in gaps] == ["unreadable", "slice positions"]
    archive.series_paths("1.2.3.0")[0].unlink()
    assert archive.gaps("1.2.3")[0].missing == 2


PHANTOMS: dict[str, dict[str, int]] = {
    "mr": {"slices": 12, "size": 64},
    "us": {"frames": 2},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PHANTOMS)
def test_phantoms(archive: Archive, tmp_path: Path, kind: str) -> None:
    for number, dataset in enumerate(STUDIES[kind](**PHANTOMS[kind])):
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    archive.import_paths([tmp_path])
    (study,) = archive.studies().study_uid
    assert archive.gaps(study) == []
    for series in archive.table("series").itertuples():
        files = archive.series_paths(series.series_uid)
        if len(files) < 8:
            continue
        for path in files[2:4]:
            path.unlink()
    archive.rebuild()
    certain = [gap for gap in archive.gaps(study) if gap.certain]
    assert {(gap.kind, gap.missing) for gap in certain} == (
        set() if kind == "us" else {("instance numbers", 2), ("slice positions", 2)}
    )


@pytest.mark.filterwarnings("ignore")
def test_real_series(archive: Archive, shared_data: Path) -> None:
    """Nothing certain is said of whole series; one slice left out of those with 20 or more is seen."""
    archive.import_paths([shared_data])
    studies = dict(zip(archive.table("series").series_uid, archive.table("series").study_uid, strict=True))
    certain = {gap.series_uid for uid in set(studies.values()) for gap in archive.gaps(uid) if gap.certain}
    assert not certain
    large = [uid for uid, count in archive.table("series")[["series_uid", "instances"]].values if count >= 20]
    assert len(large) >= 4
    for uid in large:
        files = archive.series_paths(uid)
        files[len(files) // 2].unlink()
    archive.rebuild()
    for uid in large:
        gaps = [gap for gap in archive.gaps(studies[uid]) if gap.certain and gap.series_uid == uid]
        assert [gap.missing for gap in gaps if gap.kind == "instance numbers"] == [1], uid
