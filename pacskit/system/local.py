"""Sockets that only this computer's user reaches, and who is at the other end; else its loopback.

And open files and sockets handed from one process to another, where the system can.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from pacskit.system.files import make_private

LONGEST_PATH = 100
"""Bytes: Linux takes 107, macOS 103."""
_FAMILY = getattr(socket, "AF_UNIX", None)
_SEND_FDS = getattr(socket, "send_fds", None)
_RECV_FDS = getattr(socket, "recv_fds", None)
_CREDENTIALS = getattr(socket, "SO_PEERCRED", None)


def listen(paths: Iterable[Path]) -> tuple[socket.socket, str]:
    """A listening socket and its address, at the first of `paths` that can have one.

    Else, or where there are no Unix sockets, on a port of this computer alone. Raises OSError.
    """
    for path in paths if _FAMILY is not None else ():
        if len(os.fsencode(path)) <= LONGEST_PATH:
            with contextlib.suppress(OSError):
                return _at(path), f"unix:{path}"
    sock = socket.create_server(("127.0.0.1", 0))
    return sock, f"tcp:{sock.getsockname()[1]}"


def _at(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "geteuid") and path.parent.stat().st_uid != os.geteuid():
        raise PermissionError("the folder is somebody else's")
    path.unlink(missing_ok=True)  # left by an owner that was killed: whoever calls holds the archive's lock
    assert _FAMILY is not None
    sock = socket.socket(_FAMILY, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(path))
        make_private(path)  # before anybody could connect
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(address: str, patience: float) -> socket.socket:
    """Raises OSError where nobody listens, ValueError for what is no address."""
    kind, _, where = address.partition(":")
    if kind == "tcp" and where.isdigit() and int(where) <= 0xFFFF:
        return socket.create_connection(("127.0.0.1", int(where)), patience)
    if kind != "unix" or _FAMILY is None or not where or "\0" in where:
        raise ValueError(f"{address!r} is no address of a control channel")
    sock = socket.socket(_FAMILY, socket.SOCK_STREAM)
    try:
        sock.settimeout(patience)
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def is_stranger(sock: socket.socket) -> bool:
    """Whether the process at the other end is known to belong to another user; root may do all."""
    if _CREDENTIALS is None or sock.family != _FAMILY:
        return False  # then the socket's folder, its mode and the secret have to do
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, _CREDENTIALS, struct.calcsize("3i")))
    return uid not in (0, os.geteuid())


def can_hand_over() -> bool:
    """Whether open files and sockets can be handed to another process: not on Windows."""
    return _FAMILY is not None and _SEND_FDS is not None and _RECV_FDS is not None


def hand_over(sock: socket.socket, message: bytes, descriptors: Sequence[int]) -> bool:
    """Send a message, and open files with it (they stay open here).

    False where it does not go out whole: the other end is not there, or takes nothing for too long.
    """
    try:
        if descriptors:
            assert _SEND_FDS is not None
            message = message[_SEND_FDS(sock, [message], list(descriptors)) :]
        sock.sendall(message)
    except OSError:
        return False
    return True


def pair(patience: float) -> tuple[socket.socket, socket.socket]:
    """Two ends that block; what cannot be sent from the first one within `patience` seconds fails."""
    assert _FAMILY is not None
    ours, theirs = socket.socketpair(_FAMILY, socket.SOCK_STREAM)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(patience), 0))
    return ours, theirs


def take_over(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """At most `size` bytes of a message, and the open files that came with them. Raises OSError."""
    assert _RECV_FDS is not None
    data, descriptors, _, _ = _RECV_FDS(sock, size, most)
    return data, descriptors
