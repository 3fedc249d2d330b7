"""The PDUs of the DICOM upper layer (PS3.8 9.3) as values: `.encode()` gives the bytes, `decode_...` reads.

`decode_...` functions take the PDU's variable field (after type and length) and raise ProtocolError alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from pacskit.dimse.upper.contexts import (
    AcceptedContext,
    ContextResult,
    ProposedContext,
    decode_proposed,
    decode_result,
    encode_proposed,
    encode_result,
)
from pacskit.dimse.upper.errors import ProtocolError, StateError
from pacskit.dimse.upper.items import decode_title, decode_uid, encode_text, invalid, item, items
from pacskit.dimse.upper.user_information import (
    CommonExtended,
    ExtendedNegotiation,
    Role,
    UserIdentity,
    UserInformation,
    decode_user_information,
    encode_user_information,
)

__all__ = [
    "APPLICATION_CONTEXT",
    "Abort",
    "AcceptedContext",
    "AssociateAccept",
    "AssociateReject",
    "AssociateRequest",
    "CommonExtended",
    "ContextResult",
    "ExtendedNegotiation",
    "Fragment",
    "ProposedContext",
    "ProtocolError",
    "ReleaseConfirmed",
    "Released",
    "Role",
    "StateError",
    "UserIdentity",
    "decode_accept",
    "decode_request",
]

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name (PS3.7 A.2.1), the only one there is."""
_FIXED = 68
"""Bytes of an A-ASSOCIATE-RQ or -AC before its items: version, titles, reserved."""


def _associate(
    kind: int, version: int, called: str, calling: str, application: str, variable: bytes
) -> bytes:
    body = b"".join(
        (
            struct.pack(">HH", version, 0),
            encode_text(called, 16, "called AE title").ljust(16),
            encode_text(calling, 16, "calling AE title").ljust(16),
            bytes(32),
            item(0x10, application.encode("ascii")),
            variable,
        )
    )
    return struct.pack(">BBL", kind, 0, len(body)) + body


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). `maximum_length` is in bytes, 0 for no limit."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    maximum_length: int = 131072
    implementation_class_uid: str
    implementation_version_name: str
    roles: tuple[Role, ...] = ()
    asynchronous: tuple[int, int] | None = None
    """Operations (invoked, performed) that may be outstanding at a time; 0 for no limit (PS3.7 D.3.3.3)."""
    identity: UserIdentity | None = None
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtended, ...] = ()
    protocol_version: int = 1
    application_context: str = APPLICATION_CONTEXT

    def encode(self) -> bytes:
        """The PDU. Raises ValueError where a title or another field is too long."""
        information = encode_user_information(
            UserInformation(
                maximum_length=self.maximum_length,
                implementation_class_uid=self.implementation_class_uid,
                implementation_version_name=self.implementation_version_name,
                roles=self.roles,
                asynchronous=self.asynchronous,
                identity=self.identity,
                extended=self.extended,
                common_extended=self.common_extended,
            )
        )
        variable = b"".join([encode_proposed(context) for context in self.contexts]) + information
        titles = self.called_ae_title, self.calling_ae_title
        return _associate(1, self.protocol_version, *titles, self.application_context, variable)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The titles are the request's, given back and not to be tested."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ContextResult, ...]
    maximum_length: int = 131072
    implementation_class_uid: str
    implementation_version_name: str
    roles: tuple[Role, ...] = ()
    asynchronous: tuple[int, int] | None = None
    identity_response: bytes | None = None
    extended: tuple[ExtendedNegotiation, ...] = ()
    protocol_version: int = 1

    def encode(self) -> bytes:
        """The PDU. Raises ValueError where a field is too long."""
        information = encode_user_information(
            UserInformation(
                maximum_length=self.maximum_length,
                implementation_class_uid=self.implementation_class_uid,
                implementation_version_name=self.implementation_version_name,
                roles=self.roles,
                asynchronous=self.asynchronous,
                identity_response=self.identity_response,
                extended=self.extended,
            )
        )
        answers = [encode_result(c.id, c.result, c.transfer_syntax) for c in self.contexts]
        titles = self.called_ae_title, self.calling_ae_title
        variable = b"".join(answers) + information
        return _associate(2, self.protocol_version, *titles, APPLICATION_CONTEXT, variable)


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ (PS3.8 9.3.4); the numbers of table 9-21."""

    result: int
    source: int
    reason: int

    def encode(self) -> bytes:
        return bytes((3, 0, 0, 0, 0, 4, 0, self.result, self.source, self.reason))


@dataclass(frozen=True, slots=True)
class Released:
    """A-RELEASE-RQ (PS3.8 9.3.6): the peer asks for the association's end."""

    ENCODED: ClassVar[bytes] = b"\x05\0\0\0\0\4\0\0\0\0"

    def encode(self) -> bytes:
        return self.ENCODED


@dataclass(frozen=True, slots=True)
class ReleaseConfirmed:
    """A-RELEASE-RP (PS3.8 9.3.7): the peer agrees to the association's end."""

    ENCODED: ClassVar[bytes] = b"\x06\0\0\0\0\4\0\0\0\0"

    def encode(self) -> bytes:
        return self.ENCODED


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 9.3.8): source 0 service user, 2 service provider; the reason is the latter's alone."""

    source: int
    reason: int

    def encode(self) -> bytes:
        return bytes((7, 0, 0, 0, 0, 4, 0, 0, self.source, self.reason))


@dataclass(slots=True)
class Fragment:
    """A piece of a presentation data value, as it arrived (PS3.8 9.3.5). Not frozen for speed alone.

    `data` is valid until the next `get_buffer()`. `is_last` is true for the last piece of the last fragment
    of a command or data set, and for no other.
    """

    context_id: int
    is_command: bool
    is_last: bool
    data: memoryview


def decode_request(variable: bytes) -> AssociateRequest:
    """Read the variable field of an A-ASSOCIATE-RQ."""
    contexts: list[ProposedContext] = []
    application, information = "", UserInformation()
    for kind, start, end in _items(variable, "A-ASSOCIATE-RQ"):
        if kind == 0x20:
            contexts.append(decode_proposed(variable[start:end]))
        elif kind == 0x50:
            information = decode_user_information(variable, start, end)
        elif kind == 0x10:
            application = decode_uid(variable[start:end])
    if len({context.id for context in contexts}) != len(contexts):
        raise invalid("two presentation contexts have the same ID")
    return AssociateRequest(
        called_ae_title=decode_title(variable[4:20], "called AE title"),
        calling_ae_title=decode_title(variable[20:36], "calling AE title"),
        contexts=tuple(contexts),
        maximum_length=information.maximum_length,
        implementation_class_uid=information.implementation_class_uid,
        implementation_version_name=information.implementation_version_name,
        roles=tuple(information.roles),
        asynchronous=information.asynchronous,
        identity=information.identity,
        extended=tuple(information.extended),
        common_extended=tuple(information.common_extended),
        protocol_version=variable[0] << 8 | variable[1],
        application_context=application,
    )


def decode_accept(variable: bytes) -> AssociateAccept:
    """Read the variable field of an A-ASSOCIATE-AC."""
    contexts: list[ContextResult] = []
    information = UserInformation()
    for kind, start, end in _items(variable, "A-ASSOCIATE-AC"):
        if kind == 0x21:
            contexts.append(decode_result(variable[start:end]))
        elif kind == 0x50:
            information = decode_user_information(variable, start, end)
    return AssociateAccept(
        called_ae_title=variable[4:20].decode("latin-1").strip(" \0"),
        calling_ae_title=variable[20:36].decode("latin-1").strip(" \0"),
        contexts=tuple(contexts),
        maximum_length=information.maximum_length,
        implementation_class_uid=information.implementation_class_uid,
        implementation_version_name=information.implementation_version_name,
        roles=tuple(information.roles),
        asynchronous=information.asynchronous,
        identity_response=information.identity_response,
        extended=tuple(information.extended),
        protocol_version=variable[0] << 8 | variable[1],
    )


def _items(variable: bytes, pdu: str) -> list[tuple[int, int, int]]:
    if len(variable) < _FIXED:
        raise invalid(f"the {pdu} has {len(variable)} bytes; its fixed part alone has {_FIXED}")
    return list(items(variable, _FIXED, len(variable), pdu))
