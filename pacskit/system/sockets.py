"""Sockets of the network: exclusive ports, acknowledgements at once, timeouts, gathering sends."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import sys
from typing import Protocol

TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
SO_EXCLUSIVEADDRUSE: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
BACKLOG = 1024
"""Connections the system keeps for us until we take them."""


class Stream(Protocol):
    """What a socket may be hidden behind."""

    def sendall(self, data: bytes) -> None: ...


def listen(host: str, port: int, backlog: int = BACKLOG) -> socket.socket:
    """A listening socket that shares its port with nobody, and does not block. Raises OSError at once.

    SO_REUSEADDR lets a restarted kernel take its port from connections in TIME_WAIT; on Windows the
    same name would let two programs share a port, so the exclusive option is set there instead.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if SO_EXCLUSIVEADDRUSE is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def no_delay(sock: socket.socket) -> None:
    """Send small PDUs at once (Nagle off)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def quick_ack(sock: socket.socket) -> None:
    """Acknowledge what just came at once; the kernel forgets it, so it is armed again after each receive
    that no answer follows (an answer takes the acknowledgement along).

    A stock sender (Nagle on) holds its last small segment until the one before is acknowledged, and the
    delayed acknowledgement comes after 40 ms: 18 instead of 500 instances per second.
    """
    if TCP_QUICKACK is None:
        return
    try:  # noqa: SIM105 - suppress() costs as much as the call
        sock.setsockopt(socket.IPPROTO_TCP, TCP_QUICKACK, 1)
    except OSError:
        pass


def receive_timeout(sock: socket.socket, seconds: float) -> None:
    """Let a blocking `recv_into` fail after this silence (BlockingIOError or TimeoutError).

    SO_RCVTIMEO does it in the one system call; `settimeout` would poll before each.
    """
    if sys.platform == "win32":
        sock.settimeout(seconds)
        return
    sock.settimeout(None)
    value = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def wait_for(sock: socket.socket, seconds: float, *, writing: bool) -> bool:
    """Whether the socket could be read or written within that time."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if writing else select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    readers, writers = ([], [sock]) if writing else ([sock], [])
    return any(select.select(readers, writers, writers, seconds))  # Windows: any number of a socket


def shut(sock: socket.socket, how: int) -> None:
    """End one or both directions, while another thread may be reading: TLS, if any, is left as it is."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)


def hang_up(sock: socket.socket) -> None:
    """Close it; with TLS after a close_notify."""
    close_notify(sock)
    sock.close()


def close_notify(sock: socket.socket) -> None:
    """With TLS, say that nothing more comes (RFC 8446 6.1); nobody waits for the answer."""
    if isinstance(sock, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            sock.setblocking(False)
            sock.unwrap()


def send_buffers(sock: socket.socket | Stream, buffers: list[bytes | memoryview]) -> None:
    """Send them all, in one system call where the system has gathering writes."""
    if not isinstance(sock, socket.socket) or not hasattr(sock, "sendmsg"):
        sock.sendall(b"".join(buffers))
        return
    left = buffers
    while left:
        sent = sock.sendmsg(left)
        done = 0
        while done < len(left) and sent >= len(left[done]):
            sent -= len(left[done])
            done += 1
        left = left[done:]
        if sent and left:
            left[0] = memoryview(left[0])[sent:]
