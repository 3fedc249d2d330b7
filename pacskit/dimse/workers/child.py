"""The worker: serves the associations it is handed, until the owner of the archive closes its end or dies.

It decides nothing and keeps nothing: where the owner is gone, nobody may be told "stored" any more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from functools import partial
from typing import Any, NoReturn

from pacskit.archive.remote import Outpost
from pacskit.dimse.association import Association, Served
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.contexts import AcceptedContext
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.dimse.upper.state import State
from pacskit.dimse.workers import wire
from pacskit.services.host import plain
from pacskit.services.host.log import PrivateFormatter

log = logging.getLogger(__name__)


class OwnerGone(Exception):
    """No answer will come; no OSError, which would be taken for one of the disk."""


class Channel:
    """What one association asks the owner."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def ask(self, *question: Any) -> Any:
        """Raises PacskitError as the owner did, OwnerGone."""
        try:
            self._sock.sendall(wire.pack(*question))
            answer = wire.receive(self._sock)
        except OSError as error:
            raise OwnerGone("the owner of the archive is gone") from error
        if answer is None:
            raise OwnerGone("the owner of the archive is gone")
        done, value = answer
        if not done:
            raise plain.error_of(value)
        return value

    def end(self, how: str, reason: str) -> None:
        try:
            self._sock.sendall(wire.pack("ended", how, reason))
        except OSError:
            pass  # the owner notices by itself, or is gone
        finally:
            self._sock.close()


class Worker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._associations: dict[int, Association] = {}
        self._telling = threading.Lock()

    def tell(self, *message: Any) -> None:
        """Raises OSError."""
        with self._telling:
            self._control.sendall(wire.pack(*message))

    def run(self) -> None:
        """Until the owner's end."""
        self.tell("ready")
        while (found := wire.receive_with(self._control)) is not None:
            (what, number, *values), descriptors = found
            if what == "serve":
                sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
                try:
                    self._serve(sockets, number, *values)
                except Exception:  # also where no descriptor was left for the sockets
                    log.exception("association %d cannot be served", number)
                    for sock in sockets:
                        sock.close()
            elif (association := self._associations.get(number)) is not None:
                association.stop() if what == "stop" else association.cut()

    def _serve(
        self,
        sockets: list[socket.socket],
        number: int,
        established: wire.Message,
        titles: tuple[str, str],
        address: str,
        answer: bytes,
        timeout: float,
        largest: int,
        boot: wire.Message,
    ) -> None:
        peer, theirs = sockets
        channel = Channel(theirs)
        calling, called = titles
        association = Association(
            number,
            peer,
            taken_over(*established),
            AssociateRequest(
                calling_ae_title=calling,
                called_ae_title=called,
                contexts=(),
                implementation_class_uid="",
                implementation_version_name="",
            ),
            address,
            begin=Outpost(boot, channel.ask).begin,
            refused=partial(channel.ask, "refused"),
            ended=lambda association, how, reason: self._ended(association, channel, how, reason),
            timeout=timeout,
            largest=largest,
        )
        self._associations[number] = association
        association.start(answer)

    def _ended(self, association: Served, channel: Channel, how: str, reason: str) -> None:
        self._associations.pop(association.number, None)
        channel.end(how, reason)


def established(connection: Connection) -> wire.Message:
    """What another process makes the connection again of, once its association is established."""
    contexts = [(c.id, c.abstract_syntax, c.transfer_syntax) for c in connection.contexts.values()]
    return contexts, connection.maximum_length, connection.peer_maximum_length, connection.unread


def taken_over(
    contexts: list[tuple[int, str, str]], maximum_length: int, peer_maximum_length: int, unread: bytes
) -> Connection:
    connection = Connection("acceptor", maximum_length=maximum_length)
    connection.state = State.Sta6
    connection.contexts = {number: AcceptedContext(number, *syntaxes) for number, *syntaxes in contexts}
    connection.peer_maximum_length = peer_maximum_length
    while unread:
        room = connection.get_buffer()
        piece = unread[: len(room)]
        room[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        unread = unread[len(piece) :]
    return connection


class _ToOwner(logging.Handler):
    """The owner's log has what happens here."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(logging.INFO)
        self._worker = worker
        self.setFormatter(PrivateFormatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the owner is gone, and so are we at once
            self._worker.tell("log", record.name, record.levelno, self.format(record))


def main(descriptor: int) -> NoReturn:
    """`descriptor`: our end of the control socket."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # meant for the owner, who ends us in good order
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    worker = Worker(socket.socket(fileno=descriptor))
    logging.basicConfig(level=logging.INFO, handlers=[_ToOwner(worker)])
    logging.captureWarnings(True)
    try:
        worker.run()
    except OSError:
        pass
    except BaseException:
        log.exception("a worker ends by a fault of pacskit")
        os._exit(1)
    os._exit(0)  # at once: threads may be in the middle of something, and nobody waits for it
