"""Answers of an acceptor, and numbers in words."""

from dataclasses import replace

import pytest

from pacskit.dimse.upper.negotiation import abort_reason, describe, negotiate, reject_reason, unacceptable
from pacskit.dimse.upper.pdu import (
    AssociateReject,
    AssociateRequest,
    ExtendedNegotiation,
    ProposedContext,
    Role,
    UserIdentity,
)

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
REQUEST = AssociateRequest(
    called_ae_title="B",
    calling_ae_title="A",
    contexts=(),
    implementation_class_uid="1.2.3",
    implementation_version_name="V",
)


@pytest.mark.parametrize(
    ("proposed", "supported", "result", "syntax"),
    [
        ((EXPLICIT, IMPLICIT), [IMPLICIT, EXPLICIT], 0, EXPLICIT),
        ((IMPLICIT, EXPLICIT), [EXPLICIT, IMPLICIT], 0, IMPLICIT),
        ((JPEG, IMPLICIT), {IMPLICIT}, 0, IMPLICIT),
        ((JPEG,), {IMPLICIT}, 4, JPEG),
        ((), {IMPLICIT}, 4, ""),
        ((IMPLICIT,), (), 4, IMPLICIT),
        ((IMPLICIT,), None, 3, IMPLICIT),
    ],
)
def test_a_context_is_answered(proposed, supported, result, syntax):
    request = replace(REQUEST, contexts=(ProposedContext(5, CT, proposed),))
    [answer] = negotiate(request, {} if supported is None else {CT: supported}).contexts
    assert (answer.id, answer.result, answer.transfer_syntax) == (5, result, syntax)


PROPOSED = (Role(CT, True, True), Role(MR, False, True))


@pytest.mark.parametrize(
    ("roles", "answer"),
    [
        (None, ()),
        ({CT: Role(CT, False, True)}, (Role(CT, False, True),)),
        ({MR: Role(MR, True, True)}, (Role(MR, False, True),)),
        (lambda role: role, PROPOSED),
        (lambda role: None, ()),
    ],
)
def test_roles_are_answered_and_never_more_than_was_proposed(roles, answer):
    assert negotiate(replace(REQUEST, roles=PROPOSED), {}, roles=roles).roles == answer


@pytest.mark.parametrize(("offered", "answer"), [(None, None), ((0, 0), (1, 1)), ((8, 8), (1, 1))])
def test_the_asynchronous_window_is_one(offered, answer):
    assert negotiate(replace(REQUEST, asynchronous=offered), {}).asynchronous == answer


@pytest.mark.parametrize(("asked", "answer"), [(None, None), (False, None), (True, b"ticket")])
def test_an_identity_is_answered_where_asked(asked, answer):
    identity = None if asked is None else UserIdentity(3, asked, b"x")
    assert (
        negotiate(replace(REQUEST, identity=identity), {}, identity_response=b"ticket").identity_response
        == answer
    )


def test_extended_items_are_answered_for_what_was_offered_alone():
    request = replace(REQUEST, extended=(ExtendedNegotiation(CT, b"\1"),))
    ours = ExtendedNegotiation(CT, b"\0"), ExtendedNegotiation(MR, b"\0")
    assert negotiate(request, {}, extended=ours).extended == ours[:1]
    assert negotiate(request, {}).extended == ()


def test_another_protocol_is_unacceptable():
    assert unacceptable(REQUEST) is None
    assert unacceptable(replace(REQUEST, protocol_version=2)) == AssociateReject(1, 2, 2)
    assert unacceptable(replace(REQUEST, application_context="1.2")) == AssociateReject(1, 1, 2)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (describe(4), "transfer syntaxes"),
        (describe(9), "9"),
        (reject_reason(1, 7), "called AE title"),
        (reject_reason(3, 2), "limit"),
        (reject_reason(9, 9), "source 9"),
        (abort_reason(0, 0), "application"),
        (abort_reason(2, 2), "did not expect"),
        (abort_reason(2, 77), "77"),
    ],
)
def test_numbers_in_words(words, part):
    assert part in words
