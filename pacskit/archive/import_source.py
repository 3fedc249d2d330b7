"""One file that may be an instance: opened, its header read, or a sentence that says why it is none."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from types import TracebackType

from pacskit import system
from pacskit.archive.elements import guess_transfer_syntax
from pacskit.archive.foreign import START, foreign
from pacskit.archive.header import STATUS_CANNOT_UNDERSTAND, Attributes, read_attributes
from pacskit.archive.import_report import Kind
from pacskit.archive.uids import is_uid
from pacskit.errors import Refused
from pacskit.imaging.part10 import META_LIMIT, FileHead, read_head

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_FIRST = 4096
"""Bytes read first: group 2 is seldom longer, and the file may be at the far end of a network."""


class Unfit(ValueError):
    """The file is not taken: `kind` to count by, the sentence to read."""

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


@dataclass(slots=True)
class Source:
    """An open file with an instance in it; a context manager."""

    path: str
    descriptor: int
    size: int
    mtime_ns: int
    head: FileHead
    transfer_syntax_uid: str
    attributes: Attributes

    @property
    def sop_instance_uid(self) -> str:
        return str(self.attributes["SOPInstanceUID"])

    def unchanged(self) -> bool:
        """Whether it is still as it was when it was opened: somebody may be writing it."""
        now = os.fstat(self.descriptor)
        return (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def open_source(path: str, status: os.stat_result) -> Source:
    """Raises Unfit, or OSError where it cannot be read."""
    if not stat.S_ISREG(status.st_mode):
        raise Unfit("not DICOM", "it is not a regular file")
    descriptor = os.open(path, os.O_RDONLY | system.BINARY)
    try:
        status = os.fstat(descriptor)
        head = _head(descriptor, status.st_size)
        if head.text(0x0002) == DICOMDIR_CLASS:
            raise Unfit("not DICOM", "a DICOMDIR is a directory of files, not an instance")
        syntax = head.transfer_syntax_uid
        if syntax and not is_uid(syntax):
            raise Unfit("damaged", "its transfer syntax is not a UID")
        syntax = syntax or guess_transfer_syntax(system.read_at(descriptor, 16, head.offset))
        attributes = _attributes(path, descriptor, head, status.st_size, syntax)
        return Source(path, descriptor, status.st_size, status.st_mtime_ns, head, syntax, attributes)
    except BaseException:
        os.close(descriptor)
        raise


def _head(descriptor: int, size: int) -> FileHead:
    if not size:
        raise Unfit("not DICOM", "the file is empty")
    start = system.read_at(descriptor, _FIRST, 0)
    try:
        try:
            return read_head(start)
        except ValueError:
            return read_head(system.read_at(descriptor, META_LIMIT, 0))
    except ValueError as error:
        raise Unfit("damaged", str(error)) from None


def _attributes(path: str, descriptor: int, head: FileHead, size: int, syntax: str) -> Attributes:
    try:
        return read_attributes(
            lambda length, at: system.read_at(descriptor, length, at), head.offset, size, syntax
        )
    except Refused as error:
        bare = not head.part10 and not head.elements
        if bare and error.status == STATUS_CANNOT_UNDERSTAND:
            what = foreign(system.read_at(descriptor, START, 0), os.path.basename(path))
            sentence = f"it is not a DICOM file but {what}" if what else "it is not a DICOM file"
            raise Unfit("not DICOM", sentence) from error
        raise Unfit("damaged", str(error)) from error
