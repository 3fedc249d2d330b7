"""A head as T1-weighted MR shows it: bright scalp, dark skull, folded grey over white matter, dark CSF."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pacskit.simulator.phantoms.shapes import Image, SmoothNoise, ellipsoid, grid, paint, rotated

FIELD_OF_VIEW = 230.0
"""mm."""

FAT, MUSCLE, WHITE, GREY, CSF, SKULL = 980.0, 480.0, 760.0, 545.0, 190.0, 70.0


def brain(slices: int, size: int, spacing_z: float, seed: int) -> Iterator[NDArray[np.uint16]]:
    """Slices (size, size) of signal from the skull base to the vertex."""
    rng = np.random.default_rng(seed)
    spacing = FIELD_OF_VIEW / size
    depth = slices * spacing_z / 2
    x, y = grid(size, spacing)
    fold = SmoothNoise(rng, size, spacing, depth, 7)
    wide = SmoothNoise(rng, size, spacing, depth, 30)
    for index in range(slices):
        z = (index - (slices - 1) / 2) * spacing_z
        image = _slice(x, y, z, fold.at(z), wide.at(z), spacing)
        # Receive coils see the near side better; the noise of a magnitude image is Rician.
        image *= 1 + 0.10 * np.cos(x / 60 + 0.4) * np.cos(y / 75) + 0.0011 * y
        real, imaginary = rng.standard_normal((2, *image.shape), np.float32) * 17
        yield np.hypot(image + real, imaginary).astype(np.uint16)


def _slice(x: Image, y: Image, z: float, fold: Image, wide: Image, spacing: float) -> Image:
    image = np.zeros(fold.shape, np.float32)
    head = ellipsoid((x, 79), (y - 2, 100), (z + 12, 99)) + wide * 0.6
    paint(image, 430, head)
    paint(image, FAT + wide * 30, head + 1.6)
    paint(image, MUSCLE + wide * 60, head + 5 + 1.5 * wide)
    skull = ellipsoid((x, 72.5), (y - 2, 93), (z + 10, 91)) + wide * 0.4
    paint(image, SKULL, skull)
    paint(image, 420, np.abs(skull + 3.4) - 0.9 - wide * 0.3, 1.2)
    inner = ellipsoid((x, 66), (y - 2, 86), (z + 8, 83)) + wide * 0.5
    paint(image, CSF, inner)
    if z < -30:
        # Marrow of the clivus and the petrous bones stands in the middle of the base.
        paint(image, 330 + wide * 70, np.maximum(inner + 3, y - 14), 2)
        _base(image, x, y, z, head, wide)
    _cerebrum(image, x, y, z, inner, fold, wide, spacing)
    _deep(image, x, y, z, wide)
    if z < -18:
        _hindbrain(image, x, y, z, fold, wide)
    return image


def _cerebrum(
    image: Image, x: Image, y: Image, z: float, inner: Image, fold: Image, wide: Image, spacing: float
) -> None:
    surface = inner + 2.2
    if z < -22:  # temporal lobes and the frontal base only
        lobes = [ellipsoid((x - side * 40, 25), (y + 12, 42), (z + 22, 34)) for side in (-1, 1)]
        front = ellipsoid((x, 42), (y + 42, 36), (z + 12, 30))
        surface = np.maximum(surface, np.minimum(np.minimum(*lobes), front) + wide)
    paint(image, GREY, surface, 1.4)
    # The folds are where smooth noise is zero; divided by its gradient it is a distance in mm.
    down, across = np.gradient(fold, spacing)
    away = np.abs(fold) / np.clip(np.hypot(down, across), 0.06, None)
    inward = -surface
    cortex = np.minimum(inward - 3.2, np.maximum(away - 3.6, inward - 25 - 3 * wide))
    fissure = np.abs(x + wide * 0.8)
    if z > 22:
        cortex = np.minimum(cortex, fissure - 4.2)
    else:
        cortex = np.minimum(cortex, np.maximum(fissure - 4.2, 46 - np.abs(y)))
    paint(image, WHITE + wide * 10, -cortex, 1.4)
    sulcus = np.maximum(away - 0.75 - 0.02 * (20 - inward), inward - 20 - 3 * wide)
    gap = np.maximum(fissure - 1.1, np.float32(-1) if z > 22 else 50 - np.abs(y))
    # The Sylvian fissure between temporal and frontal lobe.
    if abs(z + 4) < 22:
        for side in (-1, 1):
            u, v = rotated(x, y, side * 49, -14, side * 28)
            sylvian = ellipsoid((u, 15), (v + wide * 1.5, 2.2), (z + 4, 22))
            paint(image, GREY, np.maximum(sylvian - 3.2, surface), 1.2)
            gap = np.minimum(gap, sylvian)
    paint(image, CSF, np.maximum(np.minimum(sulcus, gap), inner), 1.0)


def _deep(image: Image, x: Image, y: Image, z: float, wide: Image) -> None:
    """Basal ganglia, thalamus and ventricles."""
    for side in (-1, 1):
        u, v = rotated(x, y, side * 27, -6, side * 12)
        paint(image, GREY + 45, ellipsoid((u, 7.5), (v, 19), (z - 4, 17)) + wide * 0.5, 1.5)
        u, v = rotated(x, y, side * 11.5, 12, side * -20)
        paint(image, GREY + 75, ellipsoid((u, 9.5), (v, 15), (z - 6, 13)), 1.8)
        u, v = rotated(x, y, side * 14.5, -24, side * 18)
        paint(image, GREY + 25, ellipsoid((u, 6), (v, 11), (z - 12, 16)), 1.5)
        u, v = rotated(x, y, side * 9, -24, side * 24)
        paint(image, CSF, ellipsoid((u, 4.8), (v, 16), (z - 14, 15)) + wide * 0.3, 1.2)
        bend = 0.006 * (y - 12) ** 2
        body = ellipsoid((x - side * (8 + bend * 0.3), 5.5), (y - 4, 36), (z - 25, 10))
        paint(image, CSF, body, 1.2)
        u, v = rotated(x, y, side * 25, 36, side * -22)
        paint(image, CSF, ellipsoid((u, 5.5), (v, 16), (z - 10, 17)) + wide * 0.3, 1.2)
        paint(image, 620, ellipsoid((u + side, 2.2), (v + 4, 6), (z - 8, 9)), 1.2)
    paint(image, CSF, ellipsoid((x, 2.3), (y - 8, 15), (z, 14)), 1.0)


def _hindbrain(image: Image, x: Image, y: Image, z: float, fold: Image, wide: Image) -> None:
    """Cerebellum with its leaves, the fourth ventricle and the brain stem in its cistern."""
    for side in (-1, 1):
        lobe = ellipsoid((x - side * 23, 31), (y - 55, 29), (z + 46, 27)) + wide
        paint(image, CSF, lobe - 2)
        radius = np.hypot(x - side * 15, y - 38) + fold * 0.8
        leaves = GREY + 25 - 190 * np.clip(np.cos(radius * 1.5) - 0.45, 0, 1)
        paint(image, leaves, lobe, 1.2)
        paint(image, WHITE - 20, ellipsoid((x - side * 19, 17), (y - 48, 13), (z + 46, 18)) + fold * 2.5, 1.5)
    paint(image, GREY, ellipsoid((x, 6), (y - 56, 20), (z + 46, 24)), 1.5)
    stem = ellipsoid((x, 16 if z > -55 else 11), (y - 20, 15 if z > -55 else 10))
    paint(image, CSF, stem - 4)
    paint(image, WHITE - 50 + wide * 10, stem, 1.3)
    paint(image, CSF, ellipsoid((x, 7), (y - 36.5, 4), (z + 46, 15)), 1.0)


def _base(image: Image, x: Image, y: Image, z: float, head: Image, wide: Image) -> None:
    """Below the brain: eyes, nose's air, the petrous bones."""
    face = np.maximum(head + 8, y + 38)
    paint(image, FAT - 150 + wide * 60, np.maximum(face, np.abs(x) - 52), 3)
    paint(image, 40, ellipsoid((x, 13), (y + 66, 22), (z + 55, 24)) + wide * 1.5, 1.5)
    paint(image, 420, np.maximum(np.abs(x + wide) - 1, ellipsoid((x, 13), (y + 66, 22), (z + 55, 24))), 1.0)
    for side in (-1, 1):
        eye = ellipsoid((x - side * 32, 12), (y + 72, 12), (z + 48, 12))
        paint(image, 420, eye - 1.2)
        paint(image, 150, eye)
        u, v = rotated(x, y, side * 25, -50, side * 20)
        paint(image, MUSCLE, ellipsoid((u, 2), (v, 16), (z + 48, 7)))
        u, v = rotated(x, y, side * 38, 24, side * -35)
        paint(image, 90 + wide * 20, ellipsoid((u, 26), (v, 9), (z + 55, 16)) + wide, 1.5)
