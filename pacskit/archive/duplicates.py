"""The same SOP Instance UID again: is it the same instance?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from pacskit import system
from pacskit.archive.canonical import NATIVE, digest
from pacskit.archive.elements import BadDataSet
from pacskit.archive.header import Header, read_attributes
from pacskit.errors import Refused
from pacskit.imaging.part10 import META_LIMIT, read_head

_PIECE = 1 << 20


class Verdict(Enum):
    """What stands under the UID of an instance that came."""

    SAME = auto()
    """The same instance, maybe in another transfer syntax."""
    OTHER = auto()
    """Another content."""
    GONE = auto()
    """The index has it, its file is missing."""
    DAMAGED = auto()
    """Its file is no longer an instance."""


@dataclass(slots=True)
class Arrived:
    """A complete instance in incoming/. Not frozen for speed alone."""

    part: str
    descriptor: int
    header: Header
    data_offset: int
    """Where the data set begins, in bytes."""
    size: int
    """Of the file, in bytes."""


def compare(path: Path, arrived: Arrived) -> tuple[Verdict, int]:
    """What the stored file `path` is beside what arrived, and its size in bytes. Raises OSError.

    Equal bytes are the same, and so are equal elements. Pixel data are not looked at where one of the two
    transfer syntaxes compresses them and the other does not, or does it in another way.
    """
    try:
        with path.open("rb") as stored:
            size = os.fstat(stored.fileno()).st_size
            return _judge(stored, size, arrived), size
    except FileNotFoundError:
        return Verdict.GONE, 0


def _judge(stored: BinaryIO, size: int, arrived: Arrived) -> Verdict:
    descriptor = stored.fileno()
    try:
        head = read_head(system.read_at(descriptor, META_LIMIT, 0))
    except ValueError:
        return Verdict.DAMAGED
    length = arrived.size - arrived.data_offset
    if size - head.offset == length and _equal(
        descriptor, head.offset, arrived.descriptor, arrived.data_offset, length
    ):
        return Verdict.SAME
    syntax, new_syntax = head.transfer_syntax_uid, arrived.header.transfer_syntax_uid
    try:
        read_attributes(
            lambda size, offset: system.read_at(descriptor, size, offset), head.offset, size, syntax
        )
    except Refused:
        return Verdict.DAMAGED
    recoded = syntax != new_syntax and not {syntax, new_syntax} <= NATIVE
    try:
        with open(arrived.part, "rb") as file:
            old = digest(stored, head.offset, syntax, pixels=not recoded)
            new = digest(file, arrived.data_offset, new_syntax, pixels=not recoded)
    except BadDataSet:
        return Verdict.OTHER
    return Verdict.SAME if old == new else Verdict.OTHER


def _equal(one: int, one_at: int, other: int, other_at: int, size: int) -> bool:
    done = 0
    while done < size:
        length = min(_PIECE, size - done)
        piece = system.read_at(one, length, one_at + done)
        if not piece or piece != system.read_at(other, len(piece), other_at + done):
            return False
        done += len(piece)
    return True
