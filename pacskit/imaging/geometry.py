"""Where a slice lies in the patient (PS3.3 C.7.6.2), for one frame.

Coordinates are LPS (PS3.3 C.7.6.2.1.1: x to the patient's left, y to the back, z to the head) in mm; a
position is the *centre* of the voxel. Known: classic images, enhanced functional groups, RT dose grids
(Grid Frame Offset Vector). Tiled pictures of many slices (Siemens, UIH) are in mosaic.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacskit.errors import GeometryError
from pacskit.imaging.functional_groups import number, numbers, value
from pacskit.imaging.pixels import number_of_frames

ORIENTATION_TOLERANCE = 1e-3
"""Direction cosines of slices of one volume differ by no more (0.06 degrees: DS rounds to 4 digits)."""
COSINE_TOLERANCE = 1e-2
"""Row and column direction are unit vectors and orthogonal to within this, else there is no geometry."""
PIXEL_SPACING_TOLERANCE = 1e-3
"""Pixel spacings of slices of one volume differ by no more than this share."""
SAME_POSITION = 0.01
"""mm: slices nearer to each other than this are at the same place."""
SPACING_TOLERANCE = 0.05
"""A slice lies within this share of the slice spacing of where even spacing puts it ..."""
POSITION_TOLERANCE = 0.1
"""... or within this many mm (positions are often rounded to 0.1 mm), whichever is more ..."""
LARGEST_SPACING_TOLERANCE = 0.25
"""... but never beyond this share of the spacing, where a missing slice could hide."""
TILT_TOLERANCE = 0.1
"""Degrees between slice direction and normal from which a volume counts as sheared (gantry tilt)."""

Vector = NDArray[np.float64]


def spacing_tolerance(spacing: float) -> float:
    """mm a slice may lie from where even `spacing` (mm) puts it."""
    return min(max(POSITION_TOLERANCE, SPACING_TOLERANCE * spacing), LARGEST_SPACING_TOLERANCE * spacing)


@dataclass(frozen=True, slots=True, eq=False)
class SliceGeometry:
    """One slice: `position` is the centre of voxel (row 0, column 0), LPS mm.

    `along_row` is the direction in which the column index grows (first triple of Image Orientation),
    `along_column` that of the row index; `spacing` is (between rows, between columns) in mm; `thickness` the
    distance to a next slice as the file states it (Spacing Between Slices, else Slice Thickness), or None.
    """

    position: Vector
    along_row: Vector
    along_column: Vector
    spacing: tuple[float, float]
    rows: int
    columns: int
    thickness: float | None = None

    @property
    def normal(self) -> Vector:
        """Unit vector along_row x along_column."""
        cross = np.cross(self.along_row, self.along_column)
        return np.asarray(cross / np.linalg.norm(cross), dtype=np.float64)

    @property
    def distance(self) -> float:
        """mm along the normal from the origin of the frame of reference."""
        return float(self.normal @ self.position)

    def same_plane_as(self, other: SliceGeometry) -> bool:
        """Same orientation, matrix and pixel spacing, within the tolerances."""
        return (
            (self.rows, self.columns) == (other.rows, other.columns)
            and bool(np.abs(self.along_row - other.along_row).max() <= ORIENTATION_TOLERANCE)
            and bool(np.abs(self.along_column - other.along_column).max() <= ORIENTATION_TOLERANCE)
            and bool(np.allclose(self.spacing, other.spacing, rtol=PIXEL_SPACING_TOLERANCE, atol=0))
        )

    def orientation_name(self) -> str:
        """axial, coronal or sagittal, with 'oblique' where it is more than 1 degree off."""
        sizes = np.abs(self.normal)
        plane = ("sagittal", "coronal", "axial")[int(sizes.argmax())]
        return plane if sizes.max() > np.cos(np.radians(1.0)) else f"oblique {plane}"


def slice_geometry(ds: Dataset, frame: int = 0) -> SliceGeometry:
    """Geometry of one frame (0-based). Raises GeometryError with what is missing."""
    position = numbers(value(ds, frame, "ImagePositionPatient", "PlanePositionSequence"), 3)
    cosines = numbers(value(ds, frame, "ImageOrientationPatient", "PlaneOrientationSequence"), 6)
    spacing = numbers(value(ds, frame, "PixelSpacing", "PixelMeasuresSequence"), 2)
    missing = [
        name
        for name, found in (
            ("Image Position (Patient)", position),
            ("Image Orientation (Patient)", cosines),
            ("Pixel Spacing", spacing),
        )
        if found is None
    ]
    if position is None or cosines is None or spacing is None:
        raise GeometryError(f"This image has no usable {' and no '.join(missing)}.")
    geometry = SliceGeometry(
        np.array(position),
        np.array(cosines[:3]),
        np.array(cosines[3:]),
        (spacing[0], spacing[1]),
        int(ds.get("Rows") or 0),
        int(ds.get("Columns") or 0),
        stated_thickness(ds, frame),
    )
    check_cosines(geometry)
    return _dose_plane(ds, frame, geometry)


def check_cosines(geometry: SliceGeometry) -> None:
    """Raises GeometryError unless directions are orthogonal unit vectors and spacings positive."""
    row, column = geometry.along_row, geometry.along_column
    errors = (abs(row @ row - 1), abs(column @ column - 1), abs(row @ column))
    if max(errors) > COSINE_TOLERANCE:
        raise GeometryError(
            "Image Orientation (Patient) of this image is not a pair of orthogonal unit vectors: "
            f"{', '.join(f'{part:g}' for part in (*row, *column))}."
        )
    if min(geometry.spacing) <= 0:
        raise GeometryError(f"Pixel Spacing of this image is not above 0: {geometry.spacing}.")


def stated_thickness(ds: Dataset, frame: int) -> float | None:
    """Spacing Between Slices, else Slice Thickness, in mm; None where neither is above 0."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = number(value(ds, frame, keyword, "PixelMeasuresSequence"))
        if found is not None and found > 0:
            return found
    return None


def _dose_plane(ds: Dataset, frame: int, first: SliceGeometry) -> SliceGeometry:
    """Frames of classic multi-frame objects: only RT dose says where they lie (PS3.3 C.8.8.3.2)."""
    frames = number_of_frames(ds)
    if frames <= 1 or ds.get("PerFrameFunctionalGroupsSequence"):
        return first
    offsets = numbers(ds.get("GridFrameOffsetVector"), frames)
    if offsets is None:
        raise GeometryError(f"Nothing in this object says where each of its {frames} frames lies.")
    # Both meanings of the vector (from 0, or z coordinates) come to the same after the first is taken off;
    # as z coordinates they count upwards even where the normal points down.
    along = first.normal
    if offsets[0] != 0 and abs(along[2]) > 1 - COSINE_TOLERANCE:
        along = np.array([0.0, 0.0, 1.0])
    position = first.position + along * (offsets[frame] - offsets[0])
    return SliceGeometry(
        position,
        first.along_row,
        first.along_column,
        first.spacing,
        first.rows,
        first.columns,
        first.thickness,
    )
