"""What goes between the owner and a worker: plain values, one message after the other, on Unix sockets.

control, one for each worker
    owner:   ("serve", number, ...) with the peer's socket and the worker's end of the association's channel,
             ("stop", number), ("cut", number); its end is the worker's end
    worker:  ("ready",), ("log", name, level, text)
channel, one for each association
    worker:  ("place", ...), ("room",), ("refused", UID, status, reason), each answered;
             last ("ended", how, reason)
    owner:   (True, value) or (False, an error of services/host/plain.py)

marshal is fast, runs nothing of what it reads, and both ends are one version of Python.
"""

from __future__ import annotations

import marshal
import socket
import struct
from typing import Any

from pacskit.system import local

_LENGTH = struct.Struct("=L")
_PIECE = 1 << 14
_SOCKETS = 2
"""That come with a message."""

Message = tuple[Any, ...]


def pack(*message: Any) -> bytes:
    data = marshal.dumps(message)
    return _LENGTH.pack(len(data)) + data


def receive(sock: socket.socket) -> Message | None:
    """The next message; None at the end. Raises OSError. The next is not sent before this one is answered."""
    data = sock.recv(_PIECE)
    if len(data) < 4:
        data += _exactly(sock, 4 - len(data)) if data else b""
        if len(data) < 4:
            return None
    missing = 4 + _LENGTH.unpack_from(data)[0] - len(data)
    if missing:
        rest = _exactly(sock, missing)
        if len(rest) < missing:
            return None
        data += rest
    found: Message = marshal.loads(memoryview(data)[4:])
    return found


def receive_with(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next of several messages, and the open files that came with it; None at the end. Raises OSError."""
    head, descriptors = local.take_over(sock, 4, _SOCKETS)
    if head:
        head += _exactly(sock, 4 - len(head))
    if len(head) < 4:
        return None
    size = _LENGTH.unpack(head)[0]
    data = _exactly(sock, size)
    return (marshal.loads(data), descriptors) if len(data) == size else None


def _exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    pieces = []
    while size and (piece := sock.recv(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
