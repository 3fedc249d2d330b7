"""An established association we accepted: a thread of its own, blocking reads, no polling."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacskit.dimse.command import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    Command,
    decode,
    echo_rsp,
    unsupported_rsp,
)
from pacskit.dimse.receive import Begin, Counters, StoreReceiver
from pacskit.dimse.secured import Secured
from pacskit.dimse.tls_stream import TlsStream, stream_of
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.errors import ProtocolError
from pacskit.dimse.upper.negotiation import abort_reason
from pacskit.dimse.upper.pdu import Abort, AssociateRequest, Fragment, Released
from pacskit.system.sockets import hang_up, quick_ack, shut

log = logging.getLogger(__name__)

LONGEST_COMMAND = 1 << 16
"""Bytes of a command set; the longest of the standard are a few hundred."""
CUT_PATIENCE = 2.0
"""Seconds an association gets to end once its connection is cut."""


@dataclass(frozen=True, slots=True)
class AssociationInfo:
    """One association as it stands now."""

    id: int
    calling: str
    called: str
    address: str
    since: float
    """Unix time in seconds."""
    stored: int
    refused: int
    bytes: int
    tls: str = ""
    """Version and cipher suite; empty: an open connection."""
    identity: str = ""
    """The subject of the peer's certificate, where it was verified."""
    fingerprint: str = ""
    """SHA-256 of that certificate, with colons."""


class Served(ABC):
    """What a listener knows of an association, whoever serves it: a thread here, or another process."""

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        ended: Callable[[Served, str, str], None],
        timeout: float,
        secured: Secured | None = None,
    ) -> None:
        """`ended(association, how, reason)` is called last, from the association's thread."""
        self.number, self.request, self.address = number, request, address
        self.secured = secured
        self.since = time.time()
        self.counters = Counters()
        self._sock, self._connection = sock, connection
        self._ended, self._timeout = ended, timeout
        self._thread = threading.Thread(target=self._run, name=f"pacskit-association-{number}", daemon=True)

    def info(self) -> AssociationInfo:
        c = self.counters
        return AssociationInfo(
            self.number,
            self.request.calling_ae_title,
            self.request.called_ae_title,
            self.address,
            self.since,
            c.stored,
            c.refused,
            c.bytes,
            *_told(self.secured),
        )

    @abstractmethod
    def start(self, answer: bytes) -> None:
        """Send the A-ASSOCIATE-AC and serve."""

    @abstractmethod
    def stop(self) -> None:
        """End it: the peer gets an A-ABORT after the answer that is being written."""

    def join(self, timeout: float) -> None:
        """Wait for the end; a peer that does not read its answers is cut off after `timeout` seconds."""
        self._thread.join(timeout)
        for force in self._forces():
            if not self._thread.is_alive():
                return
            force()
            self._thread.join(CUT_PATIENCE)
        if self._thread.is_alive():  # a network drive whose server has gone: no call to it can be ended
            log.error("association %d waits for the archive's disk, which hangs: left behind", self.number)

    @abstractmethod
    def _run(self) -> None:
        """Serve; in a thread of its own."""

    @abstractmethod
    def _forces(self) -> Sequence[Callable[[], object]]:
        """What ends it where it does not end by itself, one after the other."""


def _told(secured: Secured | None) -> tuple[str, ...]:
    """`tls`, `identity` and `fingerprint` of an AssociationInfo."""
    return (str(secured), secured.identity, secured.fingerprint) if secured is not None else ()


class Association(Served):
    """Serves one association until it is released, aborted, lost, silent too long, or stopped."""

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        *,
        begin: Begin,
        refused: Callable[[str, int, str], None],
        ended: Callable[[Served, str, str], None],
        timeout: float,
        largest: int = 0,
        secured: Secured | None = None,
    ) -> None:
        """`largest`: bytes of an instance that is taken, 0 for any."""
        super().__init__(number, sock, connection, request, address, ended, timeout, secured)
        self._store = StoreReceiver(begin, refused, self.counters, largest)
        self._command = bytearray()
        self._stream: socket.socket | TlsStream = sock
        """What is read and written; one that does not block yet."""
        self._skipping = False
        self._message_context = 0
        self._stopping = False
        self._answered = b""
        self._acknowledged = False
        """Whether an answer has gone out since the last receive: it took the acknowledgement along."""

    def start(self, answer: bytes) -> None:
        self._answered = answer
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no thread left: this one goes, the service stays
            self._send_last(self._connection.abort(2, 0))
            hang_up(self._sock)
            self._ended(self, "fault", str(error))

    def stop(self) -> None:
        self._stopping = True
        shut(self._sock, socket.SHUT_RD)

    def _forces(self) -> Sequence[Callable[[], object]]:
        return (self.cut,)

    def cut(self) -> None:
        """Whatever the peer does: nothing more is read or sent."""
        shut(self._sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        how, reason = "lost", ""
        try:
            self._stream = stream_of(self._sock, self._timeout)
            self._stream.sendall(self._answered)
            how, reason = self._serve()
        except ProtocolError as error:
            how, reason = "protocol error", str(error)
            self._send_last(self._connection.abort(2, error.reason))
        except (BlockingIOError, TimeoutError):
            how, reason = "timeout", f"silent for {self._timeout:g} s"
            self._send_last(self._connection.abort(2, 0))
        except OSError as error:
            how, reason = "lost", error.strerror or str(error)
        except Exception as error:  # the fault is ours: tell the peer, keep the service
            log.exception("association %d ended by a fault of pacskit", self.number)
            how, reason = "fault", f"{type(error).__name__}: {error}"
            self._send_last(self._connection.abort(2, 0))
        finally:
            self._store.close()
            hang_up(self._sock)
            self._ended(self, how, reason)

    def _serve(self) -> tuple[str, str]:
        sock, connection, store = self._sock, self._connection, self._store
        receive_into = self._stream.recv_into
        while True:
            while (event := connection.next_event()) is not None:
                kind = type(event)
                if kind is Fragment:
                    self._fragment(event)  # type: ignore[arg-type]
                elif kind is Released:
                    self._send_last(connection.confirm_release())
                    return "released", ""
                elif isinstance(event, Abort):
                    return "aborted", abort_reason(event.source, event.reason)
            if not self._acknowledged:
                quick_ack(sock)
            store.flush()
            if self._stopping:
                self._send_last(connection.abort(0, 0))
                return "stopped", ""
            count = receive_into(connection.get_buffer())
            if not count:
                if self._stopping:
                    continue
                connection.closed_by_transport()
                return "lost", "the peer closed the connection without releasing the association"
            self._acknowledged = False
            connection.buffer_updated(count)

    def _fragment(self, fragment: Fragment) -> None:
        if self._command or self._store.active or self._skipping:  # a message has one context (PS3.8 E.1)
            if fragment.context_id != self._message_context:
                raise ProtocolError(6, "a message was continued in another presentation context")
        else:
            self._message_context = fragment.context_id
        if not fragment.is_command:
            if self._store.active:
                self._store.data(fragment.data)
                if fragment.is_last:
                    self._answer(fragment.context_id, self._store.finish())
                    self._store.answered()
            elif self._skipping:
                self._skipping = not fragment.is_last
            else:
                raise ProtocolError(6, "a data set came without a command before it")
            return
        if self._store.active or self._skipping:
            raise ProtocolError(6, "a command came in the middle of a data set")
        if len(self._command) + len(fragment.data) > LONGEST_COMMAND:
            raise ProtocolError(6, f"a command set of more than {LONGEST_COMMAND} bytes")
        self._command += fragment.data
        if fragment.is_last:
            command = decode(bytes(self._command))
            self._command.clear()
            self._dispatch(fragment.context_id, command)

    def _dispatch(self, context_id: int, command: Command) -> None:
        context = self._connection.contexts[context_id]
        if command.command_field == C_STORE_RQ and command.has_data_set:
            self._store.start(command, context.abstract_syntax, context.transfer_syntax)
        elif command.command_field == C_ECHO_RQ:
            self._skipping = command.has_data_set
            self._answer(context_id, echo_rsp(command))
        elif command.command_field == C_CANCEL_RQ:
            return  # nothing that could be cancelled: what it meant has been answered (PS3.7 9.3.2.3)
        else:
            self._skipping = command.has_data_set
            self._answer(context_id, unsupported_rsp(command))

    def _answer(self, context_id: int, command_set: bytes) -> None:
        self._stream.sendall(self._connection.fragments(context_id, command_set))
        self._acknowledged = True

    def _send_last(self, pdu: bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.sendall(pdu)
