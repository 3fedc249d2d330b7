"""ControlServer: the owner's end of the channel. Clients of the same user ask, and are told what happens."""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pacskit.errors import PacskitError, ServiceError
from pacskit.events import EventBus
from pacskit.services.host import plain, system, wire
from pacskit.services.host.outbox import QUEUE, Outbox
from pacskit.services.host.places import Place, socket_paths
from pacskit.services.host.wire import Message

log = logging.getLogger(__name__)

MOST = 32
"""Clients at one time."""
HELLO_PATIENCE = 5.0
"""Seconds to say hello."""
AT_ONCE = 8
"""Questions of one client that may be under way: its threads ask independently."""
CLOSE_PATIENCE = 1.0
"""Seconds clients get to read the last, when the channel closes."""


class Answers(Protocol):
    """What the station answers by."""

    quick: frozenset[str]
    """Questions answered at once; the others get a thread."""
    changing: frozenset[str]
    """Questions whose answer the new state goes before."""

    def answer(self, ask: str, arguments: Mapping[str, Any]) -> Any:
        """A JSON value. Raises PacskitError, ValueError, TypeError for the caller, anything for the log."""

    def state(self) -> Mapping[str, Any]: ...
    def clients_changed(self, count: int) -> None:
        """How many follow the station now."""


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
        self._clients: set[_Client] = set()
        self._closed = False
        self._ears, self._mouth = socket.socketpair()
        sock: socket.socket | None = None
        try:
            sock, address = system.listen(socket_paths(folder))
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
        """Take and answer nothing more, and say why. Safe to call twice."""
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

    def _all(self) -> list[_Client]:
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
        if full or system.is_stranger(sock):
            log.warning("a client of the station was refused: %s", "too many" if full else "another user")
            sock.close()
            return
        client = _Client(self, sock)
        with self._lock:
            self._clients.add(client)
        try:
            client.start()
        except RuntimeError:
            self.forget(client)
            sock.close()
            raise

    def forget(self, client: _Client) -> None:
        with self._lock:
            self._clients.discard(client)
        if client.follows:
            self.answers.clients_changed(self.clients)


class _Client:
    """One connection."""

    def __init__(self, server: ControlServer, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self.outbox = Outbox(server.events, server.answers.state, server.queue)
        self.follows = False
        self._slots = threading.Semaphore(AT_ONCE)
        self._reader = threading.Thread(target=self._read, name="pacskit-client", daemon=True)
        self._writer = threading.Thread(target=self._write, name="pacskit-client", daemon=True)

    def start(self) -> None:
        self._reader.start()

    def close(self, patience: float) -> None:
        """What waits is sent, as far as that is done within `patience` seconds."""
        self.outbox.close()
        if self._writer.is_alive():
            self._writer.join(patience)
        self._hang_up()
        if threading.current_thread() not in (self._reader, self._writer):
            self._reader.join(CLOSE_PATIENCE)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            with self._sock.makefile("rb") as stream:
                if self._welcome(stream):
                    self._writer.start()
                    while (message := wire.read(stream, wire.LONGEST_REQUEST)) is not None:
                        self._asked(message)
        except (wire.BadMessage, OSError, RuntimeError, PacskitError) as error:
            log.info("a client of the station was sent away: %s", error)
        finally:
            self.outbox.close()
            self._hang_up()
            if self._writer.ident is not None:
                self._writer.join()
            self._sock.close()
            self._server.forget(self)

    def _welcome(self, stream: BinaryIO) -> bool:
        """Whether it may ask. Raises BadMessage, OSError."""
        self._sock.settimeout(HELLO_PATIENCE)
        message = wire.read(stream, wire.LONGEST_HELLO)
        if message is None:
            return False
        hello = message.get("hello")
        secret = hello.get("secret") if isinstance(hello, dict) else None
        if not isinstance(hello, dict) or not isinstance(secret, str):
            raise wire.BadMessage("it said no hello")
        if not hmac.compare_digest(secret.encode(errors="replace"), self._server.place.secret.encode()):
            raise wire.BadMessage("it does not know the secret")
        self._sock.settimeout(None)
        about = {**self._server.answers.answer("about", {}), "protocol": wire.PROTOCOL}
        self._sock.sendall(wire.encode({"welcome": about}))
        if hello.get("follow") is True:
            if hello.get("protocol") != wire.PROTOCOL:
                raise wire.BadMessage("it speaks another version of the protocol")
            self.follows = True
            self.outbox.follow()
            self._server.answers.clients_changed(self._server.clients)
        return True

    def _asked(self, message: Message) -> None:
        number, ask, arguments = message.get("id"), message.get("ask"), message.get("with", {})
        if type(number) is not int or not isinstance(ask, str) or not isinstance(arguments, dict):
            raise wire.BadMessage("a message is no question")
        if ask in self._server.answers.quick:
            self._answer(number, ask, arguments)
            return
        self._slots.acquire()  # who asks more at once waits to be read
        try:
            threading.Thread(
                target=self._answer_and_free,
                args=(number, ask, arguments),
                name="pacskit-answer",
                daemon=True,
            ).start()
        except RuntimeError:
            self._answer_and_free(number, ask, arguments)

    def _answer_and_free(self, number: int, ask: str, arguments: Mapping[str, Any]) -> None:
        try:
            self._answer(number, ask, arguments)
        finally:
            self._slots.release()

    def _answer(self, number: int, ask: str, arguments: Mapping[str, Any]) -> None:
        answers = self._server.answers
        message: Message = {"id": number}
        try:
            if self._server.ending:
                raise ServiceError(f"the station ends: {self._server.ending}")
            message["answer"] = answers.answer(ask, arguments)
        except (PacskitError, ValueError, TypeError) as error:
            message["error"] = plain.error(error)
        except Exception as error:
            log.exception("the station could not answer %r", ask)
            message["error"] = plain.error(error)
        self.outbox.put(message, state=ask in answers.changing)

    def _write(self) -> None:
        try:
            while messages := self.outbox.take():
                self._sock.sendall(b"".join(map(wire.encode, messages)))
        except OSError:
            pass
        except Exception:
            log.exception("a client of the station can no longer be told anything")
        finally:
            self.outbox.close()
            self._hang_up()
