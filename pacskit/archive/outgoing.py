"""A stored or loose DICOM file as something to send: its identity, and its data set in pieces."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from pacskit.archive.elements import guess_transfer_syntax
from pacskit.archive.importing import DICOMDIR_CLASS
from pacskit.imaging.part10 import META_LIMIT, read_head

PIECE = 1 << 20
IDENTITY = ("SOPClassUID", "SOPInstanceUID")


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A Part 10 file, or a bare data set; read when it is sent, in constant memory."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    """Where the data set begins."""
    length: int

    @classmethod
    def read(cls, path: Path) -> OutgoingFile:
        """Raises OSError, or ValueError with a sentence where it is nothing that can be sent."""
        size = path.stat().st_size
        try:
            header = dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(IDENTITY))
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for what is no DICOM
            raise ValueError(f"is not a DICOM file: {error}") from None
        if (
            "DirectoryRecordSequence" in header
            or header.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR_CLASS
        ):
            raise ValueError("is a DICOMDIR, a list of files, which is never sent")
        missing = [keyword for keyword in IDENTITY if not header.get(keyword)]
        if missing:
            raise ValueError(f"is not a DICOM instance: {', '.join(missing)} missing")
        with path.open("rb") as file:
            head = read_head(file.read(META_LIMIT))
            file.seek(head.offset)
            syntax = head.transfer_syntax_uid or guess_transfer_syntax(file.read(16))
        offset = head.offset
        return cls(
            path, str(header.SOPClassUID), str(header.SOPInstanceUID), str(syntax), offset, size - offset
        )

    @property
    def label(self) -> str:
        return str(self.path)

    def pieces(self) -> Iterator[memoryview]:
        buffer = bytearray(PIECE)
        view = memoryview(buffer)
        left = self.length
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            while left > 0 and (count := file.readinto(view[: min(left, PIECE)])):
                left -= count
                yield view[:count]

    def dataset(self) -> Dataset:
        return dcmread(self.path, force=True)


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as given, and those of folders, recursed, in a stable order; links to folders are left out."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield Path(folder, name)
