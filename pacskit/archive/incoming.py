"""One instance on its way: written to incoming/, checked, then renamed to its place in one step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol
from zlib import crc32

from pacskit import system
from pacskit.archive.checksums import fill_crc, with_crc_room
from pacskit.archive.duplicates import Arrived
from pacskit.archive.elements import FIRST_PIECE, Read
from pacskit.archive.files import cannot_write
from pacskit.archive.header import Header, Origin, check_command, read_attributes
from pacskit.errors import ArchiveError
from pacskit.imaging.part10 import file_head

UNFINISHED = b"pacskit: unfinished"
"""Stands in the preamble until the whole data set is there: one that was cut between two elements reads
like a whole one, and must not be adopted after a kill."""
Buffer = bytes | memoryview
ROOM_AGAIN = 64 << 20
"""Bytes of one instance between two looks at the free space."""


class Stored(NamedTuple):
    """An instance that is safe in the archive."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str
    file: str
    bytes: int
    """Size of the file."""
    duplicate: bool = False
    """The same instance was here already: nothing was written."""
    aside: bool = False
    """Another content is stored under its UID: this one is kept apart, and not served."""

    @property
    def path(self) -> Path:
        return Path(self.file)


class Keep(Protocol):
    """The archive's side: judge duplicates, rename, queue the row; then tell who listens."""

    def place(self, arrived: Arrived, close: Callable[[], None]) -> Stored: ...
    def tell(self, stored: Stored, received_from: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Intake:
    """What all instances on their way into one archive have in common."""

    archive: str
    """Its folder."""
    keep: Keep
    ended: Callable[[Incoming], None]
    room: Callable[[], None]
    """Raises ArchiveError where the disk gets full."""
    create: Callable[[str], int]
    """Makes a part file and opens it to write and read. Raises OSError."""
    crc: bool
    """Whether the crc32 is made meanwhile."""


class Incoming:
    """Not for two threads at once. `commit()`, `close()` or `discard()` ends it; then the part file is gone.

    A small instance that comes whole before anything had to be written is judged in memory and written by
    one call; of a larger one the file grows as it comes.
    """

    __slots__ = (
        *("_crc", "_descriptor", "_head", "_intake", "_origin", "_over", "_room_at", "_size"),
        *("_sop_class_uid", "_sop_instance_uid", "_source_ae", "_start", "_stored"),
        *("_transfer_syntax_uid", "part"),
    )

    def __init__(
        self,
        intake: Intake,
        part: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str = "",
    ) -> None:
        """`part`: the file's path while it comes; nobody else has it."""
        self._intake, self.part = intake, part
        self._sop_class_uid, self._sop_instance_uid = sop_class_uid, sop_instance_uid
        self._transfer_syntax_uid, self._origin, self._source_ae = transfer_syntax_uid, origin, source_ae
        self._room_at = ROOM_AGAIN
        self._crc = 0 if intake.crc else -1
        """-1: none is made."""
        self._descriptor = -1
        self._head, self._start = b"", b""
        self._size = 0
        self._over = False
        self._stored: Stored | None = None

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append to the data set. Raises ArchiveError (disk full, ...); `discard()` follows then."""
        pieces = list(buffers)
        self._count_in(pieces)
        if self._descriptor < 0:
            self._start = _first(pieces)
            self._head = self._make_head()
            self._open(UNFINISHED + self._head[len(UNFINISHED) :], pieces)
            return
        try:
            self._size += system.write_all(self._descriptor, pieces)
        except OSError as error:
            raise ArchiveError(cannot_write(self._intake.archive, error)) from error
        if self._size >= self._room_at:
            self._room_at = self._size + ROOM_AGAIN
            self._intake.room()

    def commit(self, buffers: Sequence[Buffer] = ()) -> Stored:
        """`place`, then `close`."""
        try:
            return self.place(buffers)
        finally:
            self.close()

    def place(self, buffers: Sequence[Buffer] = ()) -> Stored:
        """Append the last buffers, check, make safe, and put into its place (PS3.4 B.2.3 for the statuses).

        Then its sender may be told; `close` does what can wait. Raises Refused 0xC000 (not understood),
        0xA900 (UIDs missing, wrong or not the command's), 0xC001 (another content has this UID, where
        `archive.duplicates` is first), or ArchiveError (0xA700).
        """
        try:
            header = self._written(buffers) if self._descriptor >= 0 else self._at_once(buffers)
            arrived = Arrived(self.part, self._descriptor, header, len(self._head), self._size)
            stored = self._stored = self._intake.keep.place(arrived, self._close)
            return stored
        except OSError as error:
            raise ArchiveError(cannot_write(self._intake.archive, error)) from error

    def _at_once(self, buffers: Sequence[Buffer]) -> Header:
        """Nothing is written yet: what is refused never is."""
        start, size = _first(buffers), sum(map(len, buffers))
        header = self._read_header(start, 0, size, lambda length, at: b"".join(buffers)[at : at + length])
        self._count_in(buffers)
        self._head = self._make_head(size)
        self._open(fill_crc(self._head, self._crc) if self._crc >= 0 else self._head, list(buffers))
        return header

    def _written(self, buffers: Sequence[Buffer]) -> Header:
        if buffers:
            self.write(buffers)
        descriptor = self._descriptor
        header = self._read_header(
            self._start, len(self._head), self._size, lambda size, at: system.read_at(descriptor, size, at)
        )
        head = fill_crc(self._head, self._crc) if self._crc >= 0 else bytes(len(UNFINISHED))
        system.write_at(descriptor, head, 0)
        return header

    def _count_in(self, pieces: Sequence[Buffer]) -> None:
        if self._crc >= 0:
            for piece in pieces:
                self._crc = crc32(piece, self._crc)

    def _read_header(self, start: bytes, offset: int, size: int, rest: Read) -> Header:
        """Mostly from the data set's `start`, which is in memory; `offset` is where it begins."""

        def read(length: int, at: int) -> bytes:
            begin, end = at - offset, at - offset + length
            return start[begin:end] if end <= len(start) else rest(length, at)

        attributes = read_attributes(read, offset, size, self._transfer_syntax_uid)
        check_command(attributes, self._sop_class_uid, self._sop_instance_uid)
        origin = self._origin
        return Header(attributes, self._transfer_syntax_uid, origin.received_ms, origin.received_from)

    def _make_head(self, size: int = -1) -> bytes:
        """`size` of the data set, where it is known before the first byte is written."""
        origin = self._origin
        private = origin.private(size)
        return file_head(
            sop_class_uid=self._sop_class_uid,
            sop_instance_uid=self._sop_instance_uid,
            transfer_syntax_uid=self._transfer_syntax_uid,
            source_ae=origin.calling_ae or self._source_ae,
            sending_ae=origin.calling_ae,
            receiving_ae=origin.called_ae,
            source_address=origin.address,
            receiving_address=origin.receiving_address,
            private=with_crc_room(private) if self._crc >= 0 else private,
        )

    def _open(self, head: bytes, pieces: list[Buffer]) -> None:
        """The part file is made, and filled with this."""
        pieces.insert(0, head)
        try:
            self._descriptor = self._intake.create(self.part)
            self._size = system.write_all(self._descriptor, pieces)
        except OSError as error:
            raise ArchiveError(cannot_write(self._intake.archive, error)) from error

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """The end: what was placed is told, anything else thrown away. Safe to call again."""
        if self._over:
            return
        self._over = True
        self._close()
        stored = self._stored
        if (stored is None or stored.duplicate) and self._head:
            with contextlib.suppress(OSError):
                os.unlink(self.part)
        if stored is not None:
            self._intake.keep.tell(stored, self._origin.received_from)
        self._intake.ended(self)

    discard = close
    """Before `place`: throw it away."""


def _first(pieces: Sequence[Buffer]) -> bytes:
    """The beginning of the data set, where the header is: at most what is read first."""
    first, size = [], 0
    for piece in pieces:
        first.append(piece[: FIRST_PIECE - size])
        size += len(first[-1])
        if size == FIRST_PIECE:
            break
    return bytes(first[0]) if len(first) == 1 else b"".join(first)
