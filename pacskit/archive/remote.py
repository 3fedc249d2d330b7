"""What another process receives: it writes the part files, the owner gives them their places.

There: Outpost, which an association brings its instances to. Here: Entrance, the owner's end. How the two
speak is not said here: plain values go to and fro (`Ask`), so that nothing is run that came from elsewhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pacskit import system
from pacskit.archive.access import create_file
from pacskit.archive.duplicates import Arrived
from pacskit.archive.files import cannot_write
from pacskit.archive.header import Header, Origin
from pacskit.archive.incoming import Incoming, Intake, Stored
from pacskit.archive.uids import check_announced
from pacskit.errors import ArchiveError

Ask = Callable[..., Any]
"""("place", *values) or ("room",) → the answer's plain value; raises PacskitError as the owner did."""
ASK_AGAIN = 0.2
"""Seconds in which an answer of the owner is good for: there is room."""


class Outpost:
    """The other process's end, for one association. Not for two threads at once."""

    def __init__(self, boot: tuple[Any, ...], ask: Ask) -> None:
        """`boot`: of the Entrance."""
        folder, self._prefix, crc, mode, umask_hides, origin = boot
        self._ask, self._origin = ask, origin
        self._numbers = itertools.count()
        self._number = 0
        self._good_until = 0.0
        self._keywords: tuple[str, ...] = ()
        self._intake = Intake(
            folder,
            self,
            lambda incoming: None,
            self._room,
            lambda part: create_file(part, mode, umask_hides),
            crc,
        )

    def begin(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
        """As Archive.incoming."""
        check_announced(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        now = time.time()
        if time.monotonic() >= self._good_until:
            self._room()
        self._number = next(self._numbers)
        calling_ae, called_ae, address, receiving_address = self._origin
        origin = Origin(
            calling_ae=calling_ae,
            called_ae=called_ae,
            address=address,
            receiving_address=receiving_address,
            received_at=now,
        )
        part = f"{self._prefix}{self._number:x}.part"
        return Incoming(self._intake, part, sop_class_uid, sop_instance_uid, transfer_syntax_uid, origin)

    def _room(self) -> None:
        self._ask("room")
        self._good_until = time.monotonic() + ASK_AGAIN

    def place(self, arrived: Arrived, close: Callable[[], None]) -> Stored:
        """As Keeper.place. The owner also syncs: it is the one who renames."""
        header = arrived.header
        keywords = tuple(header.attributes)
        told = keywords == self._keywords
        self._good_until = 0.0
        stored = self._ask(
            "place",
            self._number,
            () if told else keywords,
            tuple(header.attributes.values()),
            header.transfer_syntax_uid,
            header.received_ms,
            arrived.data_offset,
            arrived.size,
        )
        self._keywords = keywords
        self._good_until = time.monotonic() + ASK_AGAIN
        return Stored(*stored)

    def tell(self, stored: Stored, received_from: str) -> None:
        """The owner does that itself."""


class _Part(Arrived):
    """What another process wrote, opened only where somebody reads or syncs it."""

    __slots__ = ("_opened",)

    def __init__(self, part: str, header: Header, data_offset: int, size: int) -> None:
        self.part, self.header, self.data_offset, self.size = part, header, data_offset, size
        self._opened = -1

    @property
    def descriptor(self) -> int:  # type: ignore[override]
        if self._opened < 0:
            self._opened = os.open(self.part, os.O_RDWR | system.BINARY)
        return self._opened

    def close(self) -> None:
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1


class Entrance:
    """The owner's end, for one association. Not for two threads at once."""

    def __init__(
        self,
        intake: Intake,
        prefix: str,
        origin: Origin,
        new_files: tuple[int, bool],
        check: Callable[[], None],
        ended: Callable[[Entrance], None],
    ) -> None:
        """`prefix`: how the paths of its part files begin, and no others; `new_files`: of `create_file`."""
        self._intake, self.prefix, self._from = intake, prefix, origin.received_from
        self._check, self._ended = check, ended
        self._keywords: tuple[str, ...] = ()
        whose = (origin.calling_ae, origin.called_ae, origin.address, origin.receiving_address)
        self.boot: tuple[Any, ...] = (intake.archive, prefix, intake.crc, *new_files, whose)
        """For the Outpost: plain values."""

    def room(self) -> None:
        """Raises ArchiveError where nothing can be taken."""
        self._check()

    def place(
        self,
        number: int,
        keywords: tuple[str, ...],
        values: tuple[Any, ...],
        transfer_syntax_uid: str,
        received_ms: int,
        data_offset: int,
        size: int,
    ) -> Stored:
        """As Keeper.place, of a part file that is complete. `tell` follows once its sender knows.

        `keywords` of the `values`: none where they are the same as before. Raises Refused, ArchiveError.
        """
        self._check()
        self._keywords = keywords or self._keywords
        attributes = dict(zip(self._keywords, values, strict=True))
        header = Header(attributes, transfer_syntax_uid, received_ms, self._from)
        part = _Part(f"{self.prefix}{number:x}.part", header, data_offset, size)
        try:
            return self._intake.keep.place(part, part.close)
        except OSError as error:
            raise ArchiveError(cannot_write(self._intake.archive, error)) from error
        finally:
            part.close()

    def tell(self, stored: Stored) -> None:
        """An event of what is in its place."""
        self._intake.keep.tell(stored, self._from)

    def close(self) -> None:
        """The association ended: what its process left half is thrown away. Safe to call again."""
        folder, _, start = self.prefix.rpartition("/")
        with contextlib.suppress(OSError):
            for path in Path(folder).glob(f"{start}*.part"):
                path.unlink(missing_ok=True)
        self._ended(self)
