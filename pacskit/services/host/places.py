"""Where a station's channel, log and locks are: beside its archive.

control.json   how to reach the owner, for its user alone (mode 0600)      control.sock   the channel
start.lock     held while a background station is being started            log/           its log
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pacskit import system
from pacskit.archive.files import FILE_MODE, FOLDER_MODE, LOCK, cannot_write
from pacskit.errors import ArchiveError, ServiceError
from pacskit.settings.places import default_folder

CONTROL, SOCKET, STARTING = "control.json", "control.sock", "start.lock"
LOG_FOLDER, LOG, ERRORS = "log", "station.log", "start.err"
LONGEST = 1 << 16
START_PATIENCE = 300.0
"""Seconds for a background station to start: after a power cut it reads what came last again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an owner is reached, as control.json says."""

    address: str
    secret: str
    pid: int
    host: str
    closing: bool = False

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        system.replace_file(folder / CONTROL, json.dumps(asdict(self)).encode() + b"\n", FILE_MODE)


def find(folder: Path) -> Place | None:
    """Where the archive's owner says it is reached; None without one, or one on another computer.

    It may have been killed since: whether it is there, connecting tells.
    """
    try:
        with (folder / CONTROL).open("rb") as stream:
            data = json.loads(stream.read(LONGEST))
        place = Place(
            str(data["address"]),
            str(data["secret"]),
            int(data["pid"]),
            str(data["host"]),
            bool(data["closing"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return place if place.host == socket.gethostname() and place.pid == owner(folder) else None


def owner(folder: Path) -> int:
    """The process that has, or had, the archive's lock; 0 where that cannot be read."""
    try:
        with (folder / LOCK).open("rb") as stream:
            return int(json.loads(stream.read(LONGEST))["pid"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0


def socket_paths(folder: Path) -> list[Path]:
    """Where the channel's socket may be: in the archive, else (a long path, a network drive) elsewhere."""
    name = hashlib.sha256(f"{socket.gethostname()}\0{folder}".encode(errors="surrogateescape")).hexdigest()
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    return [
        folder / SOCKET,
        Path(default_folder()) / "run" / f"{name[:16]}.sock",
        Path(tempfile.gettempdir()) / f"pacskit-{user}" / f"{name[:16]}.sock",
    ]


def log_folder(folder: Path) -> Path:
    """Made where it is missing. Raises ArchiveError."""
    found = folder / LOG_FOLDER
    try:
        found.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(cannot_write(folder, error)) from error
    return found


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[None]:
    """One at a time starts a background station for an archive; the others wait. Raises ServiceError."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(folder / STARTING, os.O_RDWR | os.O_CREAT | system.BINARY, FILE_MODE)
    except OSError as error:
        raise ArchiveError(cannot_write(folder, error)) from error
    try:
        deadline, pause = time.monotonic() + START_PATIENCE, threading.Event()
        while not system.try_lock(descriptor):  # one that waits could not be interrupted
            if time.monotonic() > deadline:
                raise ServiceError(f"another process has been starting a station for {folder} for too long")
            pause.wait(0.02)
        try:
            yield
        finally:
            system.unlock(descriptor)
    finally:
        os.close(descriptor)
