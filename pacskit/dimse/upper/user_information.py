"""The user information item: lengths, identities and what else is negotiated (PS3.8 D, PS3.7 D.3.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from pacskit.dimse.upper.items import (
    counted,
    decode_name,
    decode_uid,
    encode_text,
    invalid,
    item,
    items,
    prefixed,
)


@dataclass(frozen=True, slots=True)
class Role:
    """SCP/SCU role selection (PS3.7 D.3.3.4): proposed, or accepted, for the association's requestor."""

    abstract_syntax: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the requestor is (PS3.7 D.3.3.7): 1 user name, 2 with passcode, 3 Kerberos, 4 SAML, 5 JWT."""

    type: int
    response_requested: bool
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation (PS3.7 D.3.3.5); the service class says what `info` means."""

    sop_class: str
    info: bytes


@dataclass(frozen=True, slots=True)
class CommonExtended:
    """SOP class common extended negotiation (PS3.7 D.3.3.6): what a specialised SOP class is a kind of."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()
    version: int = 0


@dataclass(slots=True)
class UserInformation:
    """Everything in the item, for either direction; the PDUs take from it what is theirs."""

    maximum_length: int = 0
    """Bytes of a P-DATA-TF's variable field; 0, or no such item: no limit."""
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    roles: Sequence[Role] = ()
    asynchronous: tuple[int, int] | None = None
    identity: UserIdentity | None = None
    identity_response: bytes | None = None
    extended: Sequence[ExtendedNegotiation] = ()
    common_extended: Sequence[CommonExtended] = ()


def decode_user_information(data: bytes, start: int, end: int) -> UserInformation:
    """Read the item's value at `data[start:end]`; unknown items are skipped (PS3.8 9.3.1)."""
    found = UserInformation()
    roles: list[Role] = []
    extended: list[ExtendedNegotiation] = []
    common: list[CommonExtended] = []
    for kind, at, stop in items(data, start, end, "user information"):
        if kind == 0x51:
            found.maximum_length = struct.unpack(">L", _exactly(data[at:stop], 4, "maximum length"))[0]
        elif kind == 0x52:
            found.implementation_class_uid = decode_uid(data[at:stop])
        elif kind == 0x53:
            window = _exactly(data[at:stop], 4, "asynchronous operations window")
            found.asynchronous = struct.unpack(">HH", window)
        elif kind == 0x54:
            uid, at = counted(data, at, stop, "SOP class UID of the role selection")
            scu, scp = _exactly(data[at:stop], 2, "role selection after its UID")
            roles.append(Role(decode_uid(uid), scu == 1, scp == 1))
        elif kind == 0x55:
            found.implementation_version_name = decode_name(data[at:stop])
        elif kind == 0x56:
            uid, at = counted(data, at, stop, "SOP class UID of the extended negotiation")
            extended.append(ExtendedNegotiation(decode_uid(uid), data[at:stop]))
        elif kind == 0x57:
            common.append(_decode_common(data, at, stop))
        elif kind == 0x58:
            found.identity = _decode_identity(data, at, stop)
        elif kind == 0x59:
            found.identity_response, _ = counted(data, at, stop, "user identity response")
    found.roles, found.extended, found.common_extended = tuple(roles), tuple(extended), tuple(common)
    return found


def _exactly(value: bytes, length: int, what: str) -> bytes:
    if len(value) != length:
        raise invalid(f"the {what} has {len(value)} bytes, not {length}")
    return value


def _decode_identity(data: bytes, start: int, end: int) -> UserIdentity:
    if end - start < 2:
        raise invalid("the user identity is cut before its type")
    kind, response = data[start], data[start + 1]
    primary, at = counted(data, start + 2, end, "primary field of the user identity")
    secondary, _ = counted(data, at, end, "secondary field of the user identity")
    return UserIdentity(kind, response == 1, primary, secondary)


def _decode_common(data: bytes, start: int, end: int) -> CommonExtended:
    version = data[start - 3]  # in this item the reserved byte of the header is its version
    sop_class, at = counted(data, start, end, "SOP class UID of the common extended negotiation")
    service_class, at = counted(data, at, end, "service class UID of the common extended negotiation")
    related: list[str] = []
    if at < end:  # the last field is optional for the peers of before 2009
        listed, _ = counted(data, at, end, "related general SOP classes")
        at = 0
        while at < len(listed):
            uid, at = counted(listed, at, len(listed), "related general SOP class UID")
            related.append(decode_uid(uid))
    return CommonExtended(decode_uid(sop_class), decode_uid(service_class), tuple(related), version)


def encode_user_information(information: UserInformation) -> bytes:
    """The whole item. Raises ValueError where a field is too long for it."""
    i = information
    parts = [item(0x51, struct.pack(">L", i.maximum_length))]
    if i.implementation_class_uid:
        parts.append(item(0x52, i.implementation_class_uid.encode("ascii")))
    if i.asynchronous is not None:
        parts.append(item(0x53, struct.pack(">HH", *i.asynchronous)))
    parts += [item(0x54, _uid(role.abstract_syntax) + bytes((role.scu, role.scp))) for role in i.roles]
    if i.implementation_version_name:
        name = encode_text(i.implementation_version_name, 16, "implementation version name")
        parts.append(item(0x55, name))
    parts += [item(0x56, _uid(extended.sop_class) + extended.info) for extended in i.extended]
    for common in i.common_extended:
        listed = prefixed(b"".join(map(_uid, common.related)), "list of related general SOP classes")
        value = _uid(common.sop_class) + _uid(common.service_class) + listed
        parts.append(item(0x57, value, version=common.version))
    if i.identity is not None:
        identity = i.identity
        primary = prefixed(identity.primary, "primary field of the user identity")
        secondary = prefixed(identity.secondary, "secondary field of the user identity")
        parts.append(item(0x58, bytes((identity.type, identity.response_requested)) + primary + secondary))
    if i.identity_response is not None:
        parts.append(item(0x59, prefixed(i.identity_response, "user identity response")))
    return item(0x50, b"".join(parts))


def _uid(uid: str) -> bytes:
    return prefixed(uid.encode("ascii"), "UID")
