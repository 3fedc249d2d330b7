"""C-STORE as SCP (PS3.4 B, PS3.7 9.1.1): command, then data set fragments straight into a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pacskit.dimse.command import Command, store_rsp
from pacskit.errors import ArchiveError, PacskitError, Refused

Buffer = bytes | memoryview
FLUSH_PIECES = 256
"""Fragments gathered before a write; below the 1024 that writev takes at once."""

STATUS_CLASS_MISMATCH = 0xA900
STATUS_OUT_OF_RESOURCES = 0xA700
MEGABYTE = 1_000_000
TOO_LARGE = "it is larger than the {} MB that max_object of the listener allows"


class Stored(Protocol):
    """What the archive says of a stored instance."""

    @property
    def bytes(self) -> int: ...


class Incoming(Protocol):
    """One instance on its way into the archive."""

    def write(self, buffers: list[Buffer]) -> None: ...
    def place(self, buffers: list[Buffer]) -> Stored: ...
    def close(self) -> None: ...


Begin = Callable[[str, str, str], Incoming]
"""(SOP class, SOP instance, transfer syntax) → where the data set goes; raises PacskitError to refuse it."""


@dataclass(slots=True)
class Counters:
    """What one association has done so far; written by its thread alone, read by anyone."""

    stored: int = 0
    refused: int = 0
    bytes: int = 0


class StoreReceiver:
    """Takes one C-STORE at a time. A refused one is read to its end, thrown away, answered why."""

    def __init__(
        self, begin: Begin, refused: Callable[[str, int, str], None], counters: Counters, largest: int = 0
    ) -> None:
        """`refused(sop_instance_uid, status, reason)` is told of each instance that is not stored; one of
        more than `largest` bytes (0: any) is not."""
        self._begin, self._on_refused, self.counters = begin, refused, counters
        self._command: Command | None = None
        self._incoming: Incoming | None = None
        self._placed: Incoming | None = None
        """In its place; its sender may not know it yet."""
        self._failure: PacskitError | None = None
        self._pieces: list[Buffer] = []
        self._largest = largest or sys.maxsize
        self._left = 0
        """Bytes that this instance may still have."""

    @property
    def active(self) -> bool:
        """Whether a data set is being received."""
        return self._command is not None

    def start(self, command: Command, abstract_syntax: str, transfer_syntax: str) -> None:
        """A C-STORE-RQ has come; its data set follows."""
        self._command, self._failure, self._incoming = command, None, None
        self._left = self._largest
        try:
            if command.sop_class_uid != abstract_syntax:
                raise Refused(STATUS_CLASS_MISMATCH, "the SOP class is not that of the presentation context")
            self._incoming = self._begin(command.sop_class_uid, command.sop_instance_uid, transfer_syntax)
        except PacskitError as error:
            self._failure = error

    def data(self, piece: memoryview) -> None:
        """A piece of the data set; it must stay valid until `flush()`."""
        if self._incoming is not None:
            self._left -= len(piece)
            if self._left < 0:
                self._give_up(Refused(STATUS_OUT_OF_RESOURCES, TOO_LARGE.format(self._largest // MEGABYTE)))
                return
            self._pieces.append(piece)
            if len(self._pieces) >= FLUSH_PIECES:
                self.flush()

    def flush(self) -> None:
        """Write what was gathered, before the receive buffer is used again."""
        if not self._pieces or self._incoming is None:
            return
        try:
            self._incoming.write(self._pieces)
        except PacskitError as error:
            self._give_up(error)
        finally:
            self._pieces.clear()

    def _give_up(self, failure: PacskitError) -> None:
        """The rest of the data set is read and thrown away."""
        assert self._incoming is not None
        self._failure = failure
        self._pieces.clear()
        self._incoming.close()
        self._incoming = None

    def finish(self) -> bytes:
        """The data set is complete: the command set of the C-STORE-RSP."""
        command, incoming = self._command, self._incoming
        assert command is not None
        self._command = self._incoming = None
        if incoming is not None:
            try:
                stored = incoming.place(self._pieces)
            except PacskitError as error:
                self._failure = error
                incoming.close()
            else:
                self._placed = incoming
                self.counters.stored += 1
                self.counters.bytes += stored.bytes
                return store_rsp(command, 0x0000)
            finally:
                self._pieces.clear()
        failure = self._failure or ArchiveError("the instance could not be stored")
        status = failure.status if isinstance(failure, Refused) else failure.dimse_status
        self.counters.refused += 1
        self._on_refused(command.sop_instance_uid, status, str(failure))
        return store_rsp(command, status, str(failure))

    def answered(self) -> None:
        """The response has gone out: what could wait for it is done while the sender goes on."""
        if self._placed is not None:
            placed, self._placed = self._placed, None
            placed.close()

    def close(self) -> None:
        """The association ended: a half-received instance is thrown away."""
        self.answered()
        self._pieces.clear()
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None
        self._command = None
