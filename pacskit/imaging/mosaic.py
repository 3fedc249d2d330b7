"""Pictures that hold many slices side by side: Siemens mosaics, UIH "VFRAME".

Siemens: the count of tiles stands in (0019,100A) or the CSA header, the direction of stacking in the CSA
header's SliceNormalVector; Image Position (Patient) is that of a picture of the mosaic's size around the
first slice, and is brought back to the tile. UIH: (0065,1051) has an item a slice with its own position.
Tiles go row by row in a square (UIH: as many as fit) grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacskit.errors import GeometryError
from pacskit.imaging.csa import csa_header
from pacskit.imaging.functional_groups import number, numbers
from pacskit.imaging.geometry import SliceGeometry, check_cosines, slice_geometry
from pacskit.imaging.private import is_made_by, private_numbers


@dataclass(frozen=True, slots=True)
class Mosaic:
    """`slices` in the order of the tiles; `across` tiles stand beside each other."""

    slices: tuple[SliceGeometry, ...]
    across: int

    def tile(self, picture: NDArray[Any], index: int) -> NDArray[Any]:
        """The tile `index` (0-based) of the decoded picture."""
        rows, columns = self.slices[index].rows, self.slices[index].columns
        down, right = divmod(index, self.across)
        return picture[down * rows : (down + 1) * rows, right * columns : (right + 1) * columns]


def mosaic(ds: Dataset) -> Mosaic | None:
    """The slices of a mosaic, or None where it is none. Raises GeometryError where it cannot be read."""
    kinds = {str(part).upper() for part in ds.get("ImageType") or ()}
    if "MOSAIC" in kinds and is_made_by(ds, "SIEMENS"):
        return _siemens(ds)
    if "VFRAME" in kinds and is_made_by(ds, "UIH"):
        return _uih(ds)
    return None


def _siemens(ds: Dataset) -> Mosaic:
    header = csa_header(ds)
    counts = private_numbers(ds, (0x0019, 0x100A), "H") or numbers(header.get("NumberOfImagesInMosaic"))
    if not counts or counts[0] < 1:
        raise GeometryError(
            "This is a Siemens mosaic, but neither (0019,100A) nor a CSA header says of how many slices."
        )
    normal = numbers(header.get("SliceNormalVector"), 3)
    if normal is None:
        raise GeometryError(
            "This is a Siemens mosaic without a CSA header: the direction of its slices is not known."
        )
    count = int(counts[0])
    across = math.isqrt(count - 1) + 1
    whole = slice_geometry(ds)
    _check_grid(whole, across, across)
    rows, columns = whole.rows // across, whole.columns // across
    if whole.thickness is None:
        raise GeometryError("This is a Siemens mosaic without Spacing Between Slices.")
    corner = (
        whole.position
        + whole.along_row * whole.spacing[1] * (whole.columns - columns) / 2
        + whole.along_column * whole.spacing[0] * (whole.rows - rows) / 2
    )
    step = np.array(normal) * whole.thickness
    return Mosaic(tuple(_tile(whole, corner + step * k, rows, columns) for k in range(count)), across)


def _uih(ds: Dataset) -> Mosaic:
    element = ds.get((0x0065, 0x1051))
    items = list(element.value) if element is not None and element.VR == "SQ" else []
    positions = [numbers(item.get("ImagePositionPatient"), 3) for item in items]
    cosines = numbers(ds.get("ImageOrientationPatient"), 6)
    spacing = numbers(ds.get("PixelSpacing"), 2)
    if not positions or None in positions or cosines is None or spacing is None:
        raise GeometryError("This is a UIH mosaic, but (0065,1051) does not say where its slices lie.")
    across = math.isqrt(len(positions) - 1) + 1
    down = -(-len(positions) // across)
    whole = SliceGeometry(
        np.zeros(3),
        np.array(cosines[:3]),
        np.array(cosines[3:]),
        (spacing[0], spacing[1]),
        int(ds.get("Rows") or 0),
        int(ds.get("Columns") or 0),
        number(ds.get("SpacingBetweenSlices")) or number(ds.get("SliceThickness")),
    )
    check_cosines(whole)
    _check_grid(whole, down, across)
    rows, columns = whole.rows // down, whole.columns // across
    return Mosaic(tuple(_tile(whole, np.array(place), rows, columns) for place in positions), across)


def _check_grid(whole: SliceGeometry, down: int, across: int) -> None:
    if not whole.rows or not whole.columns or whole.rows % down or whole.columns % across:
        raise GeometryError(
            f"This mosaic of {whole.rows} x {whole.columns} does not divide into {down} x {across} tiles."
        )


def _tile(whole: SliceGeometry, position: NDArray[np.float64], rows: int, columns: int) -> SliceGeometry:
    return SliceGeometry(
        position, whole.along_row, whole.along_column, whole.spacing, rows, columns, whole.thickness
    )
