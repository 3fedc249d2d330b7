"""Presentation contexts, proposed and answered (PS3.8 9.3.2.2, 9.3.3.2).

The same scanner proposes the same contexts in every association, so that both ways are cached, within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pacskit.dimse.upper.items import decode_uid, invalid, item, items

ACCEPTED = 0
USER_REJECTION = 1
NO_REASON = 2
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4

_CACHED_ITEM = 1024
"""Bytes; longer items are decoded each time, so that the cache has a bound in memory."""


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One abstract syntax with the transfer syntaxes a requestor could use, its favourite first."""

    id: int
    """An odd number below 256."""
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """The acceptor's answer; the transfer syntax means something only when `result` is 0."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context of an established association."""

    id: int
    abstract_syntax: str
    transfer_syntax: str


def decode_proposed(value: bytes) -> ProposedContext:
    """The value of a presentation context item of an A-ASSOCIATE-RQ."""
    return _cached_proposed(value) if len(value) <= _CACHED_ITEM else _proposed(value)


def _proposed(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise invalid("a presentation context is cut before its syntaxes")
    number, abstract, transfer = value[0], None, []
    if not number & 1:
        raise invalid(f"presentation context {number}: IDs are odd numbers (PS3.8 9.3.2.2)")
    for kind, start, end in items(value, 4, len(value), f"presentation context {number}"):
        if kind == 0x30:
            if abstract is not None:
                raise invalid(f"presentation context {number} has two abstract syntaxes")
            abstract = decode_uid(value[start:end])
        elif kind == 0x40:
            transfer.append(decode_uid(value[start:end]))
    if not abstract:
        raise invalid(f"presentation context {number} has no abstract syntax")
    return ProposedContext(number, abstract, tuple(transfer))


_cached_proposed = lru_cache(maxsize=2048)(_proposed)


def decode_result(value: bytes) -> ContextResult:
    """The value of a presentation context item of an A-ASSOCIATE-AC."""
    if len(value) < 4:
        raise invalid("the answer to a presentation context is cut")
    number, result, transfer = value[0], value[2], ""
    for kind, start, end in items(value, 4, len(value), f"answer to presentation context {number}"):
        if kind == 0x40 and not transfer:
            # not significant, and not to be tested, unless accepted (PS3.8 9.3.3.2)
            transfer = decode_uid(value[start:end]) if result == ACCEPTED else _tolerant_uid(value[start:end])
    if result == ACCEPTED and not transfer:
        raise invalid(f"presentation context {number} was accepted without a transfer syntax")
    return ContextResult(number, result, transfer)


def _tolerant_uid(value: bytes) -> str:
    return value[:64].rstrip(b"\0 ").decode("ascii", "replace")


def encode_proposed(context: ProposedContext) -> bytes:
    syntaxes = b"".join([item(0x40, uid.encode("ascii")) for uid in context.transfer_syntaxes])
    value = bytes((context.id, 0, 0, 0)) + item(0x30, context.abstract_syntax.encode("ascii")) + syntaxes
    return item(0x20, value)


@lru_cache(maxsize=8192)
def answered(number: int, result: int, transfer_syntax: str) -> ContextResult:
    """`ContextResult(...)`, made once."""
    return ContextResult(number, result, transfer_syntax)


@lru_cache(maxsize=8192)
def accepted(number: int, abstract_syntax: str, transfer_syntax: str) -> AcceptedContext:
    """`AcceptedContext(...)`, made once."""
    return AcceptedContext(number, abstract_syntax, transfer_syntax)


@lru_cache(maxsize=8192)
def encode_result(number: int, result: int, transfer_syntax: str) -> bytes:
    return item(0x21, bytes((number, 0, result, 0)) + item(0x40, transfer_syntax.encode("ascii", "replace")))
