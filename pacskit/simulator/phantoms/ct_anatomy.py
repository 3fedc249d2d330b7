"""A thorax in Hounsfield units: contrast-enhanced, about 100 mm from the heart to above the aortic arch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pacskit.simulator.phantoms.shapes import Image, SmoothNoise, ellipsoid, grid, paint, rotated

FIELD_OF_VIEW = 380.0
"""mm."""

BLOOD = 190.0
"""HU of blood with contrast medium."""


def thorax(slices: int, size: int, spacing_z: float, seed: int) -> Iterator[NDArray[np.int16]]:
    """Slices (size, size) of HU from feet to head, centred on the carina."""
    rng = np.random.default_rng(seed)
    spacing = FIELD_OF_VIEW / size
    depth = slices * spacing_z / 2
    x, y = grid(size, spacing)
    large = SmoothNoise(rng, size, spacing, depth, 35)
    fine = SmoothNoise(rng, size, spacing, depth, 5)
    vessels = _vessels(rng)
    for index in range(slices):
        z = (index - (slices - 1) / 2) * spacing_z
        image = _slice(x, y, z, large.at(z), fine.at(z), vessels, spacing)
        image += rng.standard_normal(image.shape, np.float32) * 11
        yield np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def _slice(
    x: Image, y: Image, z: float, wobble: Image, grain: Image, vessels: NDArray[np.float64], spacing: float
) -> Image:
    image = np.full(wobble.shape, -1000, np.float32)
    table = np.abs(y - 128 + x * x / 900) - 1.5
    paint(image, -250, np.maximum(table, np.abs(x) - 175).astype(np.float32), 1.5)
    body = _oval(x, y, 166 - 0.0006 * z * z, 113) + wobble * 1.2
    paint(image, 15, body, 1.2)
    paint(image, -102 + grain * 6, body + 2.2, 1.2)
    muscle = _oval(x, y - 3, 150, 99) + wobble * 2
    paint(image, 52 + grain * 9, muscle)
    # Fat between the layers of the chest wall, the scapulae in it, then the cage.
    paint(image, -90, np.abs(_oval(x, y - 1, 140, 92) + wobble * 2.5) - 1.3, 1.5)
    for side in (-1, 1):
        u, v = rotated(x, y, side * 108, 58, -side * 52)
        blade = ellipsoid((u, 34), (v - 0.004 * u * u, 3.5)) + wobble * 0.4
        _bone(image, blade, 2.2, grain)
        u, v = rotated(x, y, side * 24, 86, side * 10)
        paint(image, 55 + grain * 14, ellipsoid((u, 22), (v, 12)))
    # The cage narrows towards the apex.
    narrow = max(0.0, z) * 0.16 + max(0.0, z - 30) * 0.3
    cage = _oval(x, y, 133 - narrow, 84 - narrow * 0.6) + wobble * 1.2
    _ribs(image, x, y, z, cage, grain)
    lung = np.maximum(cage + 5, -_mediastinum(x, y, z, wobble))
    paint(image, -105 + grain * 8, cage + 3.5)
    air = -868 + 0.55 * y + grain * 16 + wobble * 8
    paint(image, air, lung, 1.4)
    _tree(image, x, y, z, vessels, lung, spacing)
    _organs(image, x, y, z, wobble, grain)
    _spine(image, x, y, z, grain)
    u, v = x, y + 88 - narrow * 0.6
    _bone(image, ellipsoid((u, 19), (v, 6.5)) + wobble * 0.5, 1.8, grain)
    return image


def _oval(x: Image, y: Image, a: float, b: float) -> Image:
    """A rounded rectangle's outline, flatter than an ellipse, as trunks are."""
    radius = ((np.abs(x) / a) ** 2.5 + (np.abs(y) / b) ** 2.5) ** 0.4
    return np.asarray((radius - 1) * b, np.float32)


def _mediastinum(x: Image, y: Image, z: float, wobble: Image) -> Image:
    """Distance to what lies between the lungs: spine, vessels, and the heart below the carina."""
    column = ellipsoid((x, 27), (y - 78, 36))
    middle = ellipsoid((x - 3, 31 if z > -5 else 38), (y + 15, 68)) + wobble * 1.5
    heart = ellipsoid((x - 24, 66), (y + 24, 55), (z + 46, 58)) + wobble * 1.2
    return np.minimum(np.minimum(column, middle), heart)


def _bone(image: Image, distance: Image, cortex: float, grain: Image) -> None:
    paint(image, 720 + grain * 40, distance)
    paint(image, 210 + grain * 70, distance + cortex)


def _ribs(image: Image, x: Image, y: Image, z: float, cage: Image, grain: Image) -> None:
    """Ribs slope downwards to the front, so an axial slice cuts several of them obliquely."""
    along = (z - 0.42 * y + 0.05 * np.abs(x)) / 27
    offset = (along - np.rint(along)) * 27 * 0.92
    rib = ellipsoid((cage - 1, 4.6), (offset, 7.5))
    # Cartilage in front, where the rib does not reach the sternum.
    front = (y < -66) & (np.abs(x) < 62)
    paint(image, 110 + grain * 10, np.where(front, rib, 9), 1.2)
    _bone(image, np.where(front, 9, rib).astype(np.float32), 1.7, grain)


def _spine(image: Image, x: Image, y: Image, z: float, grain: Image) -> None:
    level = abs(((z + 6) / 26 - round((z + 6) / 26)) * 26)
    for side in (-1, 1):
        u, v = rotated(x, y, side * 25, 84, side * 24)
        if level < 8:
            _bone(image, ellipsoid((u, 20), (v, 4.8)), 1.8, grain)
        u, v = rotated(x, y, side * 11, 93, side * 38)
        _bone(image, ellipsoid((u, 13), (v, 4)), 1.6, grain)
    _bone(image, ellipsoid((x, 3.6), (y - 97, 10)), 1.4, grain)
    body = ellipsoid((x, 17.5), (y - 60, 14.5))
    if level > 10.5:
        paint(image, 85 + grain * 8, body)
    else:
        _bone(image, body, 1.6 if level < 9 else 5, grain)
    paint(image, -30, ellipsoid((x, 9.5), (y - 83, 8.5)))
    paint(image, 38 + grain * 4, ellipsoid((x, 5.2), (y - 83, 4.4)))


def _organs(image: Image, x: Image, y: Image, z: float, wobble: Image, grain: Image) -> None:
    tissue = 48 + grain * 5
    heart = ellipsoid((x - 24, 60), (y + 25, 49), (z + 46, 52)) + wobble * 1.5
    paint(image, tissue + 40, heart, 1.5)
    u, v = rotated(x, y, 46, -22, 38)
    chambers = (
        (u, v, 34.0, 19.0, -50.0),
        (*rotated(x, y, 4, -48, 30), 33.0, 15.0, -50.0),
        (*rotated(x, y, -20, -20, 70), 24.0, 19.0, -46.0),
        (*rotated(x, y, 12, 6, 5), 29.0, 15.0, -32.0),
    )
    for along, across, a, b, centre in chambers:
        chamber = ellipsoid((along, a), (across, b), (z - centre, 36)) + wobble * 1.2
        paint(image, BLOOD + grain * 5, np.maximum(chamber, heart + 3), 1.8)
    tubes: list[tuple[float, float, float, float]] = [(31, 44, 12, BLOOD), (6, 38, 6, 40)]
    if z < 38:
        tubes += [(-10, -30 + max(0.0, z) * 0.5, 16.5, BLOOD)] if z > -25 else []
    if z > -18:
        tubes += [(-33, -18, 9.5, BLOOD + 60)]
    if z > 44:
        tubes += [(18, -8, 5.5, BLOOD), (6, -20, 5, BLOOD), (-12, -22, 6, BLOOD)]
    for cx, cy, radius, value in tubes:
        if (cx, radius) == (31, 12) and z > 40:
            continue
        tube = ellipsoid((x - cx, radius), (y - cy, radius)) + wobble * 0.5
        paint(image, tissue, tube - 1)
        paint(image, value + grain * 4, tube)
    if 27 < z < 44:  # the arch: from the ascending to the descending aorta
        u, v = rotated(x, y, 13, 12, 59)
        paint(image, BLOOD + grain * 4, ellipsoid((u, 44), (v, 13.5), (z - 35, 11)), 1.5)
    if -24 < z < 18:  # pulmonary trunk and its two branches
        u, v = rotated(x, y, 22, -28, 60)
        paint(image, BLOOD + 30, ellipsoid((u, 26), (v, 13), (z + 3, 20)), 1.5)
        u, v = rotated(x, y, -8, -6, -12)
        paint(image, BLOOD + 30, ellipsoid((u, 42), (v, 9), (z + 6, 9)), 1.5)
    paint(image, tissue, np.abs(ellipsoid((x - 6, 5), (y - 38, 5))) - 1)
    spread = max(0.0, -z) * 0.85
    centres = ((0.0, 9.0),) if z > 0 else ((-4 - spread, 6.5), (4 + spread, 6.0))
    if z > -42:
        for cx, radius in centres:
            airway = ellipsoid((x - cx, radius * (1 + 0.012 * spread)), (y - 17 - 0.1 * spread, radius))
            paint(image, 30, airway - 1.6)
            paint(image, -995, airway)


def _vessels(rng: np.random.Generator) -> NDArray[np.float64]:
    """Lung vessels as spheres along branching paths from the hila: rows of x, y, z, radius in mm."""
    rows: list[NDArray[np.float64]] = []
    for side in (-1, 1):
        buds = [
            (np.array([side * 38.0, 8, -8]), _turned(rng, np.array([side, 0, 0]), 1.3), 4.6)
            for _ in range(26)
        ]
        while buds:
            start, way, radius = buds.pop()
            length = 5 + radius * rng.uniform(2, 5)
            steps = np.arange(0, length, max(0.9, radius * 0.8))
            taper = np.linspace(radius, radius * 0.82, len(steps))
            rows.append(np.column_stack((start + steps[:, None] * way, taper)))
            if radius > 0.75:
                for share, angle in ((0.82, 0.55), (0.68, 1.0)):
                    buds.append((start + length * way, _turned(rng, way, angle), radius * share))
    return np.concatenate(rows)


def _turned(rng: np.random.Generator, way: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    turned = way + rng.standard_normal(3) * angle * 0.6
    return np.asarray(turned / np.linalg.norm(turned))


def _tree(
    image: Image, x: Image, y: Image, z: float, vessels: NDArray[np.float64], lung: Image, spacing: float
) -> None:
    size = image.shape[0]
    near = vessels[np.abs(vessels[:, 2] - z) < vessels[:, 3] + 0.6]
    for cx, cy, cz, radius in near[np.argsort(-near[:, 3])]:
        reach = radius + 1
        low = [max(0, int((c - reach) / spacing + size / 2)) for c in (cx, cy)]
        high = [min(size, int((c + reach) / spacing + size / 2) + 2) for c in (cx, cy)]
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        part = image[rows, columns]
        if not part.size:
            continue
        sphere = np.sqrt((x[:, columns] - cx) ** 2 + (y[rows] - cy) ** 2 + (cz - z) ** 2) - radius
        inside = np.minimum(np.maximum(0.5 - np.maximum(sphere, lung[rows, columns] + 2), 0), 1)
        np.maximum(part, part + inside * (110 - part), out=part)
