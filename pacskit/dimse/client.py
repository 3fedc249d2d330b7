"""An association we ask for: C-ECHO and C-STORE as SCU, blocking, in the caller's thread."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pacskit.certificates import Handshakes, PeerRefused
from pacskit.dimse.command import Command, decode, echo_rq, store_rq
from pacskit.dimse.storage_classes import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION, name_of
from pacskit.dimse.tls_stream import stream_of
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.errors import ProtocolError
from pacskit.dimse.upper.negotiation import abort_reason, reject_reason
from pacskit.dimse.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Fragment,
    ProposedContext,
    ReleaseConfirmed,
    Released,
)
from pacskit.errors import AssociationError, AssociationRejected
from pacskit.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacskit.peers import PeerAddress
from pacskit.system.sockets import hang_up, no_delay, quick_ack, send_buffers

Context = tuple[str, tuple[str, ...]]
"""An abstract syntax with the transfer syntaxes proposed for it."""

MOST_CONTEXTS = 128
"""Context IDs are the odd numbers of a byte (PS3.8 9.3.2.2)."""
LONGEST_PDU = 131072
PDUS_A_CALL = 16


@dataclass(frozen=True, slots=True)
class Response:
    """The status of a DIMSE response (PS3.7 C) and its Error Comment."""

    status: int
    comment: str = ""

    @property
    def done(self) -> bool:
        """Success or warning."""
        return self.status == 0 or self.status in (0x0001, 0x0107, 0x0116) or self.status >> 12 == 0xB


class ClientAssociation:
    """`with ClientAssociation(peer, contexts) as association:`; released at the end, aborted on an error."""

    def __init__(
        self,
        peer: PeerAddress,
        contexts: Sequence[Context],
        *,
        calling_ae: str = "PACSKIT",
        timeout: float = 30.0,
        tls: Handshakes | None = None,
    ) -> None:
        """Connect and negotiate, over TLS by the rules of `tls` (`Handshakes.client(...)`).

        Raises AssociationRejected, AssociationError with the reason in words.
        """
        if not 1 <= len(contexts) <= MOST_CONTEXTS:
            raise ValueError(
                f"an association has 1 to {MOST_CONTEXTS} presentation contexts, not {len(contexts)}"
            )
        self.peer, self._timeout, self._tls = peer, timeout, tls
        self._messages = itertools.cycle(range(1, 65536))
        self._connection = Connection("requestor", maximum_length=LONGEST_PDU)
        try:
            self._sock = socket.create_connection((peer.host, peer.port), timeout)
        except OSError as error:
            raise AssociationError(
                f"{peer} cannot be reached: {error.strerror or error}. "
                "Is the address right, is the service on, does a firewall stand between?"
            ) from error
        try:
            no_delay(self._sock)
            if tls is not None:
                self._shake(tls)
            self._stream = stream_of(self._sock, timeout)
            request = AssociateRequest(
                called_ae_title=peer.ae_title,
                calling_ae_title=calling_ae,
                contexts=tuple(
                    ProposedContext(2 * i + 1, abstract, syntaxes)
                    for i, (abstract, syntaxes) in enumerate(contexts)
                ),
                maximum_length=LONGEST_PDU,
                implementation_class_uid=IMPLEMENTATION_CLASS_UID,
                implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            )
            self._send([self._connection.request(request)])
            event = self._next()
        except BaseException:
            self._sock.close()
            raise
        if isinstance(event, AssociateReject):
            self._sock.close()
            why = reject_reason(event.source, event.reason)
            raise AssociationRejected(
                f"{peer} refused the association: {why}", event.result, event.source, event.reason
            )
        if not isinstance(event, AssociateAccept):
            self._sock.close()
            raise AssociationError(f"{peer} answered the request for an association with something else")
        self.accepted: dict[tuple[str, str], int] = {
            (context.abstract_syntax, context.transfer_syntax): number
            for number, context in self._connection.contexts.items()
        }

    def _shake(self, tls: Handshakes) -> None:
        """Go on with TLS. Raises AssociationError."""
        sock = self._sock = tls.wrap(self._sock, self.peer.host)
        try:
            sock.settimeout(self._timeout)
            sock.do_handshake()
            tls.admit(sock)
        except (OSError, PeerRefused) as error:
            raise AssociationError(f"{self.peer}: {tls.explain(error, sock)}") from error

    def echo(self) -> Response:
        """C-ECHO (PS3.7 9.1.5). Raises AssociationError where Verification was not accepted."""
        for (abstract, _), number in self.accepted.items():
            if abstract == VERIFICATION:
                command = echo_rq(next(self._messages))
                self._send([self._connection.fragments(number, command)])
                return self._response()
        raise AssociationError(f"{self.peer} does not accept {name_of(VERIFICATION)}")

    def store(
        self, sop_class: str, sop_instance: str, transfer_syntax: str, data: Iterable[memoryview], length: int
    ) -> Response:
        """C-STORE (PS3.7 9.1.1) of a data set of `length` bytes, given in pieces, in constant memory.

        A piece is sent before the next one is asked for, so the giver may use one buffer for all;
        each but the last is of even length.

        Raises KeyError where no context was accepted for this class and syntax, AssociationError when the
        association is lost.
        """
        number = self.accepted[sop_class, transfer_syntax]
        connection = self._connection
        command = store_rq(next(self._messages), sop_class, sop_instance)
        most = connection.largest_fragment
        buffers: list[bytes | memoryview] = [connection.fragments(number, command)]
        left = length
        for piece in data:
            for start in range(0, len(piece), most):
                fragment = piece[start : start + most]
                left -= len(fragment)
                # A fragment is even (PS3.8 E.1): a deflated data set of odd length is padded (PS3.5 A.5).
                padding = b"\0" if len(fragment) & 1 else b""
                size = len(fragment) + len(padding)
                buffers += connection.pdv_header(number, 0 if left > 0 else 2, size), fragment, padding
                if len(buffers) > 3 * PDUS_A_CALL:
                    self._send(buffers)
                    buffers = []
            if buffers:
                self._send(buffers)
                buffers = []
        if left > 0:
            self.abort()
            raise AssociationError(f"the data set of {sop_instance} is {left} bytes shorter than expected")
        return self._response()

    def release(self) -> None:
        """A-RELEASE (PS3.8 7.2) and close."""
        try:
            self._send([self._connection.release()])
            while not isinstance(event := self._next(), ReleaseConfirmed):
                if isinstance(event, Released):  # both asked at once (PS3.8 7.2.2)
                    self._send([self._connection.confirm_release()])
        except AssociationError:
            pass  # the peer has gone: the association is over, which is what was wanted
        finally:
            hang_up(self._sock)

    def abort(self) -> None:
        """A-ABORT (PS3.8 7.3) and close."""
        with contextlib.suppress(OSError):
            self._stream.sendall(self._connection.abort(0, 0))
        hang_up(self._sock)

    def __enter__(self) -> ClientAssociation:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def _response(self) -> Response:
        received = bytearray()
        while True:
            event = self._next()
            if not isinstance(event, Fragment):
                raise AssociationError(f"{self.peer} sent something else than a response")
            received += event.data
            if event.is_last:
                command: Command = decode(bytes(received))
                return Response(command.status or 0, command.error_comment)

    def _send(self, buffers: list[bytes | memoryview]) -> None:
        try:
            send_buffers(self._stream, buffers)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> AssociationError:
        if isinstance(error.__cause__, ssl.SSLError):
            error = error.__cause__
        if self._tls is not None and isinstance(error, ssl.SSLError | ConnectionResetError):
            # with TLS 1.3 a server refuses our certificate when the handshake is over for us
            return AssociationError(f"{self.peer}: {self._tls.explain(error)}")
        return AssociationError(f"the association with {self.peer} was lost: {error.strerror or str(error)}")

    def _next(self) -> object:
        connection = self._connection
        try:
            while (event := connection.next_event()) is None:
                count = self._stream.recv_into(connection.get_buffer())
                if not count:
                    raise AssociationError(f"{self.peer} closed the connection")
                quick_ack(self._sock)
                connection.buffer_updated(count)
        except (BlockingIOError, TimeoutError) as error:
            raise AssociationError(f"{self.peer} did not answer for {self._timeout:g} s") from error
        except OSError as error:
            raise self._lost(error) from error
        except ProtocolError as error:
            self.abort()
            raise AssociationError(f"{self.peer} does not keep to DICOM: {error}") from error
        if isinstance(event, Abort):
            why = abort_reason(event.source, event.reason)
            raise AssociationError(f"{self.peer} ended the association: {why}")
        return event


def echo(
    peer: PeerAddress,
    *,
    calling_ae: str = "PACSKIT",
    timeout: float = 30.0,
    tls: Handshakes | None = None,
) -> Response:
    """One association with one C-ECHO."""
    contexts: list[Context] = [(VERIFICATION, (EXPLICIT_LE, IMPLICIT_LE))]
    with ClientAssociation(peer, contexts, calling_ae=calling_ae, timeout=timeout, tls=tls) as association:
        return association.echo()
