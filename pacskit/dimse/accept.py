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
import ssl
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from pacskit.certificates import Handshakes
from pacskit.dimse.secured import Secured
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.errors import ProtocolError
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.dimse.waiting import NOT_YET, NotAdmitted, Waiting
from pacskit.system.sockets import BACKLOG, close_notify, no_delay, shut

log = logging.getLogger(__name__)

HOLDS_UP = 0.5
"""Seconds one connection may keep the thread busy; then it is cut. A flood of TLS 1.3's KeyUpdate keeps
OpenSSL in one and the same read."""
A_MINUTE = 60.0
"""How often it is told that no descriptor is left."""

Decide = Callable[[socket.socket, Connection, AssociateRequest, str, Secured | None], bytes | None]
"""Takes over an asked-for association (None), or gives the A-ASSOCIATE-RJ to send."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What connections are taken by; replaced whole."""

    artim: float
    """Seconds a connection may stay without asking for an association, the handshake of TLS included."""
    most_waiting: int
    """Connections without an association at one time; beyond it the oldest goes."""
    maximum_length: int
    decide: Decide
    unheard: Callable[[str, str], None]
    """Told (address, reason) of connections that end without asking for an association."""
    handshakes: Handshakes | None = None
    """With TLS, by these."""


class Acceptor:
    """Owns the listening socket and its thread; `retire()` and `close()` return with the port free."""

    def __init__(self, sock: socket.socket, rules: Rules) -> None:
        self._sock: socket.socket | None = sock
        self._rules = rules
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()  # by `since`
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
        self._reading: tuple[socket.socket, float] | None = None
        """What the thread reads now, and since when."""
        self._all_done = threading.Event()
        self._told_full = -math.inf

    def start(self) -> None:
        """Raises RuntimeError, with all closed, where the system has no thread left."""
        try:
            self._thread.start()
            if self._rules.handshakes is not None:
                threading.Thread(target=self._guard, name="pacskit-guard", daemon=True).start()
        except RuntimeError:
            if self._thread.ident is None:
                self._end()
            else:
                self.close()
            raise

    def change(self, rules: Rules, still: Callable[[], bool] = lambda: True) -> None:
        """Go by other rules, also with connections that are open but have not yet asked for anything.

        `still`: asked in the thread whether that is still wanted.
        """
        self._order(lambda: setattr(self, "_rules", rules) if still() else None)

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
        for waiting in list(self._waiting):
            self._drop(waiting, "")

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            orders = list(self._orders)
        self._selector.close()
        for sock in (self._sock, self._wake, self._woken, *(waiting.sock for waiting in self._waiting)):
            if sock is not None:
                sock.close()
        for _, done in orders:
            done.set()

    def _run(self) -> None:
        try:
            while self._obey():
                self._turn()
        finally:
            self._all_done.set()
            self._end()

    def _guard(self) -> None:
        """Cut off whoever holds the thread up, so that others and `close()` get their turn."""
        while not self._all_done.wait(HOLDS_UP / 2):
            if (reading := self._reading) is not None and time.monotonic() > reading[1] + HOLDS_UP:
                shut(reading[0], socket.SHUT_RDWR)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._until_next_deadline()):
            try:
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif key.fileobj is self._sock:
                    self._accept()
                elif key.data in self._waiting:
                    self._read(key.data)
            except Exception:  # one connection must not end the thread that serves all, nor come again
                log.exception("a connection could not be taken")
                if key.data in self._waiting:
                    self._drop(key.data, "was cut off by a fault of pacskit: the log says more")
        self._expire()

    def _deadline(self, waiting: Waiting) -> float:
        return min(waiting.since + self._rules.artim, self._latest)

    def _until_next_deadline(self) -> float | None:
        for waiting in self._waiting:
            return max(0.0, self._deadline(waiting) - time.monotonic())
        return None

    def _expire(self) -> None:
        now = time.monotonic()
        while self._waiting:
            waiting = next(iter(self._waiting))
            if (late := self._deadline(waiting) <= now) and self._latest <= now:
                reason = "had not asked for an association when the service ended"
            elif late and waiting.shaking:
                reason = f"did not finish the handshake of TLS within {self._rules.artim:g} s"
            elif late:
                reason = f"said nothing for {self._rules.artim:g} s"
            elif len(self._waiting) > self._rules.most_waiting:
                reason = "was the oldest of too many that had not asked for an association"
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
            if time.monotonic() > self._told_full + A_MINUTE:
                self._told_full = time.monotonic()
                log.warning("a connection cannot be taken: %s (told once a minute)", error)
            if self._waiting:
                self._drop(next(iter(self._waiting)), "the computer is out of file descriptors")
            else:
                time.sleep(0.1)
            return False
        sock.setblocking(False)
        no_delay(sock)
        connection = Connection("acceptor", maximum_length=self._rules.maximum_length)
        waiting = Waiting(sock, address[0], connection, self._rules.handshakes)
        self._keep(waiting)
        self._read(waiting)
        return True

    def _keep(self, waiting: Waiting) -> None:
        self._waiting[waiting] = None
        self._selector.register(waiting.number, selectors.EVENT_READ, waiting)

    def _read(self, waiting: Waiting) -> None:
        try:
            if waiting.refused:  # Sta13: whatever still comes is thrown away until the peer closes
                if not socket.socket.recv(waiting.sock, 65536):  # what is beneath TLS
                    self._drop(waiting, "")
                return
            if waiting.handshakes is not None and not waiting.begun:
                waiting.handshakes = self._rules.handshakes  # the newest, for who has only connected so far
            self._reading = (waiting.sock, time.monotonic())
            try:
                event = waiting.advance()
            finally:
                self._reading = None
        except NOT_YET as error:
            if waiting.handshakes is not None:
                wants_write = isinstance(error, ssl.SSLWantWriteError)
                wanted = selectors.EVENT_WRITE if wants_write else selectors.EVENT_READ
                self._selector.modify(waiting.number, wanted, waiting)
            return
        except ProtocolError as error:
            self._refuse(waiting, waiting.connection.abort(2, error.reason))
            self._rules.unheard(waiting.address, f"did not speak DICOM: {error}")
            return
        except NotAdmitted as error:
            self._refuse(waiting, b"")  # OpenSSL has sent its alert
            self._rules.unheard(waiting.address, str(error))
            return
        except OSError as error:
            self._drop(waiting, waiting.why(error))
            return
        if isinstance(event, AssociateRequest) and not self._still_holds(waiting):
            self._refuse(waiting, b"")
            reason = "shook hands by rules that have changed meanwhile: it has to begin again"
            self._rules.unheard(waiting.address, reason)
        elif isinstance(event, AssociateRequest):
            self._forget(waiting)
            connection, secured = waiting.connection, waiting.secured
            answer = self._rules.decide(waiting.sock, connection, event, waiting.address, secured)
            if answer is not None:
                waiting.since = time.monotonic()
                self._keep(waiting)
                self._refuse(waiting, answer)
        elif event is None:
            self._drop(waiting, "closed the connection without asking for an association")
        else:
            self._drop(waiting, "ended before it asked for an association")

    def _still_holds(self, waiting: Waiting) -> bool:
        """Whether who is trusted, and what is taken, is as it was at the handshake."""
        before, now = waiting.handshakes, self._rules.handshakes
        return before is None or now is None or before.judges_as(now)

    def _refuse(self, waiting: Waiting, answer: bytes) -> None:
        waiting.refused = True
        if answer:
            with contextlib.suppress(OSError):
                waiting.sock.send(answer)
            close_notify(waiting.sock)
        waiting.undress()
        shut(waiting.sock, socket.SHUT_WR)

    def _forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting, None)
        self._selector.unregister(waiting.number)

    def _drop(self, waiting: Waiting, reason: str) -> None:
        self._forget(waiting)
        waiting.sock.close()
        if reason and not waiting.refused:
            self._rules.unheard(waiting.address, reason)
