"""What only some systems have, in one place with fallbacks: syncing, writing, reading, locks.

Tested on Linux; macOS and Windows by design.
"""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import tempfile
import threading
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

try:
    import pwd as _pwd_module
except ImportError:  # Windows
    _pwd: Any = None
else:
    _pwd = _pwd_module

Buffer = bytes | bytearray | memoryview
BINARY: int = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
TEMPORARY = ".tmp"
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


def replace_file(path: Path, content: bytes, mode: int, like: os.stat_result | None = None) -> None:
    """The file has either its old content or this one, whenever the machine stops. Raises OSError.

    `like` is the file's own status before, where another user's ownership is to be kept (by root only).
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
    try:
        try:
            write_all(descriptor, [content])
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)
            if like is not None and hasattr(os, "fchown"):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            sync_data(descriptor)
        finally:
            os.close(descriptor)
        if os.name == "nt" and not mode & 0o077:
            make_private(Path(name))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """What a killed `replace_file` of this path left; call it only where no other can be at work."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            left.unlink()


def make_private(path: Path) -> None:
    """Only the owner can read or change it: mode 0600, on Windows an access list of the owner alone.

    Raises OSError. The Windows branch was written from the documentation and never run.
    """
    if os.name != "nt":
        path.chmod(0o700 if path.is_dir() else 0o600)
        return
    owner = f"{os.environ.get('USERDOMAIN', '.')}\\{os.environ['USERNAME']}"
    command = ["icacls", str(path), "/inheritance:r", "/grant:r", f"{owner}:F", "/q"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if run.returncode:
        raise OSError(f"icacls could not restrict {path}: {run.stderr.strip()}")


def lower_thread_priority() -> None:
    """The calling thread works only when nobody else wants to: on Linux; elsewhere nothing changes."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def name_of_user(uid: int) -> str:
    """The account's name, else its number."""
    try:
        name: str = _pwd.getpwuid(uid).pw_name
    except (AttributeError, KeyError):
        return f"user {uid}"
    return name
