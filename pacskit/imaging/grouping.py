"""From data sets to the slices of each volume, before any pixel is decoded.

Slices of one plane (orientation, matrix, pixel spacing) form a group; where positions repeat in a group it is
divided by the parts of VolumeKey, in their order, and by order of acquisition as a last resort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from pacskit.errors import GeometryError
from pacskit.imaging.geometry import SAME_POSITION, SliceGeometry, slice_geometry
from pacskit.imaging.keys import CONTENT, FORCED, TIMES, VolumeKey, key_parts, order_of
from pacskit.imaging.mosaic import Mosaic, mosaic
from pacskit.imaging.pixels import not_an_image, number_of_frames


@dataclass(slots=True, eq=False)
class Slice:
    """One slice: a frame (0-based) of a data set, or a tile of a mosaic; `place` numbers equal positions."""

    ds: Dataset
    frame: int
    geometry: SliceGeometry
    parts: dict[str, Any]
    order: tuple[float, ...]
    mosaic: Mosaic | None = None
    tile: int = 0
    place: int = 0

    @property
    def uid(self) -> str:
        return str(self.ds.get("SOPInstanceUID") or "")


def grouped(datasets: Sequence[Dataset]) -> dict[VolumeKey, list[Slice]]:
    """The slices of each volume, sorted along the normal. Raises GeometryError with a sentence."""
    planes: list[list[Slice]] = []
    for one in _slices(datasets):
        for plane in planes:
            if plane[0].geometry.same_plane_as(one.geometry) and _frame_of(plane[0]) == _frame_of(one):
                plane.append(one)
                break
        else:
            planes.append([one])
    names = _plane_names(planes)
    found: dict[VolumeKey, list[Slice]] = {}
    for plane, name in zip(planes, names, strict=True):
        _number_places(plane)
        for key, members in _divide(plane).items():
            found[replace(key, orientation=name)] = sorted(members, key=lambda one: one.place)
    return dict(sorted(found.items(), key=lambda item: _sortable(item[0])))


def _slices(datasets: Sequence[Dataset]) -> list[Slice]:
    if not datasets:
        raise GeometryError("There are no images here.")
    found: list[Slice] = []
    failures: list[str] = []
    seen: set[str] = set()
    for ds in datasets:
        uid = str(ds.get("SOPInstanceUID") or "")
        if uid and uid in seen:
            continue
        seen.add(uid)
        try:
            found.extend(_of_one(ds))
        except GeometryError as error:
            failures.append(str(error))
    if failures:
        total = len(failures) + len({id(one.ds) for one in found})
        which = "" if total == 1 else f" ({len(failures)} of {total} images of this series; the first)"
        raise GeometryError(f"No volume: {failures[0]}{which}")
    return found


def _of_one(ds: Dataset) -> list[Slice]:
    frames = number_of_frames(ds)
    if not frames:
        raise GeometryError(not_an_image(ds) or "This object has no Rows and Columns.")
    tiles = mosaic(ds)
    if tiles is not None:
        parts, order = key_parts(ds), order_of(ds)
        return [Slice(ds, 0, one, parts, order, tiles, k) for k, one in enumerate(tiles.slices)]
    placed = any(word in ds for word in ("PerFrameFunctionalGroupsSequence", "GridFrameOffsetVector"))
    if frames > 1 and not placed:
        raise GeometryError(_without_places(ds, frames))
    return [
        Slice(ds, index, slice_geometry(ds, index), key_parts(ds, index), order_of(ds, index))
        for index in range(frames)
    ]


def _without_places(ds: Dataset, frames: int) -> str:
    cine = any(
        word in ds for word in ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
    )
    if cine or ds.get("Modality") in ("US", "XA", "RF", "ES", "IVUS"):
        return f"This is a cine of {frames} frames, one after the other in time, not a stack of slices."
    return f"This is an image of {frames} frames, and nothing in it says where each lies in the patient."


def _frame_of(one: Slice) -> str:
    return str(one.ds.get("FrameOfReferenceUID") or "")


def _plane_names(planes: list[list[Slice]]) -> list[str | None]:
    """A name for each plane, told apart by matrix and then a number; None where there is one only."""
    if len(planes) == 1:
        return [None]
    names = [plane[0].geometry.orientation_name() for plane in planes]
    if len(set(names)) < len(names):
        shapes = [plane[0].geometry for plane in planes]
        names = [f"{n} {g.rows}x{g.columns}" for n, g in zip(names, shapes, strict=True)]
    doubled = {name for name in names if names.count(name) > 1}
    counts: dict[str, int] = {}
    result: list[str | None] = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        result.append(f"{name} #{counts[name]}" if name in doubled else name)
    return result


def _number_places(plane: list[Slice]) -> None:
    """Gives slices nearer than SAME_POSITION along the normal the same `place`, counted upwards."""
    normal = plane[0].geometry.normal
    plane.sort(key=lambda one: (float(normal @ one.geometry.position), one.order))
    place, before = -1, float("-inf")
    for one in plane:
        distance = float(normal @ one.geometry.position)
        if distance - before > SAME_POSITION:
            place += 1
        one.place, before = place, distance


def _divide(plane: list[Slice]) -> dict[VolumeKey, list[Slice]]:
    groups: dict[VolumeKey, list[Slice]] = {VolumeKey(): plane}
    for part in (*FORCED, *CONTENT, *TIMES):
        for key, members in list(groups.items()):
            if part not in FORCED and not _repeats(members):
                continue
            split = _split(members, lambda one, part=part: one.parts[part])  # type: ignore[misc]
            if len(split) > 1 and _sensible(part, split, members):
                del groups[key]
                groups.update({replace(key, **{part: found}): each for found, each in split.items()})
    for key, members in list(groups.items()):
        if _repeats(members):
            del groups[key]
            groups.update(_by_order(key, members))
    return groups


def _split(members: list[Slice], by: Callable[[Slice], Any]) -> dict[Any, list[Slice]]:
    found: dict[Any, list[Slice]] = {}
    for one in members:
        found.setdefault(by(one), []).append(one)
    return found


def _repeats(members: list[Slice]) -> bool:
    return len({one.place for one in members}) < len(members)


def _sensible(part: str, split: dict[Any, list[Slice]], members: list[Slice]) -> bool:
    if part in FORCED:
        return True
    places = {one.place for one in members}
    covered = [{one.place for one in each} for each in split.values()]
    if part in CONTENT:
        # Some position must occur with two values, or the part has nothing to do with the repetition.
        return sum(len(each) for each in covered) > len(places)
    # Times differ by slice as well: most values (an aborted scan has a last one cut short) must cover all.
    return sum(each == places for each in covered) * 2 >= len(covered)


def _by_order(key: VolumeKey, members: list[Slice]) -> dict[VolumeKey, list[Slice]]:
    at_place = _split(members, lambda one: one.place)
    counts = {len(each) for each in at_place.values()}
    if len(counts) > 1:
        twice = [each[0] for each in at_place.values() if len(each) > min(counts)]
        where = ", ".join(f"{one.geometry.distance:.1f}" for one in twice[:5])
        raise GeometryError(
            f"No volume ({key}): some positions occur more often than others ({min(counts)} to {max(counts)} "
            f"times; more at {where} mm along the normal{' ...' if len(twice) > 5 else ''}), and nothing in "
            "the header tells the images apart."
        )
    found: dict[VolumeKey, list[Slice]] = {}
    for each in at_place.values():
        for number, one in enumerate(sorted(each, key=lambda one: one.order), start=1):
            found.setdefault(replace(key, repeat=number), []).append(one)
    return found


def _sortable(key: VolumeKey) -> tuple[Any, ...]:
    parts = (key.orientation, *(getattr(key, part) for part in (*FORCED, *CONTENT, *TIMES)), key.repeat)
    return tuple((part is not None, part if part is not None else 0) for part in parts)
