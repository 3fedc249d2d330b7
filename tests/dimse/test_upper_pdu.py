"""Every PDU, both ways, and against a second opinion: pynetdicom's encoder and decoder."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom import pdu as second

from pacskit.dimse.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    CommonExtended,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    ProtocolError,
    ReleaseConfirmed,
    Released,
    Role,
    UserIdentity,
    decode_accept,
    decode_request,
)

CT, MR, FIND = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.2.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

REQUEST = AssociateRequest(
    called_ae_title="CALLED",
    calling_ae_title="CALLING AE",
    contexts=(ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(255, MR, (IMPLICIT,))),
    maximum_length=16384,
    implementation_class_uid="1.2.3.4",
    implementation_version_name="VERSION_1",
)
ACCEPT = AssociateAccept(
    called_ae_title="CALLED",
    calling_ae_title="CALLING AE",
    contexts=(ContextResult(1, 0, EXPLICIT), ContextResult(255, 3, IMPLICIT)),
    maximum_length=0,
    implementation_class_uid="1.2.3.4",
    implementation_version_name="VERSION_1",
)
COMMON = CommonExtended("1.2.5", "1.2.6", ("1.2.7", "1.2.840.8"))
REQUESTS = {
    "plain": REQUEST,
    "roles": replace(REQUEST, roles=(Role(CT, True, True), Role(MR, False, True))),
    "window": replace(REQUEST, asynchronous=(5, 0)),
    "user name": replace(REQUEST, identity=UserIdentity(1, False, b"anna")),
    "passcode": replace(REQUEST, identity=UserIdentity(2, True, b"anna", b"secret")),
    "Kerberos": replace(REQUEST, identity=UserIdentity(3, True, bytes(300))),
    "SAML": replace(REQUEST, identity=UserIdentity(4, False, b"<saml/>")),
    "JWT": replace(REQUEST, identity=UserIdentity(5, True, b"a.b.c")),
    "extended": replace(
        REQUEST, extended=(ExtendedNegotiation(FIND, b"\1\0\1"), ExtendedNegotiation(CT, b"\2"))
    ),
    "common extended": replace(REQUEST, common_extended=(COMMON, CommonExtended("1.2.5", "1.2.6"))),
    "128 contexts": replace(
        REQUEST, contexts=tuple(ProposedContext(i, f"1.2.{i}", (EXPLICIT,)) for i in range(1, 256, 2))
    ),
    "no version name": replace(REQUEST, implementation_version_name=""),
}
ACCEPTS = {
    "plain": ACCEPT,
    "roles": replace(ACCEPT, roles=(Role(CT, True, False),)),
    "window": replace(ACCEPT, asynchronous=(1, 1)),
    "identity": replace(ACCEPT, identity_response=b"ticket"),
    "extended": replace(ACCEPT, extended=(ExtendedNegotiation(FIND, b"\1"),)),
}


def decode_request_pdu(data):
    return decode_request(data[6:])


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_survives_the_wire(name):
    data = REQUESTS[name].encode()
    assert int.from_bytes(data[2:6], "big") == len(data) - 6
    assert decode_request_pdu(data) == REQUESTS[name]


@pytest.mark.parametrize("name", ACCEPTS)
def test_an_accept_survives_the_wire(name):
    assert decode_accept(ACCEPTS[name].encode()[6:]) == ACCEPTS[name]


def pynetdicoms(kind, data):
    pdu = kind()
    pdu.decode(data)
    return pdu


@pytest.mark.parametrize("name", REQUESTS)
def test_pynetdicom_reads_our_request_and_we_read_its(name):
    request = REQUESTS[name]
    theirs = pynetdicoms(second.A_ASSOCIATE_RQ, request.encode())
    assert decode_request_pdu(theirs.encode()) == request
    assert (theirs.called_ae_title.strip(), theirs.calling_ae_title.strip()) == ("CALLED", "CALLING AE")
    assert [
        (c.context_id, str(c.abstract_syntax), tuple(map(str, c.transfer_syntax)))
        for c in theirs.presentation_context
    ] == [(c.id, c.abstract_syntax, c.transfer_syntaxes) for c in request.contexts]
    found = theirs.user_information
    assert found.maximum_length == request.maximum_length
    assert {str(uid): (r.scu_role, r.scp_role) for uid, r in found.role_selection.items()} == {
        r.abstract_syntax: (int(r.scu), int(r.scp)) for r in request.roles
    }
    if request.asynchronous:
        window = found.async_ops_window
        assert (window.maximum_number_operations_invoked, window.maximum_number_operations_performed) == (
            5,
            0,
        )
    if request.identity:
        identity = found.user_identity
        assert identity.user_identity_type == request.identity.type
        assert (identity.primary_field or b"") == request.identity.primary
        assert (identity.secondary_field or b"") == request.identity.secondary
        assert bool(identity.positive_response_requested) is request.identity.response_requested
    assert [(str(e.uid), e.app_info) for e in found.ext_neg] == [
        (e.sop_class, e.info) for e in request.extended
    ]
    assert [
        (
            str(c.sop_class_uid),
            str(c.service_class_uid),
            tuple(map(str, c.related_general_sop_class_identification)),
        )
        for c in found.common_ext_neg
    ] == [(c.sop_class, c.service_class, c.related) for c in request.common_extended]


@pytest.mark.parametrize("name", ACCEPTS)
def test_pynetdicom_reads_our_accept_and_we_read_its(name):
    accept = ACCEPTS[name]
    theirs = pynetdicoms(second.A_ASSOCIATE_AC, accept.encode())
    first = theirs.presentation_context[0]
    assert (first.context_id, str(first.transfer_syntax)) == (1, EXPLICIT)
    assert [c.result for c in theirs.presentation_context] == [0, 3]
    again = decode_accept(theirs.encode()[6:])
    assert replace(again, contexts=()) == replace(accept, contexts=())
    assert again.contexts[0] == accept.contexts[0]
    if accept.identity_response:
        assert theirs.user_information.user_identity.server_response == b"ticket"


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        (AssociateReject(1, 1, 7), second.A_ASSOCIATE_RJ),
        (AssociateReject(2, 3, 2), second.A_ASSOCIATE_RJ),
        (Released(), second.A_RELEASE_RQ),
        (ReleaseConfirmed(), second.A_RELEASE_RP),
        (Abort(0, 0), second.A_ABORT_RQ),
        (Abort(2, 6), second.A_ABORT_RQ),
    ],
)
def test_short_pdus_are_those_of_pynetdicom(ours, kind):
    theirs = pynetdicoms(kind, ours.encode())
    assert theirs.encode() == ours.encode()
    if isinstance(ours, AssociateReject):
        found = theirs.result, theirs.source, theirs.reason_diagnostic
        assert found == (ours.result, ours.source, ours.reason)
    if isinstance(ours, Abort):
        assert (theirs.source, theirs.reason_diagnostic) == (ours.source, ours.reason)


def test_secrets_are_not_shown():
    assert "secret" not in repr(REQUESTS["passcode"])
    assert "anna" not in repr(REQUESTS["passcode"])


def test_the_version_of_a_common_extended_item_is_kept():  # pynetdicom always writes 0
    request = replace(REQUEST, common_extended=(replace(COMMON, version=1),))
    assert decode_request_pdu(request.encode()) == request


def test_unknown_items_are_skipped():
    unknown = b"\x99\0\0\3abc"
    data = REQUEST.encode()
    assert decode_request(data[6:] + unknown) == REQUEST


uids = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)


@given(
    st.lists(st.tuples(uids, st.lists(uids, max_size=5)), max_size=128),
    st.integers(0, 2**32 - 1),
    st.lists(st.builds(Role, uids, st.booleans(), st.booleans()), max_size=4),
    st.lists(st.builds(ExtendedNegotiation, uids, st.binary(max_size=50)), max_size=4),
)
def test_any_request_survives_the_wire(contexts, maximum_length, roles, extended):
    request = replace(
        REQUEST,
        contexts=tuple(ProposedContext(2 * i + 1, a, tuple(t)) for i, (a, t) in enumerate(contexts)),
        maximum_length=maximum_length,
        roles=tuple(roles),
        extended=tuple(extended),
    )
    assert decode_request_pdu(request.encode()) == request


BAD = {
    "one ID twice": replace(REQUEST, contexts=REQUEST.contexts[:1] * 2),
    "an even ID": replace(REQUEST, contexts=(ProposedContext(2, CT, (IMPLICIT,)),)),
    "no abstract syntax": replace(REQUEST, contexts=(ProposedContext(1, "", (IMPLICIT,)),)),
    "a UID of 65 characters": replace(REQUEST, contexts=(ProposedContext(1, "1." + "2" * 63, (IMPLICIT,)),)),
    "a line break in the title": replace(REQUEST, calling_ae_title="A\nB"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_protocol_errors(name):
    with pytest.raises(ProtocolError) as caught:
        decode_request_pdu(BAD[name].encode())
    assert caught.value.reason == 6


@pytest.mark.parametrize("name", ["roles", "passcode", "extended", "common extended"])
def test_a_length_inside_an_item_that_lies_is_a_protocol_error(name):
    data = bytearray(REQUESTS[name].encode()[6:])
    kind = {"roles": 0x54, "passcode": 0x58, "extended": 0x56, "common extended": 0x57}[name]
    at = data.index(bytes((kind, COMMON.version if kind == 0x57 else 0)), data.rindex(b"1.2.3.4"))
    length = at + 6 if kind == 0x58 else at + 4  # the user identity has its type before
    data[length : length + 2] = b"\x01\x00"
    with pytest.raises(ProtocolError, match="claims 256 bytes"):
        decode_request(bytes(data))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_cut_anywhere_is_a_protocol_error_or_a_shorter_request(name):
    data = REQUESTS[name].encode()[6:]
    whole = 0
    for length in range(len(data)):
        try:
            decode_request(data[:length])
            whole += 1
        except ProtocolError:
            pass
    assert whole <= 2 + len(REQUESTS[name].contexts)  # cut between two items, nothing else


@pytest.mark.parametrize("field", ["called_ae_title", "calling_ae_title", "implementation_version_name"])
@pytest.mark.parametrize("value", ["SEVENTEEN LETTERS", "日本"])
def test_titles_that_do_not_fit_are_refused_before_they_are_sent(field, value):
    with pytest.raises(ValueError, match="has"):
        replace(REQUEST, **{field: value}).encode()
