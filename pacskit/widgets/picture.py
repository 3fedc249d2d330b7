"""The picture of a series: which images there are, which one is shown, with which window.

Holds no widget: `Picture` answers with PNG and words, the panel puts them on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacskit.errors import PacskitError, PixelError
from pacskit.imaging import display
from pacskit.imaging.display import Window

# Usual windows of CT in Hounsfield units: centre and width.
_CT = {"Soft tissue": (40, 400), "Lung": (-600, 1500), "Bone": (400, 1800), "Brain": (40, 80)}


@dataclass(frozen=True, slots=True)
class Slide:
    """One picture as shown."""

    png: bytes
    """Empty when there is none: `reason` says why."""
    reason: str
    dataset: Dataset | None
    window: Window | None
    """The window it was rendered with; None for colour and non-images."""


class Picture:
    """The images of one series, each a (file, frame), in the order of the paths."""

    def __init__(self) -> None:
        self.images: list[tuple[Path, int]] = []
        self._frames: dict[Path, int] = {}
        self._read: tuple[Path, Dataset] | None = None

    def choose(self, paths: Sequence[Path]) -> None:
        """The files of the series now; those known already are not read again."""
        self._frames = {path: self._frames.get(path) or _count(path) for path in paths}
        self.images = [(path, frame) for path, frames in self._frames.items() for frame in range(frames)]

    def presets(self, number: int) -> dict[str, Window]:
        """Windows to choose from for image `number` (from 0): the file's own first, then usual ones."""
        try:
            dataset, frame = self._image(number)
            if int(dataset.get("SamplesPerPixel", 1) or 1) != 1:
                return {}
            own = display.windows(dataset, frame)
        except (PacskitError, OSError, InvalidDicomError, IndexError):
            return {}
        # Explanations are free text of a scanner: numbers cannot name anybody in a saved notebook.
        named = {f"From the image{'' if i == 0 else f' ({i + 1})'}": window for i, window in enumerate(own)}
        if dataset.get("Modality") == "CT":
            named |= {
                name: Window(centre=float(centre), width=float(width), function="LINEAR", explanation=name)
                for name, (centre, width) in _CT.items()
            }
        return named

    def slide(self, number: int, window: Window | None = None) -> Slide:
        """Image `number` (from 0) for the screen, or the reason why there is none."""
        dataset: Dataset | None = None
        try:
            dataset, frame = self._image(number)
            return Slide(display.png(display.render(dataset, frame, window)), "", dataset, window)
        except (PixelError, PacskitError, OSError, InvalidDicomError) as error:
            return Slide(b"", str(error), dataset, None)
        except IndexError:
            return Slide(b"", "This series has no image.", None, None)

    def _image(self, number: int) -> tuple[Dataset, int]:
        path, frame = self.images[number]
        if self._read is None or self._read[0] != path:
            self._read = (path, pydicom.dcmread(path, force=True))
        return self._read[1], frame


def _count(path: Path) -> int:
    """Frames of one file (PS3.3 C.7.6.6); a file without Number of Frames has one."""
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"], force=True)
        return max(1, int(head.get("NumberOfFrames") or 1))
    except (OSError, InvalidDicomError, ValueError, TypeError):
        return 1
