"""Volumes with exact geometry from the images of a series.

`affine @ [k, i, j, 1]` is the LPS position in mm of the centre of `array[k, i, j]` (slice, row, column).
Tolerances are those of geometry.py: a slice may lie 5 % of the spacing, or 0.1 mm if that is more, from
where even spacing puts it (never beyond 25 %), and `deviation` says how far the worst one does. A stack whose
slices shift sideways (gantry tilt) is a volume with a sheared affine: positions stay exact, nothing is
resampled, and `tilt` says by how many degrees. Missing slices and uneven spacing are refused, not filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacskit.errors import GeometryError
from pacskit.imaging.geometry import (
    TILT_TOLERANCE,
    SliceGeometry,
    spacing_tolerance,
)
from pacskit.imaging.grouping import Slice, grouped
from pacskit.imaging.keys import VolumeKey
from pacskit.imaging.pixels import frame

MOST_KEYS_NAMED = 8
"""How many keys the sentence of `volume` lists."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """`array` is (slices, rows, columns), colour (slices, rows, columns, 3); values as `pixels.frame`.

    `affine` is 4x4 float64 from index (slice, row, column, 1) to LPS mm. `frames` names the SOP Instance UID
    and frame (or tile, 0-based) of each slice in order; `uids` the instances alone. `deviation` (mm) and
    `tilt` (degrees) see the module.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    key: VolumeKey
    frames: tuple[tuple[str, int], ...]
    deviation: float
    tilt: float

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs in order of slices, each once."""
        return tuple(dict.fromkeys(uid for uid, _ in self.frames))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm from one slice, row, column to the next (along the slice direction, not the normal)."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    def __repr__(self) -> str:
        size = " x ".join(str(part) for part in self.array.shape)
        spacing = " x ".join(f"{part:.4g}" for part in self.spacing)
        return f"<Volume {size} {self.array.dtype}, {spacing} mm, {self.key}>"


def volumes(datasets: Sequence[Dataset]) -> dict[VolumeKey, Volume]:
    """All volumes of a series, in the order of their keys.

    Raises GeometryError with the reason where a part of the series forms none, PixelError where a frame
    cannot be decoded.
    """
    planned = [(key, members, _place(key, members)) for key, members in grouped(datasets).items()]
    cache: dict[tuple[int, int], NDArray[Any]] = {}
    return {key: _read(key, members, placed, cache) for key, members, placed in planned}


def volume(datasets: Sequence[Dataset]) -> Volume:
    """The one volume of a series.

    Raises GeometryError where there are several (naming their keys) or none (saying why), PixelError where a
    frame cannot be decoded.
    """
    found = grouped(datasets)
    if len(found) > 1:
        keys = list(found)
        named = "; ".join(str(key) for key in keys[:MOST_KEYS_NAMED])
        more = f"; and {len(keys) - MOST_KEYS_NAMED} more" if len(keys) > MOST_KEYS_NAMED else ""
        raise GeometryError(f"This series holds {len(keys)} volumes ({named}{more}): take one of volumes().")
    ((key, members),) = found.items()
    return _read(key, members, _place(key, members), {})


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    affine: NDArray[np.float64]
    deviation: float
    tilt: float


def _place(key: VolumeKey, members: list[Slice]) -> _Placed:
    first = members[0].geometry
    positions = np.array([one.geometry.position for one in members])
    step = _step(first, positions)
    spacing = float(np.linalg.norm(step))
    if len(members) > 1:
        even = positions[0] + np.arange(len(members))[:, None] * step
        deviation = float(np.linalg.norm(positions - even, axis=1).max())
        if deviation > spacing_tolerance(spacing):
            raise GeometryError(f"No volume ({key}): {_uneven(first, positions, deviation)}")
    else:
        deviation = 0.0
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.along_column * first.spacing[0]
    affine[:3, 2] = first.along_row * first.spacing[1]
    affine[:3, 3] = positions[0]
    tilt = float(np.degrees(np.arccos(np.clip(abs(step @ first.normal) / spacing, 0.0, 1.0))))
    return _Placed(affine, deviation, tilt if tilt > TILT_TOLERANCE else 0.0)


def _step(first: SliceGeometry, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """From one slice to the next; for a single slice along the normal, as thick as it says (else 1 mm)."""
    if len(positions) > 1:
        return np.asarray((positions[-1] - positions[0]) / (len(positions) - 1), dtype=np.float64)
    return first.normal * (first.thickness or 1.0)


def _uneven(first: SliceGeometry, positions: NDArray[np.float64], deviation: float) -> str:
    distances = positions @ first.normal
    steps = np.diff(distances)
    usual = float(np.median(steps))
    tolerance = spacing_tolerance(usual)
    counts = np.rint(steps / usual).astype(int)
    if np.all(np.abs(steps - counts * usual) <= tolerance * np.maximum(counts, 1)) and counts.max() > 1:
        missing = [
            float(distances[index] + usual * number)
            for index, count in enumerate(counts)
            for number in range(1, count)
        ]
        named = ", ".join(f"{part:.1f}" for part in missing[:5])
        return (
            f"{len(missing)} slice(s) missing at {named}{' ...' if len(missing) > 5 else ''} mm along the "
            f"normal (slice spacing {usual:.4g} mm)."
        )
    if steps.max() - steps.min() <= tolerance:
        return f"the slices do not lie on one line: up to {deviation:.3g} mm beside it."
    return f"slice spacing is uneven, from {steps.min():.4g} to {steps.max():.4g} mm."


def _read(
    key: VolumeKey, members: list[Slice], placed: _Placed, cache: dict[tuple[int, int], NDArray[Any]]
) -> Volume:
    slices = [_pixels(one, cache) for one in members]
    shapes = {each.shape for each in slices}
    if len(shapes) > 1:
        raise GeometryError(
            f"No volume ({key}): grey and colour images, or sizes, are mixed: {sorted(shapes)}."
        )
    kinds = {each.dtype for each in slices}
    dtype = np.dtype(np.float32) if any(kind.kind == "f" for kind in kinds) else np.result_type(*kinds)
    array = np.empty((len(slices), *slices[0].shape), dtype)
    for index, each in enumerate(slices):
        array[index] = each
    frames = tuple((one.uid, one.tile if one.mosaic else one.frame) for one in members)
    return Volume(array, placed.affine, key, frames, placed.deviation, placed.tilt)


def _pixels(one: Slice, cache: dict[tuple[int, int], NDArray[Any]]) -> NDArray[Any]:
    if one.mosaic is None:
        return frame(one.ds, one.frame)
    name = (id(one.ds), one.frame)
    if name not in cache:
        cache.clear()  # the tiles of one picture are asked for in a row: one decoded picture is enough
        cache[name] = frame(one.ds, one.frame)
    return one.mosaic.tile(cache[name], one.tile)
