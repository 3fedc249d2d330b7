"""A series: its files, data sets and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from pacskit.imaging.keys import VolumeKey
from pacskit.imaging.volumes import Volume, volume, volumes


class Series:
    """The files of one series, in the order given. Holds paths only: pickles, and costs no memory."""

    def __init__(self, paths: Sequence[str | PathLike[str]]) -> None:
        self._paths = tuple(Path(path) for path in paths)

    @property
    def paths(self) -> list[Path]:
        """The files, in the order given."""
        return list(self._paths)

    def datasets(self) -> list[Dataset]:
        """Each file's data set, read anew at each call, in the order of `paths`.

        Raises what pydicom's `dcmread` does where a file is gone or unreadable.
        """
        return [dcmread(path, force=True) for path in self._paths]

    def volumes(self) -> dict[VolumeKey, Volume]:
        """All volumes by key. Raises GeometryError, PixelError."""
        return volumes(self.datasets())

    def volume(self) -> Volume:
        """The one volume. Raises GeometryError (naming the keys where there are several), PixelError."""
        return volume(self.datasets())

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"<Series of {len(self)} files>"
