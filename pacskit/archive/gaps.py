"""Did it all arrive? What a study's instances say about others that are not here.

Holes can be seen: in instance numbers, in slice positions, against counts that the header states. Instances
missing at a series' end cannot, unless a count is stated; nor can whole series.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from pacskit.errors import GeometryError
from pacskit.imaging.functional_groups import number
from pacskit.imaging.geometry import spacing_tolerance
from pacskit.imaging.grouping import Slice, grouped
from pacskit.imaging.keys import VolumeKey

MOST_NAMED = 8
"""How many numbers or positions a sentence lists."""

Kind = Literal["instance numbers", "slice positions", "stated count", "unreadable"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is, or may be, missing in one series. `str(gap)` is the sentence."""

    series_uid: str
    kind: Kind
    certain: bool
    """False: the headers do not tell, and the sentence says why it may be."""
    missing: int
    """At least so many instances; 0 where that cannot be told."""
    sentence: str
    numbers: str = ""
    """Which instance numbers are missing, as `3, 12–14`; empty where that cannot be told."""

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True, slots=True)
class Numbered:
    """What the index knows of one instance."""

    instance: int | None
    acquisition: int | None


def number_gaps(series_uid: str, name: str, instances: Sequence[Numbered]) -> list[Gap]:
    """Holes in the instance numbers (0020,0013) of one series; `name` begins the sentence.

    Where numbers repeat, because they begin anew with each acquisition (0020,0012), each is judged alone.
    """
    numbers = [one.instance for one in instances if one.instance is not None]
    unnumbered = len(instances) - len(numbers)
    if not numbers:
        sentence = f"{name}: no instance has a number, so a missing one cannot be seen."
        return [_doubt(series_uid, sentence)] if unnumbered > 1 else []
    gaps = []
    if unnumbered:
        sentence = f"{name}: {unnumbered} of {len(instances)} instances have no number."
        gaps.append(_doubt(series_uid, sentence))
    if len(set(numbers)) == len(numbers):
        return gaps + _holes(series_uid, name, numbers, "")
    if len(set(numbers)) == 1:
        sentence = f"{name}: all {len(numbers)} instances have the number {numbers[0]}, so a missing one"
        return [*gaps, _doubt(series_uid, f"{sentence} cannot be seen.")]
    found: dict[int | None, list[int]] = {}
    for one in instances:
        if one.instance is not None:
            found.setdefault(one.acquisition, []).append(one.instance)
    if len(found) > 1 and all(len(set(each)) == len(each) for each in found.values()):
        for acquisition, each in sorted(found.items(), key=lambda item: item[0] or 0):
            gaps += _holes(series_uid, name, each, f" of acquisition {acquisition}")
        return gaps
    gaps += _holes(series_uid, name, sorted(set(numbers)), "")
    return gaps + _seldom(series_uid, name, numbers)


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as `3, 12–14`; some of the first."""
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1][1:] = [one]
        else:
            runs.append([one])
    named = ["–".join(map(str, run)) for run in runs[:MOST_NAMED]]
    return ", ".join(named) + (" …" if len(runs) > MOST_NAMED else "")


def _holes(series_uid: str, name: str, numbers: Sequence[int], of: str) -> list[Gap]:
    ordered = sorted(numbers)
    first, last, count = ordered[0], ordered[-1], len(ordered)
    steps = {after - before for before, after in itertools.pairwise(ordered)}
    if len(steps) == 1 and count > 2 and (step := steps.pop()) > 1:
        return [
            _doubt(series_uid, f"{name}: the instance numbers{of} go in steps of {step}, from {first} on.")
        ]
    absent = last - first + 1 - count
    if absent > count:
        return [
            _doubt(
                series_uid,
                f"{name}: {count} instances{of} have numbers between {first} and {last}: most of them are "
                "missing, or their numbers do not follow each other.",
            )
        ]
    gaps = []
    if absent:
        there = set(ordered)
        missing = [one for one in range(first, last) if one not in there]
        what = f"{name}: {_instances(absent)} missing{of}: number {_listed(missing)} of {first} to {last}."
        gaps.append(Gap(series_uid, "instance numbers", True, absent, what, ranges(missing)))
    if first > 1:
        gaps.append(_doubt(series_uid, f"{name}: the instance numbers{of} begin at {first}."))
    return gaps


def _seldom(series_uid: str, name: str, numbers: Sequence[int]) -> list[Gap]:
    """Numbers that repeat, and nothing tells the instances apart: some may occur less often than others."""
    often = Counter(numbers)
    usual = Counter(often.values()).most_common(1)[0][0]
    fewer = sorted(one for one, count in often.items() if count < usual)
    if not fewer:
        return []
    sentence = f"{name}: numbers {_listed(fewer)} occur less often than the others ({usual} times)."
    return [_doubt(series_uid, sentence)]


def position_gaps(
    series_uid: str, name: str, datasets: Sequence[Dataset], numbers_follow: bool = False
) -> list[Gap]:
    """Holes in the slice positions of one series, from headers without pixels.

    A hole is a distance that is a multiple of the usual one. `numbers_follow`: the instance numbers have no
    hole, so it may be a pause between two blocks of slices. Nothing where the images have no positions.
    """
    try:
        found = grouped(datasets)
    except GeometryError as error:
        if "occur more often than others" not in str(error):
            return []  # no stack of slices: there is nothing to be seen in positions
        return [Gap(series_uid, "slice positions", False, 0, f"{name}: {_tail(error)}")]
    gaps = []
    whole: dict[VolumeKey, list[Slice]] = {}
    for key, members in found.items():
        holes = _distances(series_uid, name if len(found) == 1 else f"{name}, {key}", members, numbers_follow)
        gaps += holes
        if not holes:
            whole[key] = members
    return gaps + _shorter(series_uid, name, whole)


def _distances(series_uid: str, name: str, members: list[Slice], numbers_follow: bool) -> list[Gap]:
    if len(members) < 2:
        return []
    normal = members[0].geometry.normal
    places = np.array([float(normal @ one.geometry.position) for one in members])
    steps = np.diff(places)
    usual = float(np.median(steps))
    if usual <= 0:
        return []
    counts = np.rint(steps / usual).astype(int)
    holes = np.flatnonzero(counts > 1)
    even = np.abs(steps - counts * usual) <= spacing_tolerance(usual) * np.maximum(counts, 1)
    if not len(holes) or not even[holes].all():
        return []
    missing = [float(places[at] + usual * part) for at in holes for part in range(1, counts[at])]
    where = _listed([f"{one:.1f}" for one in missing])
    what = f"{len(missing)} slice{'s' if len(missing) > 1 else ''}"
    if numbers_follow or len(missing) > len(members):
        why = "though the instance numbers follow each other" if numbers_follow else "more than are here"
        sentence = (
            f"{name}: there is room for {what} at {where} mm along the normal (spacing {usual:.4g} mm), "
            f"{why}: blocks of slices with pauses between them?"
        )
        return [Gap(series_uid, "slice positions", False, len(missing), sentence)]
    sentence = f"{name}: {what} missing at {where} mm along the normal (spacing {usual:.4g} mm)."
    return [Gap(series_uid, "slice positions", True, len(missing), sentence)]


def _shorter(series_uid: str, name: str, found: dict[VolumeKey, list[Slice]]) -> list[Gap]:
    """Volumes of one plane that end earlier than the others, as an aborted time point does."""
    planes: dict[str | None, list[tuple[VolumeKey, int]]] = {}
    for key, members in found.items():
        planes.setdefault(key.orientation, []).append((key, len(members)))
    gaps = []
    for volumes in planes.values():
        sizes = Counter(size for _, size in volumes)
        usual, often = sizes.most_common(1)[0]
        if often * 2 <= len(volumes):
            continue
        for key, size in volumes:
            if size < usual:
                sentence = f"{name}, {key}: {size} slices, and {usual} in the other volumes."
                gaps.append(Gap(series_uid, "slice positions", False, usual - size, sentence))
    return gaps


def stated_gaps(series_uid: str, name: str, datasets: Sequence[Dataset]) -> list[Gap]:
    """Fewer instances than the header states: Number of Series Related Instances (0020,1209), Images in
    Acquisition (0020,1002) of original images, In-concatenation Total Number (0020,9163).
    """
    gaps = []
    related = _stated(datasets, "NumberOfSeriesRelatedInstances")
    if related > len(datasets):
        gaps.append(_fewer(series_uid, name, len(datasets), "instances", related, "the series", True))
    for concatenation, parts in _by(datasets, "ConcatenationUID").items():
        total = _stated(parts, "InConcatenationTotalNumber")
        if concatenation and total > len(parts):
            gaps.append(_fewer(series_uid, name, len(parts), "parts", total, "the concatenation", True))
    if related:
        return gaps
    original = [ds for ds in datasets if _first(ds.get("ImageType")) == "ORIGINAL"]
    for acquisition, images in _by(original, "AcquisitionNumber").items():
        total = _stated(images, "ImagesInAcquisition")
        if total > len(images):
            where = f"acquisition {acquisition}" if acquisition else "the acquisition"
            # an acquisition may be spread over several series, and vendors count in their own ways
            gaps.append(_fewer(series_uid, name, len(images), "images", total, where, False))
    return gaps


def _fewer(series_uid: str, name: str, there: int, parts: str, total: int, of: str, certain: bool) -> Gap:
    sentence = f"{name}: {there} {parts} of the {total} that the header says {of} has."
    return Gap(series_uid, "stated count", certain, total - there, sentence)


def _stated(datasets: Iterable[Dataset], keyword: str) -> int:
    """The largest that is stated; 0 where none is."""
    return int(max((number(ds.get(keyword)) or 0 for ds in datasets), default=0))


def _by(datasets: Iterable[Dataset], keyword: str) -> dict[str, list[Dataset]]:
    found: dict[str, list[Dataset]] = {}
    for ds in datasets:
        value = ds.get(keyword)
        found.setdefault("" if value is None else str(value), []).append(ds)
    return found


def _first(raw: object) -> str:
    return str(raw[0]) if isinstance(raw, Sequence) and not isinstance(raw, str) and raw else str(raw or "")


def _doubt(series_uid: str, sentence: str) -> Gap:
    return Gap(series_uid, "instance numbers", False, 0, sentence)


def _tail(error: Exception) -> str:
    return str(error).partition("): ")[2] or str(error)


def _instances(count: int) -> str:
    return "1 instance is" if count == 1 else f"{count} instances are"


def _listed(found: Sequence[object]) -> str:
    named = ", ".join(str(one) for one in found[:MOST_NAMED])
    return f"{named} and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else named
