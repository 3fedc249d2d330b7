"""The accepting selector: one thread takes connections and waits for their A-ASSOCIATE-RQ.

A connection that says nothing costs a file descriptor and a small buffer, no thread and no processor time,
and ends with the ARTIM timer (PS3.8 9.1.5). One that has asked for an association is handed on.

What the acceptor owns is touched by its thread alone: others give it orders, done between two connections.
So a change of settings cuts nothing in two: an association is decided by the old rules or by the new ones.
"""

from __future__ import annotations

import contextlib
import logging
import math
import selectors
import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.errors import ProtocolError
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.system.sockets import BACKLOG, no_delay, quick_ack

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Connections without an association at one time; beyond it the oldest goes."""

Decide = Callable[[socket.socket, Connection, AssociateRequest, str], bytes | None]
"""Takes over an asked-for association (None), or gives the A-ASSOCIATE-RJ to send."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What connections are taken by; replaced whole."""

    artim: float
    """Seconds a connection may stay without asking for an association."""
    maximum_length: int
    decide: Decide
    unheard: Callable[[str, str], None]
    """Told (address, reason) of connections that end without asking for an association."""


class _Waiting:
    """A connection before its association, or after its refusal (Sta2, Sta13)."""

    __slots__ = ("address", "connection", "refused", "since", "sock")

    def __init__(self, sock: socket.socket, address: str, connection: Connection) -> None:
        self.sock, self.address, self.connection = sock, address, connection
        self.since = time.monotonic()
        self.refused = False


class Acceptor:
    """Owns the listening socket and its thread; `retire()` and `close()` return with the port free."""

    def __init__(self, sock: socket.socket, rules: Rules) -> None:
        self._sock: socket.socket | None = sock
        self._rules = rules
        self._waiting: OrderedDict[socket.socket, _Waiting] = OrderedDict()  # by `since`
        self._latest = math.inf
        """When the last one must have asked: set once the listening socket is gone."""
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._lock = threading.Lock()
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="pacskit-accept", daemon=True)

    def start(self) -> None:
        """Raises RuntimeError, with all closed, where the system has no thread left."""
        try:
            self._thread.start()
        except RuntimeError:
            self._end()
            raise

    def change(self, rules: Rules) -> None:
        """Go by other rules, also with connections that are open but have not yet asked for anything."""
        self._order(lambda: setattr(self, "_rules", rules))

    def retire(self, grace: float) -> None:
        """Let go of the port. Who is connected by now has `grace` seconds left to ask for an association."""
        self._order(lambda: self._let_go(grace))

    def close(self) -> None:
        """Let go of the port and of who has not yet an association; the thread has ended on return."""
        self._order(self._close)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Connections without an association, now."""
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def _order(self, order: Callable[[], None]) -> None:
        """Have the thread do it; returns when it is done."""
        if threading.current_thread() is self._thread:
            order()
            return
        done = threading.Event()
        with self._lock:
            if self._ended:
                return
            self._orders.append((order, done))
            self._wake.send(b"x")
        done.wait()

    def _obey(self) -> bool:
        """Do what was ordered; False once nothing is left to wait for."""
        while True:
            with self._lock:
                if not self._orders:
                    self._ended = self._sock is None and not self._waiting
                    return not self._ended
                order, done = self._orders.popleft()
            try:
                order()
            finally:
                done.set()

    def _let_go(self, grace: float) -> None:
        if self._sock is not None:
            if grace:
                self._accept_backlog()
            self._selector.unregister(self._sock)
            self._sock.close()
            self._sock = None
        self._latest = min(self._latest, time.monotonic() + grace)

    def _close(self) -> None:
        self._let_go(0.0)
        for waiting in list(self._waiting.values()):
            self._drop(waiting, "")

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            orders = list(self._orders)
        self._selector.close()
        for sock in (self._sock, self._wake, self._woken, *self._waiting):
            if sock is not None:
                sock.close()
        for _, done in orders:
            done.set()

    def _run(self) -> None:
        try:
            while self._obey():
                self._turn()
        finally:
            self._end()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._until_next_deadline()):
            try:
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif key.fileobj is self._sock:
                    self._accept()
                elif (waiting := self._waiting.get(key.fileobj)) is not None:  # type: ignore[call-overload]
                    self._read(waiting)
            except Exception:  # one connection must not end the thread that serves all
                log.exception("a connection could not be taken")
        self._expire()

    def _deadline(self, waiting: _Waiting) -> float:
        return min(waiting.since + self._rules.artim, self._latest)

    def _until_next_deadline(self) -> float | None:
        for waiting in self._waiting.values():
            return max(0.0, self._deadline(waiting) - time.monotonic())
        return None

    def _expire(self) -> None:
        now = time.monotonic()
        while self._waiting:
            waiting = next(iter(self._waiting.values()))
            if (late := self._deadline(waiting) <= now) and self._latest <= now:
                reason = "had not asked for an association when the service ended"
            elif late:
                reason = f"said nothing for {self._rules.artim:g} s"
            elif len(self._waiting) > MOST_WAITING:
                reason = "too many wait"
            else:
                return
            self._drop(waiting, reason)

    def _accept_backlog(self) -> None:
        """Take whom the kernel has connected already: closing the listening socket would reset them."""
        try:
            for _ in range(BACKLOG):
                if not self._accept():
                    return
        except Exception:
            log.exception("a connection could not be taken")

    def _accept(self) -> bool:
        """Take one connection; False: none is there, or none can be taken."""
        assert self._sock is not None
        try:
            sock, address = self._sock.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:  # out of file descriptors: make room, or the selector would spin
            log.warning("a connection cannot be taken: %s", error)
            if self._waiting:
                self._drop(next(iter(self._waiting.values())), "the computer is out of file descriptors")
            else:
                time.sleep(0.1)
            return False
        sock.setblocking(False)
        no_delay(sock)
        connection = Connection("acceptor", maximum_length=self._rules.maximum_length)
        waiting = _Waiting(sock, address[0], connection)
        self._waiting[sock] = waiting
        self._selector.register(sock, selectors.EVENT_READ)
        self._read(waiting)
        return True

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
            self._rules.unheard(waiting.address, f"did not speak DICOM: {error}")
            return
        except OSError as error:
            self._drop(waiting, f"was lost: {error.strerror or error}")
            return
        if isinstance(event, AssociateRequest):
            self._forget(waiting)
            answer = self._rules.decide(sock, connection, event, waiting.address)
            if answer is not None:
                self._waiting[sock] = waiting
                waiting.since = time.monotonic()
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
            self._rules.unheard(waiting.address, reason)
