"""Connection: one client of a ControlServer. It asks, and is told what happens.

One thread reads and one writes, none of which polls; a question that may take its time gets one of its own.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, Protocol

from pacskit.errors import PacskitError, ServiceError
from pacskit.events import EventBus
from pacskit.services.host import plain, wire
from pacskit.services.host.outbox import Outbox
from pacskit.services.host.places import Place
from pacskit.services.host.wire import Message

log = logging.getLogger(__name__)

HELLO_PATIENCE = 5.0
"""Seconds to say hello."""
AT_ONCE = 8
"""Questions of one client that may be under way: its threads ask independently."""
WORKS = 4
"""Works of one client that may be under way."""
CLOSE_PATIENCE = 1.0
"""Seconds clients get to read the last, when the channel closes."""


class Answers(Protocol):
    """What the station answers by."""

    quick: frozenset[str]
    """Questions answered at once; the others get a thread."""
    changing: frozenset[str]
    """Questions whose answer the new state goes before."""
    works: frozenset[str]
    """Questions that may take hours: they tell how far they are, and can be cancelled."""

    def answer(self, ask: str, arguments: Mapping[str, Any]) -> Any:
        """A JSON value. Raises PacskitError, ValueError, TypeError for the caller, anything for the log."""

    def work(
        self,
        ask: str,
        arguments: Mapping[str, Any],
        tell: Callable[[Any], None],
        cancel: threading.Event,
    ) -> Any:
        """As `answer`; `tell` takes JSON values, any number of them. Ends soon once `cancel` is set."""

    def state(self) -> Mapping[str, Any]: ...
    def clients_changed(self, count: int) -> None:
        """How many follow the station now."""


class Server(Protocol):
    """What a connection needs of its server."""

    events: EventBus
    answers: Answers
    queue: int
    place: Place
    ending: str

    @property
    def clients(self) -> int: ...
    def work(self, run: Callable[[], None]) -> None: ...
    def forget(self, client: Connection) -> None: ...


class Connection:
    """Of a client."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server, self._sock = server, sock
        self.outbox = Outbox(server.events, server.answers.state, server.queue)
        self.follows = False
        self._slots = threading.Semaphore(AT_ONCE)
        self._cancels: dict[int, threading.Event] = {}
        """Question → what cancels its work."""
        self._guard = threading.Lock()
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

    def cancel_all(self) -> None:
        """What it set going ends soon."""
        self._cancel(lambda work: True)

    def _cancel(self, which: Callable[[int], bool]) -> None:
        with self._guard:
            for number, cancel in self._cancels.items():
                if which(number):
                    cancel.set()

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
            self.cancel_all()  # nobody sees it any more, nor could end it
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
        if ask == "cancel":
            self._cancel(lambda work: work == arguments.get("id"))
            self.outbox.put({"id": number, "answer": None})
            return
        if ask in self._server.answers.works:
            self._begin(number, ask, arguments)
            return
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

    def _begin(self, number: int, ask: str, arguments: Mapping[str, Any]) -> None:
        cancel = threading.Event()
        with self._guard:
            if full := len(self._cancels) >= WORKS:
                error = ServiceError(f"{WORKS} works of this process are under way: wait until one has ended")
            else:
                self._cancels[number] = cancel

        def run() -> None:
            try:
                self._answer(number, ask, arguments, cancel)
            finally:
                with self._guard:
                    self._cancels.pop(number, None)

        if full:
            self.outbox.put({"id": number, "error": plain.error(error)})
        else:
            self._server.work(run)

    def _answer(
        self, number: int, ask: str, arguments: Mapping[str, Any], cancel: threading.Event | None = None
    ) -> None:
        answers = self._server.answers
        message: Message = {"id": number}
        try:
            if self._server.ending:
                raise ServiceError(f"the station ends: {self._server.ending}")
            if cancel is None:
                message["answer"] = answers.answer(ask, arguments)
            else:
                tell = partial(self.outbox.progress, number)
                message["answer"] = answers.work(ask, arguments, tell, cancel)
        except (PacskitError, ValueError, TypeError) as error:
            message["error"] = plain.error(error)
        except Exception as error:
            log.exception("the station could not answer %r", ask)
            message["error"] = plain.error(error)
        self.outbox.put(message, state=ask in answers.changing)

    def _write(self) -> None:
        try:
            while messages := self.outbox.take():
                self._sock.sendall(b"".join(map(wire.answer, messages)))
        except OSError:
            pass
        except Exception:
            log.exception("a client of the station can no longer be told anything")
        finally:
            self.outbox.close()
            self._hang_up()
