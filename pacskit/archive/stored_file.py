"""A stored file as the row that the index has of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pacskit import system
from pacskit.archive.header import Header, read_attributes, receipt
from pacskit.archive.rows import Row
from pacskit.imaging.part10 import META_LIMIT, read_head

Receipts = Callable[[str], tuple[int, str] | None]
"""SOP Instance UID → (when in ms, from whom), of files whose head is not ours: imported as links."""


def read_row(folder: Path, relative: str, receipts: Receipts | None = None) -> Row:
    """The row of a stored file, receipt included. Raises Refused, ValueError or OSError."""
    descriptor = os.open(folder / relative, os.O_RDONLY | system.BINARY)
    try:
        status = os.fstat(descriptor)
        head = read_head(system.read_at(descriptor, META_LIMIT, 0))
        attributes = read_attributes(
            lambda size, offset: system.read_at(descriptor, size, offset),
            head.offset,
            status.st_size,
            head.transfer_syntax_uid,
        )
        received = receipt(head, status.st_mtime_ns // 1_000_000)
        if not head.private and receipts is not None:
            received = receipts(attributes["SOPInstanceUID"]) or received
        return Row(Header(attributes, head.transfer_syntax_uid, *received), relative, status.st_size)
    finally:
        os.close(descriptor)
