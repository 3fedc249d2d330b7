"""DIMSE command sets (PS3.7 6.3.1, 9.3, E.1), always Implicit VR Little Endian, without I/O."""

from __future__ import annotations

import struct

from pacskit.dimse.upper.errors import INVALID_PARAMETER_VALUE, REASON_NOT_SPECIFIED, ProtocolError

C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001
C_GET_RQ, C_GET_RSP = 0x0010, 0x8010
C_FIND_RQ, C_FIND_RSP = 0x0020, 0x8020
C_MOVE_RQ, C_MOVE_RSP = 0x0021, 0x8021
C_ECHO_RQ, C_ECHO_RSP = 0x0030, 0x8030
C_CANCEL_RQ = 0x0FFF
N_EVENT_REPORT_RQ, N_GET_RQ, N_SET_RQ = 0x0100, 0x0110, 0x0120
N_ACTION_RQ, N_CREATE_RQ, N_DELETE_RQ = 0x0130, 0x0140, 0x0150
"""Values of Command Field (0000,0100); a response has bit 8000H set."""

SUCCESS = 0x0000
UNRECOGNIZED_OPERATION = 0x0211
VERIFICATION_SOP_CLASS = "1.2.840.10008.1.1"
LOW, MEDIUM, HIGH = 2, 0, 1
"""Values of Priority (0000,0700)."""
LONGEST_COMMENT = 64
"""Characters of Error Comment (0000,0902), an LO."""

_NO_DATA_SET = 0x0101
_ELEMENT = struct.Struct("<HHL")
_SHORT_ELEMENT = struct.Struct("<HHLH")
_FOUR_NUMBERS = struct.Struct("<" + 4 * "HHLH")
_GROUP_LENGTH = struct.Struct("<HHLL")
_SHORT = struct.Struct("<H")


class Command:
    """One decoded command set.

    `elements` has the raw values by element number of group 0000. Texts and UIDs are given as they came
    (Latin-1, without padding): who uses a UID checks it (PS3.5 9.1). Absent texts are "".
    """

    __slots__ = (
        "command_field",
        "elements",
        "has_data_set",
        "message_id",
        "message_id_responded_to",
        "status",
    )

    def __init__(self, elements: dict[int, bytes]) -> None:
        """Raises ProtocolError where what every command has is missing, or a number has no 2 bytes."""
        self.elements = elements
        field = _number(elements, 0x0100)
        data_set_type = _number(elements, 0x0800)
        message_id = _number(elements, 0x0110)
        responded_to = _number(elements, 0x0120)
        if field is None:
            raise _invalid("a command set without Command Field (0000,0100)")
        if data_set_type is None:
            raise _invalid("a command set without Command Data Set Type (0000,0800)")
        answers = field & 0x8000 or field == C_CANCEL_RQ
        if (responded_to if answers else message_id) is None:
            element = "Message ID Being Responded To (0000,0120)" if answers else "Message ID (0000,0110)"
            raise _invalid(f"command {field:04X}H without {element}")
        self.command_field: int = field
        self.message_id: int = message_id or 0
        self.message_id_responded_to: int | None = responded_to
        self.has_data_set: bool = data_set_type != _NO_DATA_SET
        self.status: int | None = _number(elements, 0x0900)

    def text(self, element: int) -> str:
        """A UID, AE title or comment, without padding; "" where it is absent."""
        return self.elements.get(element, b"").rstrip(b"\0 ").decode("latin-1")

    @property
    def is_response(self) -> bool:
        return self.command_field & 0x8000 != 0

    @property
    def sop_class_uid(self) -> str:
        """Affected SOP Class UID (0000,0002), else Requested SOP Class UID (0000,0003)."""
        return self.text(0x0002) or self.text(0x0003)

    @property
    def sop_instance_uid(self) -> str:
        """Affected SOP Instance UID (0000,1000), else Requested SOP Instance UID (0000,1001)."""
        return self.text(0x1000) or self.text(0x1001)

    @property
    def error_comment(self) -> str:
        return self.text(0x0902).strip()

    @property
    def priority(self) -> int:
        """Priority (0000,0700): 0 medium, 1 high, 2 low."""
        return _number(self.elements, 0x0700) or 0

    @property
    def move_destination(self) -> str:
        return self.text(0x0600).strip()

    @property
    def move_originator_ae_title(self) -> str:
        return self.text(0x1030).strip()

    @property
    def move_originator_message_id(self) -> int | None:
        return _number(self.elements, 0x1031)

    def __repr__(self) -> str:
        status = "" if self.status is None else f", status={self.status:04X}H"
        return f"Command({self.command_field:04X}H, message_id={self.message_id}{status})"


def decode(data: bytes) -> Command:
    """Read a command set. Raises ProtocolError for a cut or lying one, and for what no command can lack.

    Command Group Length is not believed: the fragments say where the command ends.
    """
    elements: dict[int, bytes] = {}
    start, end, unpack = 0, len(data), _ELEMENT.unpack_from
    while start < end:
        if end - start < 8:
            raise _invalid(
                f"a command set is cut: {end - start} bytes are left for the 8 of an element's header"
            )
        group, element, length = unpack(data, start)
        start += 8
        if group:
            raise _invalid(f"({group:04X},{element:04X}) in a command set, which has group 0000 alone")
        if length > end - start:
            raise _invalid(
                f"(0000,{element:04X}) claims {length} bytes, the command set has {end - start} left"
            )
        elements[element] = data[start : start + length]
        start += length
    return Command(elements)


def _number(elements: dict[int, bytes], element: int) -> int | None:
    value = elements.get(element)
    if value is None or (not value and element >= 0x0900):  # an empty optional element says nothing
        return None
    if len(value) != 2:
        raise _invalid(f"(0000,{element:04X}) has {len(value)} bytes, a number of a command set has 2")
    number: int = _SHORT.unpack(value)[0]
    return number


def _invalid(sentence: str) -> ProtocolError:
    return ProtocolError(INVALID_PARAMETER_VALUE, sentence)


def encode(elements: dict[int, bytes | int]) -> bytes:
    """A command set with its group length; numbers are US, bytes must have an even length."""
    parts = [
        _SHORT_ELEMENT.pack(0, number, 2, value) if isinstance(value, int) else _element(number, value)
        for number, value in sorted(elements.items())
    ]
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def uid(value: str) -> bytes:
    """A UID as element value, padded with NUL to an even length."""
    encoded = value.encode("latin-1", "replace")
    return encoded + b"\0" if len(encoded) & 1 else encoded


def text(value: str, longest: int) -> bytes:
    """A text as element value: ASCII without control characters and backslash, at most `longest`, padded."""
    clean = "".join(c if " " <= c <= "~" and c != "\\" else " " if c.isspace() else "?" for c in value)
    encoded = clean[:longest].rstrip().encode("ascii")
    return encoded + b" " if len(encoded) & 1 else encoded


def echo_rq(message_id: int) -> bytes:
    """C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return encode(
        {0x0002: uid(VERIFICATION_SOP_CLASS), 0x0100: C_ECHO_RQ, 0x0110: message_id, 0x0800: _NO_DATA_SET}
    )


def echo_rsp(request: Command, status: int = SUCCESS) -> bytes:
    """C-ECHO-RSP (PS3.7 9.3.5.2)."""
    return _response(request, status, "")


def store_rq(
    message_id: int,
    sop_class_uid: str,
    sop_instance_uid: str,
    priority: int = MEDIUM,
    move_originator_ae_title: str = "",
    move_originator_message_id: int | None = None,
) -> bytes:
    """C-STORE-RQ (PS3.7 9.3.1.1); the originator is named in the sub-operations of a C-MOVE."""
    elements: dict[int, bytes | int] = {
        0x0002: uid(sop_class_uid),
        0x0100: C_STORE_RQ,
        0x0110: message_id,
        0x0700: priority,
        0x0800: 0x0001,
        0x1000: uid(sop_instance_uid),
    }
    if move_originator_ae_title:
        elements[0x1030] = text(move_originator_ae_title, 16)
    if move_originator_message_id is not None:
        elements[0x1031] = move_originator_message_id
    return encode(elements)


def store_rsp(request: Command, status: int, error_comment: str = "") -> bytes:
    """C-STORE-RSP (PS3.7 9.3.1.2) with the SOP class and instance of the request."""
    return _response(request, status, error_comment)


def unsupported_rsp(request: Command, error_comment: str = "") -> bytes:
    """The response to an operation that is not provided: 0211H, unrecognized operation (PS3.7 C.5.24).

    Raises ProtocolError for what has no response: a response that answers nothing, and C-CANCEL.
    """
    if request.is_response or request.command_field == C_CANCEL_RQ:
        raise ProtocolError(
            REASON_NOT_SPECIFIED, f"{request.command_field:04X}H came, which answers nothing that was asked"
        )
    return _response(request, UNRECOGNIZED_OPERATION, error_comment)


def _response(request: Command, status: int, error_comment: str) -> bytes:
    asked, element = request.elements, _element
    sop_class = asked.get(0x0002) or asked.get(0x0003)
    sop_instance = asked.get(0x1000) or asked.get(0x1001)
    body = _FOUR_NUMBERS.pack(
        *(0, 0x0100, 2, request.command_field | 0x8000, 0, 0x0120, 2, request.message_id),
        *(0, 0x0800, 2, _NO_DATA_SET, 0, 0x0900, 2, status),
    )
    if sop_class:
        body = element(0x0002, _even(sop_class)) + body
    if error_comment:
        body += element(0x0902, text(error_comment, LONGEST_COMMENT))
    if sop_instance:
        body += element(0x1000, _even(sop_instance))
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, number, len(value)) + value


def _even(value: bytes) -> bytes:
    return value + b"\0" if len(value) & 1 else value
