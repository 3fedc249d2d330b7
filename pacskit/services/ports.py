"""TCP ports: who holds one, which one is free, which one `port = "auto"` had the last time."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from pacskit.system import replace_file

log = logging.getLogger(__name__)

LOWEST, HIGHEST = 1024, 65535
NEXT = 50
"""Ports above the wanted one that are tried before the system is asked for any."""
GIVEN = 20
"""Ports taken from the system at once, of which some may be among those to avoid."""
PATIENCE = 0.15
"""Seconds for asking one process after the other."""
LONGEST = 1 << 16
"""Bytes of a memory of ports; a longer file is none."""

# psutil's own, what it lets through from a hardened /proc, and what it was seen to raise on odd systems.
_UNKNOWN = (psutil.Error, OSError, RuntimeError, ValueError, LookupError, SystemError)
_EXCLUSIVE: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
# Some systems let a socket have a port on all addresses beside another's on a single one.
_COVERED = {"": ("127.0.0.1",), "0.0.0.0": ("127.0.0.1",), "::": ("127.0.0.1", "::1")}


def holder_of(port: int) -> str:
    """Who listens on this TCP port, as words for a sentence; '' where it cannot be known. Never raises."""
    own = os.getpid()
    try:
        # Asked first: a forked child has the same socket, and the system may name either.
        if _listens(psutil.Process(own).net_connections("tcp"), port):
            return f"this notebook's own process (pid {own})"
    except _UNKNOWN:
        pass
    try:
        found = _listens(psutil.net_connections("tcp"), port)
    except _UNKNOWN:  # macOS tells the whole table to root only, each process of one's own to its user
        return next((_process(pid) for pid in _one_by_one(port)), "")
    pids = [connection.pid for connection in found if connection.pid]
    if pids:
        return _process(pids[0])
    return "a program of another user" if found else ""


def _listens(connections: Collection[Any], port: int) -> list[Any]:
    return [
        connection
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
    ]


def _one_by_one(port: int) -> Iterator[int]:
    until = time.monotonic() + PATIENCE
    try:
        newest_first = reversed(psutil.pids())  # those of the system, which tell nothing, are the oldest
    except _UNKNOWN:
        return
    for pid in newest_first:
        if time.monotonic() > until:
            return
        try:
            if _listens(psutil.Process(pid).net_connections("tcp"), port):
                yield pid
        except _UNKNOWN:
            continue


def _process(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        name = "".join(character for character in process.name() if character.isprintable())
    except _UNKNOWN:
        return f"process {pid}"
    try:
        notebook = any("ipykernel" in argument for argument in process.cmdline())
    except _UNKNOWN:
        notebook = False
    return f"process {pid} ({name}, another notebook)" if notebook else f"process {pid} ({name})"


def free_port(host: str, start: int, avoid: Collection[int] = ()) -> int:
    """A port free on `host` now: one of those just above `start`, else one the system gives; 0 if none.

    Another program may take it before it is used. 0 as well where `host` is not of this computer.
    """
    try:
        _bound(host, 0).close()
    except (OSError, ValueError, TypeError):  # the last two: no name of a computer at all
        return 0
    first = max(start + 1, LOWEST)
    for port in range(first, min(first + NEXT, HIGHEST + 1)):
        if port not in avoid and _is_free(host, port):
            return port
    with ExitStack() as held:  # kept until the end, so that each one given is another
        for _ in range(GIVEN):
            try:
                sock = held.enter_context(_bound(host, 0))
            except OSError:
                continue
            given: int = sock.getsockname()[1]
            if given not in avoid:
                return given
    return 0


def _is_free(host: str, port: int) -> bool:
    for place in (host, *_COVERED.get(host, ())):
        try:
            _bound(place, port).close()
        except OSError as error:
            if place == host or error.errno == errno.EADDRINUSE:
                return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has the port for itself. Raises OSError.

    Stricter than `system.sockets.listen`: without SO_REUSEADDR, which would take a port that another has
    bound and does not yet listen on. One in TIME_WAIT is passed over too, there are others.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if _EXCLUSIVE is not None:
            sock.setsockopt(socket.SOL_SOCKET, _EXCLUSIVE, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


class PortMemory:
    """The ports chosen for `port = "auto"`, in a small JSON file: {"listener": 11113}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()

    def recall(self, section: str) -> int:
        """The port this section had, 0 where that is not known."""
        port = self._read().get(section)
        # A bool is an int for Python, not for JSON.
        return port if type(port) is int and 1 <= port <= HIGHEST else 0

    def remember(self, section: str, port: int) -> None:
        """Keep it for the next time. A failure is logged: not remembering is no reason not to run."""
        if not 1 <= port <= HIGHEST:
            return
        with self._writing:
            ports = self._read()
            if ports.get(section) == port:
                return
            content = json.dumps({**ports, section: port}, indent=1) + "\n"
            try:
                replace_file(self.path, content.encode("ascii"), 0o600)
            except (OSError, ValueError) as error:
                log.warning("port %d of %s is not remembered: %s: %s", port, section, self.path, error)

    def _read(self) -> dict[str, Any]:
        try:
            if not self.path.is_file():  # a pipe would be waited for
                return {}
            with self.path.open("rb") as file:
                content = file.read(LONGEST + 1)
            found = json.loads(content) if len(content) <= LONGEST else None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
