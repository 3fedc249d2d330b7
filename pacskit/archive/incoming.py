"""One instance on its way: written to incoming/, checked, then renamed to its place in one step."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pacskit import system
from pacskit.archive.checksums import fill_crc, with_crc_room
from pacskit.archive.files import FILE_MODE, INCOMING, cannot_write
from pacskit.archive.header import Header, Origin, check_command, read_attributes
from pacskit.errors import ArchiveError
from pacskit.imaging.part10 import file_head

UNFINISHED = b"pacskit: unfinished"
"""Stands in the preamble until the whole data set is there: one that was cut between two elements reads
like a whole one, and must not be adopted after a kill."""
ROOM_AGAIN = 64 << 20
"""Bytes of one instance between two looks at the free space."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is safe in the archive."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    path: Path
    bytes: int
    """Size of the file."""
    duplicate: bool = False
    """The same instance was here already: nothing was written."""
    aside: bool = False
    """Another content is stored under its UID: this one is kept apart, and not served."""


class Keep(Protocol):
    """The archive's side of a commit: judge duplicates, rename, queue the row."""

    def __call__(
        self, part: Path, descriptor: int, header: Header, data_offset: int, close: Callable[[], None]
    ) -> Stored: ...


class Incoming:
    """Not for two threads at once. `commit()` or `discard()` ends it; the part file is gone after either."""

    def __init__(
        self,
        folder: Path,
        keep: Keep,
        ended: Callable[[Incoming], None],
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str = "",
        *,
        room: Callable[[], None],
        crc: bool,
    ) -> None:
        """`room()` raises ArchiveError where the disk gets full; `crc`: whether the crc32 is made meanwhile.

        Opens the part file and writes its head. Raises ArchiveError where that cannot be done."""
        self._folder, self._keep, self._ended = folder, keep, ended
        self._sop_class_uid, self._sop_instance_uid = sop_class_uid, sop_instance_uid
        self._transfer_syntax_uid, self._origin = transfer_syntax_uid, origin
        self.part = folder / f"{INCOMING}/{os.urandom(12).hex()}.part"
        head = file_head(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            source_ae=origin.calling_ae or source_ae,
            sending_ae=origin.calling_ae,
            receiving_ae=origin.called_ae,
            source_address=origin.address,
            receiving_address=origin.receiving_address,
            private=with_crc_room(origin.private()) if crc else origin.private(),
        )
        self._final_head = head if crc else b""
        self._room, self._room_at, self._crc = room, ROOM_AGAIN, 0
        self._head_size = self._size = len(head)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | system.BINARY
            self._descriptor = os.open(self.part, flags, FILE_MODE)
        except OSError as error:
            raise ArchiveError(cannot_write(folder, error)) from error
        self._head: bytes | None = UNFINISHED + head[len(UNFINISHED) :]
        self._over = self._moved = False

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Append to the data set. Raises ArchiveError (disk full, ...); `discard()` follows then."""
        pieces: list[bytes | memoryview] = list(buffers)
        if self._final_head:
            for piece in pieces:
                self._crc = zlib.crc32(piece, self._crc)
        if self._head is not None:
            pieces.insert(0, self._head)
            self._head = None
            self._size = 0
        try:
            self._size += system.write_all(self._descriptor, pieces)
        except OSError as error:
            raise ArchiveError(cannot_write(self._folder, error)) from error
        if self._size >= self._room_at:
            self._room_at = self._size + ROOM_AGAIN
            self._room()

    def commit(self) -> Stored:
        """Check, make safe, and put into its place (PS3.4 B.2.3 for the statuses).

        Raises Refused 0xC000 (not understood), 0xA900 (UIDs missing, wrong or not the command's), 0xC001
        (another content has this UID, where `archive.duplicates` is first), or ArchiveError (0xA700).
        """
        try:
            if self._head is not None:
                self.write([])
            descriptor = self._descriptor
            attributes = read_attributes(
                lambda size, offset: system.read_at(descriptor, size, offset),
                self._head_size,
                self._size,
                self._transfer_syntax_uid,
            )
            check_command(attributes, self._sop_class_uid, self._sop_instance_uid)
            origin = self._origin
            header = Header(attributes, self._transfer_syntax_uid, origin.received_ms, origin.received_from)
            head = fill_crc(self._final_head, self._crc) or bytes(len(UNFINISHED))
            system.write_at(descriptor, head, 0)
            stored = self._keep(self.part, descriptor, header, self._head_size, self._close)
            self._moved = not stored.duplicate
            return stored
        except OSError as error:
            raise ArchiveError(cannot_write(self._folder, error)) from error
        finally:
            self.discard()

    def _close(self) -> None:
        """Before the rename: Windows renames no open file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Throw it away. Safe to call again, and after `commit()`."""
        if self._over:
            return
        self._over = True
        self._close()
        if not self._moved:
            with contextlib.suppress(OSError):
                self.part.unlink(missing_ok=True)
        self._ended(self)
