"""ControlServer: the owner's end of the channel. Clients of the same user ask, and are told what happens."""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pacskit.errors import ServiceError
from pacskit.events import EventBus
from pacskit.services.host.connection import CLOSE_PATIENCE, Answers, Connection
from pacskit.services.host.outbox import QUEUE
from pacskit.services.host.places import Place, socket_paths
from pacskit.system import local

log = logging.getLogger(__name__)

MOST = 32
"""Clients at one time."""
WORK_PATIENCE = 15.0
"""Seconds a cancelled work may take to end, when the channel ends: the archive closes then."""


class ControlServer:
    """One thread takes clients; each has one that reads and one that writes, none of which polls."""

    def __init__(
        self, folder: Path, events: EventBus, answers: Answers, pid: int, queue: int = QUEUE
    ) -> None:
        """Listens, and says where in control.json; the caller holds the archive's lock.

        Raises ServiceError.
        """
        self.folder, self.events, self.answers, self.queue = folder, events, answers, queue
        self.ending = ""
        """Why it ends soon; nothing is answered any more."""
        self._lock = threading.Lock()
        self._clients: set[Connection] = set()
        self._works: set[threading.Thread] = set()
        self._closed = False
        self._ears, self._mouth = socket.socketpair()
        sock: socket.socket | None = None
        try:
            sock, address = local.listen(socket_paths(folder))
            self.place = Place(address, secrets.token_hex(16), pid, socket.gethostname())
            self.place.write(folder)
        except OSError as error:
            for opened in (sock, self._ears, self._mouth):
                if opened is not None:
                    opened.close()
            raise ServiceError(f"the station in {folder} cannot be reached by others: {error}") from error
        self._sock = sock
        sock.setblocking(False)
        self._thread = threading.Thread(target=self._accept, name="pacskit-control", daemon=True)
        self._thread.start()

    @property
    def clients(self) -> int:
        """How many follow the station."""
        with self._lock:
            return sum(client.follows for client in self._clients)

    def end(self, reason: str) -> None:
        """Take and answer nothing more, say why, end what is under way. Safe to call twice."""
        if self.ending:
            return
        self.ending = reason
        with contextlib.suppress(OSError):
            Place(self.place.address, "", self.place.pid, self.place.host, True).write(self.folder)
        self._mouth.send(b"!")
        self._thread.join()
        self._sock.close()
        if self.place.address.startswith("unix:"):
            Path(self.place.address.removeprefix("unix:")).unlink(missing_ok=True)
        for client in self._all():
            client.outbox.put({"ending": reason})
            client.cancel_all()
        until = time.monotonic() + WORK_PATIENCE
        with self._lock:
            works = list(self._works)
        for work in works:
            work.join(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """The connections end; to clients that means that the archive is free. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.end("the station was closed")
        until = time.monotonic() + CLOSE_PATIENCE
        for client in self._all():
            client.close(max(0.0, until - time.monotonic()))
        self._ears.close()
        self._mouth.close()

    def _all(self) -> list[Connection]:
        with self._lock:
            return list(self._clients)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._sock, self._ears):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._ears in ready:
                    return
                try:
                    self._take(self._sock.accept()[0])
                except BlockingIOError:
                    continue
                except (OSError, RuntimeError) as error:  # no descriptor, no thread left: some will be later
                    log.warning("a client of the station was not taken: %s", error)
                    self._ears.settimeout(0.5)
                    with contextlib.suppress(TimeoutError):
                        self._ears.recv(1)
                        return
                    self._ears.settimeout(None)

    def _take(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        with self._lock:
            full = len(self._clients) >= MOST
        if full or local.is_stranger(sock):
            log.warning("a client of the station was refused: %s", "too many" if full else "another user")
            sock.close()
            return
        client = Connection(self, sock)
        with self._lock:
            self._clients.add(client)
        try:
            client.start()
        except RuntimeError:
            self.forget(client)
            sock.close()
            raise

    def work(self, run: Callable[[], None]) -> None:
        """In a thread that the end waits for. Raises RuntimeError where the system has no thread left."""

        def all_of_it() -> None:
            try:
                run()
            finally:
                with self._lock:
                    self._works.discard(thread)

        thread = threading.Thread(target=all_of_it, name="pacskit-work", daemon=True)
        with self._lock:
            thread.start()
            self._works.add(thread)

    def forget(self, client: Connection) -> None:
        with self._lock:
            self._clients.discard(client)
        if client.follows:
            self.answers.clients_changed(self.clients)
