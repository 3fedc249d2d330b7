"""An association that a worker serves, as the owner sees it: it answers what the worker asks, and counts."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence

from pacskit.archive.remote import Entrance
from pacskit.dimse.association import Served
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.dimse.workers import wire
from pacskit.dimse.workers.child import established
from pacskit.dimse.workers.pool import Workers
from pacskit.dimse.workers.process import SEND_PATIENCE, Worker
from pacskit.errors import PacskitError
from pacskit.services.host import plain
from pacskit.system import local

log = logging.getLogger(__name__)


class RemoteAssociation(Served):
    """As an Association."""

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        *,
        workers: Workers,
        worker: Worker,
        entrance: Entrance,
        refused: Callable[[str, int, str], None],
        ended: Callable[[Served, str, str], None],
        timeout: float,
        largest: int = 0,
    ) -> None:
        super().__init__(number, sock, connection, request, address, ended, timeout)
        self.workers, self.worker = workers, worker
        self._entrance, self._refused, self._largest = entrance, refused, largest
        self._channel: socket.socket | None = None

    def start(self, answer: bytes) -> None:
        """Hand it to the worker, who sends the A-ASSOCIATE-AC and serves."""
        request = self.request
        try:
            self._channel, theirs = local.pair(SEND_PATIENCE)
            with theirs, self._sock:
                handed = self.worker.tell(
                    "serve",
                    self.number,
                    established(self._connection),
                    (request.calling_ae_title, request.called_ae_title),
                    self.address,
                    answer,
                    self._timeout,
                    self._largest,
                    self._entrance.boot,
                    sockets=(self._sock, theirs),
                )
            if not handed:
                self._end("fault", "its process has ended")
                return
            self._thread.start()
        except (RuntimeError, OSError) as error:  # no thread or descriptor left: this one goes
            self._sock.close()
            self._end("fault", str(error))

    def stop(self) -> None:
        """End it: the peer gets an A-ABORT after the answer that is being written."""
        self.worker.tell("stop", self.number)

    def join(self, timeout: float) -> None:
        """As Association.join; a worker that does not cut the peer off is ended."""
        super().join(timeout)
        if self.worker.closing:
            self.worker.wait()

    def _forces(self) -> Sequence[Callable[[], object]]:
        return (lambda: self.worker.tell("cut", self.number), self.worker.kill)

    def _run(self) -> None:
        how, reason = "fault", "the process that served it ended"
        try:
            how, reason = self._serve() or (how, reason)
        except OSError:
            pass
        except Exception as error:
            log.exception("association %d ended by a fault of pacskit", self.number)
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._end(how, reason)

    def _end(self, how: str, reason: str) -> None:
        if self._channel is not None:
            self._channel.close()
        self._entrance.close()
        self._ended(self, how, reason)
        self.workers.ended(self.worker)

    def _serve(self) -> tuple[str, str] | None:
        """How it ended and why; None where the worker did."""
        channel, entrance, counters = self._channel, self._entrance, self.counters
        assert channel is not None
        while (message := wire.receive(channel)) is not None:
            what, *values = message
            if what == "ended":
                how, reason = values
                return how, reason
            stored = None
            try:
                if what == "place":
                    stored = entrance.place(*values)
                    counters.stored += 1
                    counters.bytes += stored.bytes
                elif what == "room":
                    entrance.room()
                else:
                    counters.refused += 1
                    self._refused(*values)
                answer = wire.pack(True, stored and tuple(stored))
            except PacskitError as error:
                answer = wire.pack(False, plain.error(error))
            except Exception as error:
                log.exception("an instance of association %d could not be stored", self.number)
                answer = wire.pack(False, plain.error(error))
            channel.sendall(answer)
            if stored is not None:
                entrance.tell(stored)
        return None
