"""The accepting selector: one thread takes connections and waits for their A-ASSOCIATE-RQ.

A connection that says nothing costs a file descriptor and a small buffer, no thread and no processor time,
and ends with the ARTIM timer (PS3.8 9.1.5). One that has asked for an association is handed on.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from pacskit.dimse.system import no_delay, quick_ack
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.errors import ProtocolError
from pacskit.dimse.upper.pdu import AssociateRequest

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Connections without an association at one time; beyond it the oldest goes."""

Decide = Callable[[socket.socket, Connection, AssociateRequest, str], bytes | None]
"""Takes over an asked-for association (None), or gives the A-ASSOCIATE-RJ to send."""


class _Waiting:
    """A connection before its association, or after its refusal (Sta2, Sta13)."""

    __slots__ = ("address", "connection", "deadline", "refused", "sock")

    def __init__(self, sock: socket.socket, address: str, connection: Connection, deadline: float) -> None:
        self.sock, self.address, self.connection, self.deadline = sock, address, connection, deadline
        self.refused = False


class Acceptor:
    """Owns the listening socket and its thread; `close()` returns with the port free."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        artim: float,
        maximum_length: int,
        decide: Decide,
        unheard: Callable[[str, str], None],
    ) -> None:
        """`unheard(address, reason)` is told of connections that end without asking for an association."""
        self._sock, self._artim, self._maximum_length = sock, artim, maximum_length
        self._decide, self._unheard = decide, unheard
        self._waiting: OrderedDict[socket.socket, _Waiting] = OrderedDict()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="pacskit-accept", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        for sock in (self._sock, self._wake, self._woken, *self._waiting):
            sock.close()
        self._waiting.clear()

    @property
    def waiting(self) -> int:
        """Connections without an association, now."""
        return len(self._waiting)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._until_next_deadline()):
                if key.fileobj is self._woken:
                    return
                try:
                    if key.fileobj is self._sock:
                        self._accept()
                    elif (waiting := self._waiting.get(key.fileobj)) is not None:  # type: ignore[call-overload]
                        self._read(waiting)
                except Exception:  # one connection must not end the thread that serves all
                    log.exception("a connection could not be taken")
            self._expire()

    def _until_next_deadline(self) -> float | None:
        for waiting in self._waiting.values():
            return max(0.0, waiting.deadline - time.monotonic())
        return None

    def _expire(self) -> None:
        now = time.monotonic()
        while self._waiting:
            waiting = next(iter(self._waiting.values()))
            if waiting.deadline > now and len(self._waiting) <= MOST_WAITING:
                return
            reason = f"said nothing for {self._artim:g} s" if waiting.deadline <= now else "too many wait"
            self._drop(waiting, reason)

    def _accept(self) -> None:
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of file descriptors: make room, or the selector would spin
            log.warning("a connection cannot be taken: %s", error)
            if self._waiting:
                self._drop(next(iter(self._waiting.values())), "the computer is out of file descriptors")
            else:
                time.sleep(0.1)
            return
        sock.setblocking(False)
        no_delay(sock)
        connection = Connection("acceptor", maximum_length=self._maximum_length)
        waiting = _Waiting(sock, address[0], connection, time.monotonic() + self._artim)
        self._waiting[sock] = waiting
        self._selector.register(sock, selectors.EVENT_READ)
        self._read(waiting)

    def _read(self, waiting: _Waiting) -> None:
        sock, connection = waiting.sock, waiting.connection
        try:
            if waiting.refused:  # Sta13: whatever still comes is thrown away until the peer closes
                if not sock.recv(65536):
                    self._drop(waiting, "")
                return
            count = sock.recv_into(connection.get_buffer())
            if not count:
                self._drop(waiting, "closed the connection without asking for an association")
                return
            quick_ack(sock)
            connection.buffer_updated(count)
            event = connection.next_event()
        except BlockingIOError:
            return
        except ProtocolError as error:
            self._refuse(waiting, connection.abort(2, error.reason))
            self._unheard(waiting.address, f"did not speak DICOM: {error}")
            return
        except OSError as error:
            self._drop(waiting, f"was lost: {error.strerror or error}")
            return
        if isinstance(event, AssociateRequest):
            self._forget(waiting)
            answer = self._decide(sock, connection, event, waiting.address)
            if answer is not None:
                self._waiting[sock] = waiting
                waiting.deadline = time.monotonic() + self._artim
                self._selector.register(sock, selectors.EVENT_READ)
                self._refuse(waiting, answer)
        elif event is not None:
            self._drop(waiting, "ended before it asked for an association")

    def _refuse(self, waiting: _Waiting, answer: bytes) -> None:
        waiting.refused = True
        with contextlib.suppress(OSError):
            waiting.sock.send(answer)
            waiting.sock.shutdown(socket.SHUT_WR)

    def _forget(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting.sock, None)
        self._selector.unregister(waiting.sock)

    def _drop(self, waiting: _Waiting, reason: str) -> None:
        self._forget(waiting)
        waiting.sock.close()
        if reason and not waiting.refused:
            self._unheard(waiting.address, reason)
