"""What an acceptor answers to a request, and what the numbers of an answer say (PS3.8 9.3, PS3.7 D.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from pacskit.dimse.upper.contexts import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTED,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    answered,
)
from pacskit.dimse.upper.pdu import (
    APPLICATION_CONTEXT,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ExtendedNegotiation,
    Role,
)
from pacskit.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

Supported = Mapping[str, Collection[str]]
"""Abstract syntax → the transfer syntaxes accepted for it. Sets are fastest; the proposer's order wins."""

Roles = Callable[[Role], Role | None] | Mapping[str, Role]
"""Answers a proposed role: a function of it, or by abstract syntax. None: the default roles hold."""

_RESULTS = {
    0: "accepted",
    1: "rejected by the user of the service",
    2: "rejected, no reason given",
    3: "the abstract syntax (SOP class) is not supported",
    4: "none of the transfer syntaxes is supported",
}
_REJECT_SOURCES = {
    1: {
        1: "no reason given",
        2: "the application context name is not supported",
        3: "the calling AE title is not recognized",
        7: "the called AE title is not recognized",
    },
    2: {1: "no reason given", 2: "the protocol version is not supported"},
    3: {1: "temporary congestion", 2: "a local limit is exceeded"},
}
_ABORT_REASONS = {
    0: "no reason given",
    1: "it got a PDU it does not recognize",
    2: "it got a PDU it did not expect",
    4: "it got a PDU parameter it does not recognize",
    5: "it got a PDU parameter it did not expect",
    6: "it got an invalid value of a PDU parameter",
}


def unacceptable(request: AssociateRequest) -> AssociateReject | None:
    """The rejection of a request made for another protocol (PS3.8 9.3.2); None where there is no need."""
    if not request.protocol_version & 1:
        return AssociateReject(1, 2, 2)
    if request.application_context != APPLICATION_CONTEXT:
        return AssociateReject(1, 1, 2)
    return None


def negotiate(
    request: AssociateRequest,
    supported: Supported,
    *,
    roles: Roles | None = None,
    maximum_length: int = 131072,
    extended: Collection[ExtendedNegotiation] = (),
    identity_response: bytes = b"",
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID,
    implementation_version_name: str = IMPLEMENTATION_VERSION_NAME,
) -> AssociateAccept:
    """The answer to each context that was proposed, and to what else was.

    An asynchronous window is answered with (1, 1): one operation at a time. `identity_response` is sent where
    the request asks for one (PS3.7 D.3.3.7.2), `extended` for the SOP classes the request has an item for.
    """
    contexts = []
    for context in request.contexts:
        syntaxes = context.transfer_syntaxes
        accepted = supported.get(context.abstract_syntax)
        result = ABSTRACT_SYNTAX_NOT_SUPPORTED if accepted is None else TRANSFER_SYNTAXES_NOT_SUPPORTED
        chosen = syntaxes[0] if syntaxes else ""
        for syntax in syntaxes if accepted else ():
            if syntax in accepted:  # type: ignore[operator]  # not None: the loop would be empty
                result, chosen = ACCEPTED, syntax
                break
        contexts.append(answered(context.id, result, chosen))
    offered = {proposal.sop_class for proposal in request.extended}
    identity = request.identity
    return AssociateAccept(
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        contexts=tuple(contexts),
        maximum_length=maximum_length,
        implementation_class_uid=implementation_class_uid,
        implementation_version_name=implementation_version_name,
        roles=_answer_roles(request.roles, roles),
        asynchronous=None if request.asynchronous is None else (1, 1),
        identity_response=identity_response if identity is not None and identity.response_requested else None,
        extended=tuple(answer for answer in extended if answer.sop_class in offered),
    )


def _answer_roles(proposed: tuple[Role, ...], roles: Roles | None) -> tuple[Role, ...]:
    """The answers; a role that was not proposed cannot be accepted (PS3.7 D.3.3.4)."""
    if roles is None or not proposed:
        return ()
    answers = []
    for role in proposed:
        answer = roles.get(role.abstract_syntax) if isinstance(roles, Mapping) else roles(role)
        if answer is not None:
            scu, scp = answer.scu and role.scu, answer.scp and role.scp
            answers.append(Role(role.abstract_syntax, scu, scp))
    return tuple(answers)


def describe(result: int) -> str:
    """The result of a presentation context (PS3.8 table 9-18) in words."""
    return _RESULTS.get(result, f"result {result}, which the standard does not have")


def reject_reason(source: int, reason: int) -> str:
    """The reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21) in words."""
    known = _REJECT_SOURCES.get(source, {})
    return known.get(reason, f"source {source}, reason {reason}, which the standard does not have")


def abort_reason(source: int, reason: int) -> str:
    """Who sent an A-ABORT and why (PS3.8 table 9-26), in words."""
    if source == 0:
        return "aborted by the peer's application"
    words = _ABORT_REASONS.get(reason, f"reason {reason}, which the standard does not have")
    return (
        f"aborted by the peer's DICOM layer: {words}"
        if source == 2
        else f"aborted by source {source}: {words}"
    )
