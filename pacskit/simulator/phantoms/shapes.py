"""Analytic shapes on one slice: ellipsoids by signed distance, smooth noise, soft painting. All in mm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


def grid(size: int, spacing: float) -> tuple[Image, Image]:
    """x (1, size) and y (size, 1) of the pixels' centres, zero in the middle; LPS directions."""
    line = ((np.arange(size) - (size - 1) / 2) * spacing).astype(np.float32)
    return line[None, :], line[:, None]


def ellipsoid(*offsets_and_radii: tuple[Any, float]) -> Image:
    """Distance, nearly (mm, negative inside), to an ellipsoid given as (offset from centre, radius) pairs."""
    total: Any = sum((np.asarray(offset, np.float32) / radius) ** 2 for offset, radius in offsets_and_radii)
    smallest = min(radius for _, radius in offsets_and_radii)
    return np.asarray((np.sqrt(total) - 1) * smallest, np.float32)


def rotated(x: Image, y: Image, cx: float, cy: float, degrees: float) -> tuple[Image, Image]:
    """Coordinates about (cx, cy) along axes turned by `degrees`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ((x - cx) * cos + (y - cy) * sin).astype(np.float32), ((y - cy) * cos - (x - cx) * sin).astype(
        np.float32
    )


def paint(image: Image, value: Any, distance: NDArray[np.floating[Any]], edge: float = 1.0) -> None:
    """Blend `value` into `image` where `distance` is negative; `edge` is the width of the border in mm."""
    near = distance < edge / 2
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not rows.size:
        return
    # Most shapes are small: only their box is worked on.
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    cover = np.clip(0.5 - distance[box] * np.float32(1 / edge), 0, 1)
    part = image[box]
    part += cover * ((value[box] if np.ndim(value) else np.float32(value)) - part)


class SmoothNoise:
    """Band-limited noise in 3D: a random lattice of `cell` mm under a cubic B-spline; variance about one."""

    def __init__(
        self, rng: np.random.Generator, size: int, spacing: float, depth: float, cell: float
    ) -> None:
        extent = size * spacing
        across, along = int(extent / cell) + 4, int(2 * depth / cell) + 5
        self._lattice = rng.standard_normal((along, across, across), np.float32) * 3.1
        self._across = _spline(np.arange(size) * spacing / cell, across)
        self._depth, self._cell = depth, cell

    def at(self, z: float) -> Image:
        """The slice at `z` mm, within plus or minus `depth`: (size, size)."""
        along = _spline(np.array([(z + self._depth) / self._cell]), len(self._lattice))[0]
        plane = np.tensordot(along, self._lattice, axes=(0, 0))
        return np.asarray(self._across @ plane @ self._across.T, np.float32)


def _spline(positions: NDArray[Any], cells: int) -> Image:
    away = np.abs(positions[:, None] + 1 - np.arange(cells)[None, :])
    inner, outer = 2 / 3 - away**2 + away**3 / 2, np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, inner, outer).astype(np.float32)
