"""Who owns an archive: a lock the system takes back when the process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from pacskit import system
from pacskit.archive.files import FILE_MODE, LOCK, cannot_write
from pacskit.errors import ArchiveError, ArchiveOwned


class OwnerLock:
    """Held from construction to `release()`. The file stays: deleting it would let two owners in."""

    def __init__(self, folder: Path) -> None:
        """Raises ArchiveOwned naming the owner's process and computer, ArchiveError."""
        path = folder / LOCK
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | system.BINARY, FILE_MODE)
        except OSError as error:
            raise ArchiveError(cannot_write(folder, error)) from error
        try:
            if not system.try_lock(self._descriptor):
                raise ArchiveOwned(
                    f"the archive {folder} is in use by {self._owner()}: "
                    "close it there, or read it with pacskit.open()"
                )
            content = {"pid": os.getpid(), "host": socket.gethostname(), "since": round(time.time())}
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, json.dumps(content).encode() + b"\n")
        except OSError as error:
            os.close(self._descriptor)
            raise ArchiveError(cannot_write(folder, error)) from error
        except ArchiveOwned:
            os.close(self._descriptor)
            raise

    def _owner(self) -> str:
        try:
            content = json.loads(system.read_at(self._descriptor, 4096, 0))
            pid, host = int(content["pid"]), str(content["host"])
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
        where = "" if host == socket.gethostname() else f" on {host}"
        return f"this process (pid {pid})" if pid == os.getpid() and not where else f"process {pid}{where}"

    def release(self) -> None:
        if self._descriptor >= 0:
            system.unlock(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
