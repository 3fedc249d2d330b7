"""A stored or loose DICOM file as something to send: its identity, and its data set in pieces."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

PIECE = 1 << 20
HEAD = 1 << 16
IDENTITY = ("SOPClassUID", "SOPInstanceUID")
DICOMDIR = "1.2.840.10008.1.3.10"
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV"})


def data_set_offset(head: bytes) -> int:
    """Where the data set begins in a file with these first bytes (PS3.10 7.1); 0 without a preamble.

    The group's elements are walked, since its stated length is wrong in some files. ValueError when cut.
    """
    if head[128:132] != b"DICM":
        return 0
    at = 132
    while at + 12 <= len(head):
        group, _, vr, length = struct.unpack_from("<HH2sH", head, at)
        if group != 2:
            return at
        at += 12 + struct.unpack_from("<L", head, at + 8)[0] if vr in _LONG else 8 + length
    raise ValueError("the file's meta information is cut")


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
        except Exception as error:  # pydicom raises many kinds for what is no DICOM
            raise ValueError(f"is not a DICOM file: {error}") from None
        if "DirectoryRecordSequence" in header or header.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR:
            raise ValueError("is a DICOMDIR, a list of files, which is never sent")
        missing = [keyword for keyword in IDENTITY if not header.get(keyword)]
        if missing:
            raise ValueError(f"is not a DICOM instance: {', '.join(missing)} missing")
        with path.open("rb") as file:
            offset = data_set_offset(file.read(HEAD))
        syntax = header.file_meta.get("TransferSyntaxUID") or _guessed(header)
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
    """Files as given, and those of folders, recursed, in a stable order; links to folders are not followed."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield Path(folder, name)


def _guessed(header: Dataset) -> str:
    """The transfer syntax pydicom found a file without meta information to be in."""
    implicit, little = header.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)
