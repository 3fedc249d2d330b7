"""One transport connection with its association, without I/O: bytes in, events out, bytes to send returned.

    while (event := connection.next_event()) is None:
        connection.buffer_updated(sock.recv_into(connection.get_buffer()))

The state machine of PS3.8 decides what may come (`state.TABLE_9_10`). Memory is bounded: what is collected
whole is never longer than `buffer_size`; data comes out in pieces, as it arrived, without being copied.
"""

from __future__ import annotations

import struct
from typing import Literal

from pacskit.dimse.upper import contexts as presentation
from pacskit.dimse.upper.contexts import AcceptedContext, ProposedContext
from pacskit.dimse.upper.errors import (
    INVALID_PARAMETER_VALUE,
    UNEXPECTED_PARAMETER,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    ProtocolError,
    StateError,
)
from pacskit.dimse.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Fragment,
    ReleaseConfirmed,
    Released,
    decode_accept,
    decode_request,
)
from pacskit.dimse.upper.state import Action, Event, State, transition

AnyEvent = (
    AssociateRequest | AssociateAccept | AssociateReject | Fragment | Released | ReleaseConfirmed | Abort
)
"""What `next_event` gives."""

SMALL_BUFFER = 16384
"""Bytes a connection starts with, so that silent ones cost little."""
SMALLEST_MAXIMUM_LENGTH = 8
"""A P-DATA-TF below it cannot carry two bytes behind the 6 of the PDV's header."""

_PDU = struct.Struct(">BxL").unpack_from
_PDV = struct.Struct(">LBB").unpack_from
_P_DATA_HEADER = struct.Struct(">BxLLBB").pack
_RECEIVED = {1: Event.Evt6, 2: Event.Evt3, 3: Event.Evt4, 5: Event.Evt12, 6: Event.Evt13, 7: Event.Evt16}
_NAMES = {
    1: "A-ASSOCIATE-RQ",
    2: "A-ASSOCIATE-AC",
    3: "A-ASSOCIATE-RJ",
    4: "P-DATA-TF",
    5: "A-RELEASE-RQ",
    6: "A-RELEASE-RP",
    7: "A-ABORT",
}

_SPOKEN = {
    0x16: "the peer speaks TLS, it has to call the Secure DICOM Listener's port",
    **dict.fromkeys(b"GP", "the peer speaks HTTP, as a web browser does"),
}
"""By the first byte of what came instead of a PDU."""


class Connection:
    """The upper layer of one connection that is open, as its acceptor or its requestor.

    `contexts` are those accepted, by ID; `peer_maximum_length` is the most the peer takes in the
    variable field of one P-DATA-TF (bytes, 0 for no limit); `maximum_length` is ours.
    """

    def __init__(
        self,
        role: Literal["acceptor", "requestor"],
        *,
        maximum_length: int = 131072,
        buffer_size: int = 1 << 20,
    ) -> None:
        """`buffer_size`: bytes the receive buffer may grow to, and the longest A-ASSOCIATE PDU read."""
        self.state = State.Sta1
        self.contexts: dict[int, AcceptedContext] = {}
        self.maximum_length, self.peer_maximum_length = maximum_length, 0
        self._requestor = role == "requestor"
        self._proposed: dict[int, ProposedContext] = {}
        self._most = max(buffer_size, SMALL_BUFFER)
        self._buffer = bytearray(SMALL_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._pdu_left = self._pdv_left = self._skip = 0
        self._context_id = self._control = 0
        self._abort_owed = self._unreadable = False
        self._pass(Event.Evt1 if self._requestor else Event.Evt5)

    # Bytes in

    def get_buffer(self) -> memoryview:
        """Where to receive into, never empty. Ends the validity of the data of earlier fragments."""
        start, end, size = self._start, self._end, len(self._buffer)
        if end == size and size < self._most:  # filled to the brim: more would have come
            self._grow(min(8 * size, self._most))
        elif start == end:
            pass
        elif start:
            self._view[: end - start] = self._view[start:end]
        self._start, self._end = 0, end - start
        return self._view[end - start :]

    def _grow(self, size: int) -> None:
        buffer = bytearray(size)
        buffer[: self._end - self._start] = self._view[self._start : self._end]
        self._buffer, self._view = buffer, memoryview(buffer)

    def buffer_updated(self, count: int) -> None:
        """`count` bytes were received into what `get_buffer` gave."""
        self._end += count

    def next_event(self) -> AnyEvent | None:
        """The next event, or None: more bytes are needed.

        Raises ProtocolError where the peer breaks the protocol; `abort(2, error.reason)` then gives the
        A-ABORT to send, and whatever else arrives is thrown away.
        """
        while True:
            start = self._start
            available = self._end - start
            if self._pdv_left:
                if not available:
                    return None
                take = available if available < self._pdv_left else self._pdv_left
                self._start = start + take
                self._pdv_left -= take
                self._pdu_left -= take
                control = self._control
                last = control & 2 != 0 and not self._pdv_left
                return Fragment(self._context_id, control & 1 != 0, last, self._view[start : start + take])
            if self._pdu_left:
                if available < 6 <= self._pdu_left:
                    return None
                self._begin_pdv(start)
                if not self._pdv_left:
                    control = self._control
                    return Fragment(self._context_id, control & 1 != 0, control & 2 != 0, self._view[:0])
                continue
            if self._skip or self._unreadable or self.state is State.Sta1:
                take = min(available, self._skip) if self._skip else available
                self._start += take
                self._skip -= take if self._skip else 0
                if self._start == self._end:
                    return None
                continue
            if available < 6:
                return None
            kind, length = _PDU(self._buffer, start)
            if kind == 4:
                self._begin_p_data(length)
                continue
            event = self._pdu(kind, length, available)
            if event is not None or self._start == start:
                return event

    def _begin_p_data(self, length: int) -> None:
        if self.state is not State.Sta6:
            action = self._expect(4, Event.Evt10)
            if action is Action.AA_6:
                self._start += 6
                self._skip = length
                return
        if 0 < self.maximum_length < length:
            raise self._invalid(
                f"a P-DATA-TF of {length} bytes, {self.maximum_length} are the most that was agreed"
            )
        if length < 6:
            raise self._invalid(f"a P-DATA-TF of {length} bytes, too short for a presentation data value")
        self._start += 6
        self._pdu_left = length

    def _begin_pdv(self, start: int) -> None:
        if self._pdu_left < 6:
            raise self._invalid(f"{self._pdu_left} bytes are left over at the end of a P-DATA-TF")
        length, self._context_id, self._control = _PDV(self._buffer, start)
        if not 2 <= length <= self._pdu_left - 4:
            raise self._invalid(
                f"a presentation data value claims {length} bytes, its PDU has {self._pdu_left - 4} left"
            )
        if self._context_id not in self.contexts:
            number = self._context_id
            raise self._fail(UNEXPECTED_PARAMETER, f"presentation context {number} was not accepted")
        self._start = start + 6
        self._pdu_left -= 6
        self._pdv_left = length - 2

    def _pdu(self, kind: int, length: int, available: int) -> AnyEvent | None:
        """A PDU that is read whole. None: it has not arrived yet, or will be skipped."""
        if kind not in _RECEIVED:
            spoken = _SPOKEN.get(kind, "does the peer speak DICOM?")
            raise self._fail(UNRECOGNIZED_PDU, f"{kind:02X}H is no type of PDU: {spoken}")
        action = self._expect(kind, _RECEIVED[kind])
        if action is Action.AA_6:
            self._start += 6
            self._skip = length
            return None
        if length != 4 if kind > 2 else length > self._most - 6:
            most = 4 if kind > 2 else self._most - 6
            raise self._invalid(f"{_NAMES[kind]} claims {length} bytes, {most} are possible")
        if available < 6 + length:
            return None
        start = self._start + 6
        variable = bytes(self._view[start : start + length])
        self._start = start + length
        try:
            event = self._event(kind, variable)
        except ProtocolError as error:
            raise self._fail(error.reason, str(error)) from None
        self._pass(_RECEIVED[kind])
        return event

    def _event(self, kind: int, variable: bytes) -> AnyEvent:
        if kind == 1:
            request = decode_request(variable)
            self._peer_takes(request.maximum_length)
            self._proposed = {context.id: context for context in request.contexts}
            return request
        if kind == 2:
            accept = decode_accept(variable)
            self._peer_takes(accept.maximum_length)
            self._check_answers(accept)
            self._establish(accept)
            return accept
        if kind == 3:
            return AssociateReject(variable[1], variable[2], variable[3])
        if kind == 7:
            return Abort(variable[2], variable[3])
        return Released() if kind == 5 else ReleaseConfirmed()

    def _peer_takes(self, length: int) -> None:
        if 0 < length < SMALLEST_MAXIMUM_LENGTH:
            raise ProtocolError(
                INVALID_PARAMETER_VALUE,
                f"the peer takes PDUs of {length} bytes at most, too few for any data",
            )
        self.peer_maximum_length = length

    def _check_answers(self, accept: AssociateAccept) -> None:
        for answer in accept.contexts:
            proposed = self._proposed.get(answer.id)
            if proposed is None:
                raise ProtocolError(
                    UNEXPECTED_PARAMETER, f"presentation context {answer.id} was answered, not proposed"
                )
            if answer.result == 0 and answer.transfer_syntax not in proposed.transfer_syntaxes:
                raise ProtocolError(
                    INVALID_PARAMETER_VALUE,
                    f"presentation context {answer.id} was accepted with a transfer syntax not proposed",
                )

    def _establish(self, accept: AssociateAccept) -> None:
        proposed, make = self._proposed, presentation.accepted
        self.contexts = {
            c.id: make(c.id, proposed[c.id].abstract_syntax, c.transfer_syntax)
            for c in accept.contexts
            if c.result == 0
        }

    @property
    def unread(self) -> bytes:
        """What has come and stands in no event yet."""
        return bytes(self._view[self._start : self._end])

    # Bytes out

    def request(self, request: AssociateRequest) -> bytes:
        """The A-ASSOCIATE-RQ. Raises StateError, ValueError (a field does not fit)."""
        pdu = request.encode()
        self._pass(Event.Evt2)
        self.maximum_length = request.maximum_length
        self._proposed = {context.id: context for context in request.contexts}
        return pdu

    def accept(self, accept: AssociateAccept) -> bytes:
        """The A-ASSOCIATE-AC; the association is established.

        Raises StateError, ValueError (a field does not fit), KeyError (a context that was not proposed).
        """
        pdu = accept.encode()
        self._establish(accept)
        self._pass(Event.Evt7)
        self.maximum_length = accept.maximum_length
        return pdu

    def reject(self, result: int, source: int, reason: int) -> bytes:
        """The A-ASSOCIATE-RJ (PS3.8 table 9-21). Raises StateError."""
        self._pass(Event.Evt8)
        return AssociateReject(result, source, reason).encode()

    def release(self) -> bytes:
        """The A-RELEASE-RQ. Raises StateError. Data may still arrive; on Released (both asked at once)
        `confirm_release` is due, on ReleaseConfirmed the association is over."""
        self._pass(Event.Evt11)
        return Released.ENCODED

    def confirm_release(self) -> bytes:
        """The A-RELEASE-RP. Raises StateError where the peer has not asked."""
        self._pass(Event.Evt14)
        return ReleaseConfirmed.ENCODED

    def abort(self, source: int = 0, reason: int = 0) -> bytes:
        """The A-ABORT, from any state; nothing (b"") where there is no association to abort."""
        if self._abort_owed:
            self._abort_owed = False
            return Abort(source, reason).encode()
        found = transition(self.state, Event.Evt15)
        if found is None:
            return b""
        action, self.state = found
        self._skip, self._pdu_left, self._pdv_left = self._pdu_left, 0, 0
        return Abort(source, reason).encode() if action is Action.AA_1 else b""

    def closed_by_transport(self) -> Abort | None:
        """The connection has ended. Gives the abort this means where an association was open (AA-4)."""
        found = transition(self.state, Event.Evt17)
        if found is None:
            return None
        action, self.state = found
        self._start = self._end = self._pdu_left = self._pdv_left = self._skip = 0
        return Abort(2, 0) if action is Action.AA_4 else None

    def pdv_header(self, context_id: int, control: int, length: int) -> bytes:
        """PDU and PDV header (12 bytes) of a fragment of `length` bytes.

        `control`: 1 command, 2 last (PS3.8 E.2). No check of the length: see `largest_fragment`.

        Raises StateError where no data may be sent.
        """
        state = self.state
        if state is not State.Sta6 and state is not State.Sta8:
            self._pass(Event.Evt9)
        return _P_DATA_HEADER(4, length + 6, length + 2, context_id, control)

    @property
    def largest_fragment(self) -> int:
        """Bytes of data that the peer takes in one PDV: even (PS3.8 E.1), and no more than we would take."""
        limits = [limit for limit in (self.peer_maximum_length, self.maximum_length) if limit]
        return (min(limits, default=131072) - 6) & ~1

    def fragments(self, context_id: int, command: bytes) -> bytes:
        """A whole command as P-DATA-TF PDUs, as many as the peer's maximum length makes of it."""
        if context_id not in self.contexts:
            raise StateError(f"presentation context {context_id} was not accepted")
        length, most = len(command), (self.peer_maximum_length - 6) & ~1
        if length <= most or not self.peer_maximum_length:
            return self.pdv_header(context_id, 3, length) + command
        pieces = []
        for start in range(0, length, most):
            piece = command[start : start + most]
            pieces.append(self.pdv_header(context_id, 3 if start + most >= length else 1, len(piece)) + piece)
        return b"".join(pieces)

    # The table

    def _pass(self, event: Event) -> Action:
        found = transition(self.state, event, requestor=self._requestor)
        if found is None:
            raise StateError(f"{event.name} of PS3.8 table 9-10 is not possible in {self.state.name}")
        action, self.state = found
        return action

    def _expect(self, kind: int, event: Event) -> Action:
        found = transition(self.state, event, requestor=self._requestor)
        if found is None or found[0] in (Action.AA_1, Action.AA_7, Action.AA_8):
            raise self._fail(UNEXPECTED_PDU, f"{_NAMES[kind]} came in {self.state.name}, unexpected there")
        return found[0]

    def _invalid(self, sentence: str) -> ProtocolError:
        return self._fail(INVALID_PARAMETER_VALUE, sentence)

    def _fail(self, reason: int, sentence: str) -> ProtocolError:
        """Evt19, and every unexpected PDU: an A-ABORT is owed, the rest of the stream cannot be trusted."""
        found = transition(self.state, Event.Evt19)
        self._abort_owed = found is not None
        self.state = found[1] if found is not None else State.Sta1
        self._unreadable = True
        self._start = self._end = self._pdu_left = self._pdv_left = self._skip = 0
        return ProtocolError(reason, sentence)
