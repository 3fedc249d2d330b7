"""An apical four-chamber view as an ultrasound sector: speckle, four chambers beating, valves, a rim."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacskit.simulator.phantoms.shapes import Image, ellipsoid, rotated

ROWS, COLUMNS = 480, 640
MM_PER_PIXEL = 160 / 440
"""160 mm of depth on 440 rows."""

APEX_ROW, HALF_ANGLE, DEPTH = 20, 0.66, 160.0
"""Where the sector begins, its half opening in radians, its depth in mm."""

_BEAMS, _SAMPLES = 220, 640


def heart(frames: int, seed: int) -> NDArray[np.uint8]:
    """One heart cycle, looped: (frames, 480, 640) of 8-bit grey, black outside the sector."""
    rng = np.random.default_rng(seed)
    x = ((np.arange(COLUMNS) - (COLUMNS - 1) / 2) * MM_PER_PIXEL).astype(np.float32)[None, :]
    y = ((np.arange(ROWS) - APEX_ROW) * MM_PER_PIXEL).astype(np.float32)[:, None]
    depth, angle = np.hypot(x, y), np.arctan2(x, np.maximum(y, 1e-3))
    inside = (np.abs(angle) < HALF_ANGLE) & (depth < DEPTH) & (depth > 3) & (y > 0)
    sample = np.clip(depth / DEPTH * _SAMPLES, 0, _SAMPLES - 1).astype(np.intp)
    beam = np.clip((angle / HALF_ANGLE + 1) / 2 * (_BEAMS - 1) + 0.5, 0, _BEAMS - 1).astype(np.intp)
    still, moving, noise = _scatter(rng), _scatter(rng), _scatter(rng)
    attenuation = -0.05 * depth - 14 * np.clip(np.abs(angle) / HALF_ANGLE - 0.75, 0, 1)
    result = np.zeros((frames, ROWS, COLUMNS), np.uint8)
    for index in range(frames):
        phase = 2 * np.pi * index / frames
        # The same scatterers come back after a cycle, so that the loop has no seam.
        mixed = np.cos(0.7 * np.sin(phase)) * still + np.sin(0.7 * np.sin(phase)) * moving
        speckle = np.abs(mixed)[sample, beam]
        decibels = 20 * np.log10(speckle + 0.02) + _echo(x, y, phase) + attenuation
        floor = 20 * np.log10(np.abs(np.roll(noise, index * 37, 0))[sample, beam] + 0.02) - 40
        grey = (np.maximum(decibels, floor) + 48) / 56 * 255
        result[index] = np.where(inside, np.clip(grey, 0, 255), 0)
    return result


def _scatter(rng: np.random.Generator) -> NDArray[np.complex64]:
    """Complex speckle in beam space (samples, beams): fine along the beam, coarse across it."""
    field = rng.standard_normal((_SAMPLES, _BEAMS)) + 1j * rng.standard_normal((_SAMPLES, _BEAMS))
    for axis, width in ((0, 1.6), (1, 1.3)):
        taps = np.exp(-(np.arange(-4, 5) ** 2) / (2 * width**2))
        taps /= np.sqrt((taps**2).sum())
        field = sum(tap * np.roll(field, shift, axis) for shift, tap in enumerate(taps, -4))
    return np.asarray(field / np.sqrt(2), np.complex64)


def _echo(x: Image, y: Image, phase: float) -> Image:
    """Echogenicity in dB: about -14 for myocardium, -45 for blood, 0 for the pericardium."""
    squeeze = 0.5 - 0.5 * np.cos(phase)  # 0 at the end of diastole, 1 at the end of systole
    opening = max(0.0, float(np.cos(phase)))
    echo = np.full(np.broadcast_shapes(x.shape, y.shape), -26.0, np.float32)
    _put(echo, -11.0, np.abs(y - 10) - 5, 6)
    rim = ellipsoid((x - 4, 53), (y - 78, 66))
    _put(echo, -2.0, np.abs(rim) - 1.6, 2.5)
    _put(echo, -15.0, rim + 1, 2)
    base = 84 - 9 * squeeze  # the valves' plane moves to the apex in systole
    left, right = 1 - 0.26 * squeeze, 1 - 0.22 * squeeze
    u, v = rotated(x, y, 20, base - 30, -7)
    _put(echo, -46.0, np.maximum(ellipsoid((u, 21 * left), (v, 36)), y - base), 2.5)
    u, v = rotated(x, y, -20, base - 24, 12)
    _put(echo, -46.0, np.maximum(ellipsoid((u, 17 * right), (v, 31)), y - base), 2.5)
    swell = 1 + 0.16 * squeeze
    for cx, a in ((21, 19), (-22, 18)):
        atrium = ellipsoid((x - cx, a * swell), (y - base - 21, 21 * swell))
        _put(echo, -46.0, np.maximum(atrium, base + 1 - y), 2.5)
    _put(echo, -6.0, np.maximum(np.abs(x + 0.05 * (y - base)) - 1.2, np.abs(y - base - 20) - 22), 2)
    for hinge, inward, length in ((3, 1, 20), (38, -1, 14), (-3, -1, 15), (-36, 1, 16)):
        swing = np.degrees(0.25 + 1.05 * opening)
        way = np.radians(swing)
        dx, dy = inward * np.cos(way), -np.sin(way)
        along = (x - hinge) * dx + (y - base) * dy
        across = (x - hinge) * dy - (y - base) * dx + 0.012 * along * along * inward
        _put(echo, -3.0, np.maximum(np.abs(across) - 0.9, np.abs(along - length / 2) - length / 2), 1.6)
    return echo


def _put(echo: Image, value: float, distance: Any, edge: float) -> None:
    echo += np.clip(0.5 - distance / edge, 0, 1) * (value - echo)
