"""What only some systems have, in one place with fallbacks: syncing, writing, reading, locks.

Tested on Linux; macOS and Windows by design.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import fcntl as _fcntl_module
except ImportError:  # Windows
    _fcntl: Any = None
else:
    _fcntl = _fcntl_module
try:
    import msvcrt as _msvcrt_module
except ImportError:  # everywhere else
    _msvcrt: Any = None
else:
    _msvcrt = _msvcrt_module

Buffer = bytes | bytearray | memoryview
BINARY: int = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
GATHER = 512
"""Buffers handed to one writev: below every system's IOV_MAX (1024 on Linux)."""
LOCK_AT = 1 << 30
"""Windows locks bytes, and a locked byte cannot be read: one far behind the lock file's content."""


def sync_data(descriptor: int) -> None:
    """The file's bytes and length are on the disk when this returns."""
    full = getattr(_fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync leaves the data in the drive's cache
        try:
            _fcntl.fcntl(descriptor, full)
        except OSError:  # a file system that has none
            os.fsync(descriptor)
        return
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_folder(folder: Path | str) -> None:
    """The names in a folder are on the disk when this returns; nothing where a folder cannot be opened."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, buffers: Sequence[Buffer]) -> int:
    """Write every byte of every buffer; returns how many. Raises OSError (ENOSPC, EFBIG, ...)."""
    total = 0
    gathered = getattr(os, "writev", None)
    for start in range(0, len(buffers), GATHER):
        pieces = list(buffers[start : start + GATHER])
        size = sum(len(piece) for piece in pieces)
        done = gathered(descriptor, pieces) if gathered is not None else 0
        total += size
        if done == size:
            continue
        for piece in pieces:
            if done >= len(piece):
                done -= len(piece)
                continue
            rest = memoryview(piece)[done:]
            done = 0
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    return total


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Overwrite a few bytes at `offset`. Raises OSError."""
    positioned = getattr(os, "pwrite", None)
    if positioned is not None:
        positioned(descriptor, data, offset)
        return
    os.lseek(descriptor, offset, os.SEEK_SET)
    os.write(descriptor, data)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """At most `size` bytes from `offset`; fewer only at the file's end."""
    positioned = getattr(os, "pread", None)
    if positioned is not None:
        result: bytes = positioned(descriptor, size, offset)
        return result
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


def try_lock(descriptor: int) -> bool:
    """Take the file for this open descriptor alone; False where another has it. Ends with the process."""
    try:
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        elif _msvcrt is not None:
            os.lseek(descriptor, LOCK_AT, os.SEEK_SET)
            _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_UN)
        elif _msvcrt is not None:
            os.lseek(descriptor, LOCK_AT, os.SEEK_SET)
            _msvcrt.locking(descriptor, _msvcrt.LK_UNLCK, 1)
