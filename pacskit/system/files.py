"""Files: syncing, writing, reading, renaming, locks and permissions, with the next best where one lacks."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import subprocess
import sys
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

try:
    import grp as _grp_module
except ImportError:  # Windows
    _grp: Any = None
else:
    _grp = _grp_module

Buffer = bytes | bytearray | memoryview
BINARY: int = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
TEMPORARY = ".tmp"
GATHER = 512
"""Buffers handed to one writev: below every system's IOV_MAX (1024 on Linux)."""
CLOSE_TO_RENAME = os.name == "nt"
"""Whether a file has to be closed before it is renamed."""
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_renameat2: Any = None
if sys.platform == "linux":
    with contextlib.suppress(OSError, AttributeError):  # a C library from before 2018
        _renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        _renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
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
    gathered = getattr(os, "writev", None)
    if len(buffers) > GATHER:
        pieces = range(0, len(buffers), GATHER)
        return sum(write_all(descriptor, buffers[start : start + GATHER]) for start in pieces)
    total = sum(map(len, buffers))
    done = gathered(descriptor, buffers) if gathered is not None else 0
    if done == total:
        return total
    for piece in buffers:
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


def rename_new(source: str, target: str) -> None:
    """Rename a file to where nothing is yet, in one step where the system can. Raises FileExistsError."""
    if _renameat2 is not None:
        if not _renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE):
            return
        error = ctypes.get_errno()
        if error not in (errno.EINVAL, errno.ENOSYS):  # these: the file system cannot do it
            raise OSError(error, os.strerror(error), source, None, target)
    if os.path.exists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), source, None, target)
    os.rename(source, target)


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


def group_number(group: str) -> int:
    """The number of a group, which is given by its name or number. Raises KeyError for an unknown name.

    Raises OSError where files have no groups.
    """
    if _grp is None:
        raise OSError(errno.ENOTSUP, "files have no groups of users on this system")
    if group.isascii() and group.isdigit():
        return int(group)
    number: int = _grp.getgrnam(group).gr_gid
    return number


def name_of_group(gid: int) -> str:
    """The group's name, else its number."""
    try:
        name: str = _grp.getgrgid(gid).gr_name
    except (AttributeError, KeyError):
        return str(gid)
    return name
