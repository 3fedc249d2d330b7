"""The two roles against each other and against bad peers, without sockets."""

import random
import struct
from dataclasses import replace

import pytest
from pynetdicom.pdu import P_DATA_TF

from pacskit.dimse.upper.connection import SMALL_BUFFER, Connection
from pacskit.dimse.upper.negotiation import negotiate
from pacskit.dimse.upper.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    Fragment,
    ProposedContext,
    ProtocolError,
    ReleaseConfirmed,
    Released,
    StateError,
)
from pacskit.dimse.upper.state import State

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
REQUEST = AssociateRequest(
    called_ae_title="B",
    calling_ae_title="A",
    contexts=(ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(3, MR, (IMPLICIT,))),
    implementation_class_uid="1.2.3",
    implementation_version_name="V",
)
SUPPORTED = {CT: {IMPLICIT, EXPLICIT}}
FIRST_PDU = struct.Struct(">BxL")


def feed(connection, data, chunk=1 << 30, events=None):
    """Give bytes as a socket would; the events, with the data of fragments copied before it goes."""
    events, data = [] if events is None else events, memoryview(data)
    while True:
        while (event := connection.next_event()) is not None:
            if isinstance(event, Fragment):
                event = Fragment(event.context_id, event.is_command, event.is_last, bytes(event.data))
            events.append(event)
        if not data:
            return events
        buffer = connection.get_buffer()
        count = min(len(buffer), chunk, len(data))
        assert count
        buffer[:count] = data[:count]
        connection.buffer_updated(count)
        data = data[count:]


def established(maximum_length=131072, **options):
    """A requestor and an acceptor with an association: CT accepted in context 1, MR refused."""
    requestor = Connection("requestor", **options)
    acceptor = Connection("acceptor", maximum_length=maximum_length, **options)
    [request] = feed(acceptor, requestor.request(REQUEST))
    answer = negotiate(request, SUPPORTED, maximum_length=maximum_length)
    [accept] = feed(requestor, acceptor.accept(answer))
    assert request == REQUEST
    assert accept == answer
    return requestor, acceptor


def p_data(context_id, control, data):
    return struct.pack(">BxLLBB", 4, len(data) + 6, len(data) + 2, context_id, control) + data


def joined(events):
    """Fragments of one message as (command, data set); checks that last is said once, and last."""
    assert [e.is_last for e in events if e.is_command][:-1].count(True) == 0
    return b"".join(e.data for e in events if e.is_command), b"".join(
        e.data for e in events if not e.is_command
    )


def test_both_sides_agree_on_what_was_established():
    requestor, acceptor = established(maximum_length=20000)
    assert requestor.contexts == acceptor.contexts
    assert list(acceptor.contexts) == [1]
    assert acceptor.contexts[1].abstract_syntax == CT
    assert acceptor.contexts[1].transfer_syntax == EXPLICIT
    assert (requestor.state, acceptor.state) == (State.Sta6, State.Sta6)
    assert (requestor.peer_maximum_length, acceptor.peer_maximum_length) == (20000, 131072)
    assert requestor.largest_fragment == 19994


def test_a_release_from_either_side():
    for asking in (0, 1):
        pair = established()
        one, other = pair[asking], pair[1 - asking]
        assert feed(other, one.release()) == [Released()]
        assert feed(one, other.confirm_release()) == [ReleaseConfirmed()]
        assert (one.state, other.state) == (State.Sta1, State.Sta13)
        assert other.closed_by_transport() is None
        assert other.state is State.Sta1


def test_both_ask_for_release_at_once():
    requestor, acceptor = established()
    from_requestor, from_acceptor = requestor.release(), acceptor.release()
    assert feed(requestor, from_acceptor) == [Released()]
    assert feed(acceptor, from_requestor) == [Released()]
    assert (requestor.state, acceptor.state) == (State.Sta9, State.Sta10)
    assert feed(acceptor, requestor.confirm_release()) == [ReleaseConfirmed()]
    assert feed(requestor, acceptor.confirm_release()) == [ReleaseConfirmed()]
    assert (requestor.state, acceptor.state) == (State.Sta1, State.Sta13)


def test_data_may_follow_our_release():
    requestor, acceptor = established()
    requestor.release()
    assert len(feed(requestor, acceptor.fragments(1, b"ab"))) == 1


def test_a_rejection():
    requestor, acceptor = Connection("requestor"), Connection("acceptor")
    feed(acceptor, requestor.request(REQUEST))
    assert feed(requestor, acceptor.reject(1, 1, 7)) == [AssociateReject(1, 1, 7)]
    assert (requestor.state, acceptor.state) == (State.Sta1, State.Sta13)


def test_an_abort_in_the_middle_of_a_data_set():
    requestor, acceptor = established()
    feed(acceptor, p_data(1, 0, bytes(1000))[:500])
    abort = acceptor.abort()
    assert feed(requestor, abort) == [Abort(0, 0)]
    assert feed(acceptor, bytes(512) + p_data(1, 2, b"xx")) == []  # the rest of it is ignored
    assert acceptor.state is State.Sta13
    assert acceptor.abort() == b""


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 100, 16384, 1 << 30])
def test_chunks_make_no_difference(chunk):
    command, data = random.Random(1).randbytes(150), random.Random(2).randbytes(40001)
    requestor, acceptor = Connection("requestor"), Connection("acceptor", maximum_length=16384)
    [request] = feed(acceptor, requestor.request(REQUEST), chunk)
    feed(requestor, acceptor.accept(negotiate(request, SUPPORTED, maximum_length=16384)), chunk)
    stream = requestor.fragments(1, command)
    pieces = [data[i : i + 16378] for i in range(0, len(data), 16378)]
    for i, piece in enumerate(pieces):
        control = 2 if i == len(pieces) - 1 else 0
        stream += requestor.pdv_header(1, control, len(piece)) + piece
    events = feed(acceptor, stream + requestor.release(), chunk)
    assert events.pop() == Released()
    assert joined(events) == (command, data)
    assert [i for i, e in enumerate(events) if e.is_last and not e.is_command] == [len(events) - 1]


@pytest.mark.parametrize("peer", [0, 8, 9, 64, 131072])
@pytest.mark.parametrize("length", [1, 2, 3, 58, 59, 150])
def test_commands_are_split_to_what_the_peer_takes(peer, length):
    requestor, acceptor = established(maximum_length=peer)
    stream = requestor.fragments(1, bytes(range(length)))
    at = 0
    while at < len(stream):
        _, size = FIRST_PDU.unpack_from(stream, at)
        assert size <= peer or not peer
        at += 6 + size
    events = feed(acceptor, stream)
    assert joined(events)[0] == bytes(range(length))
    assert [e.is_last for e in events] == [False] * (len(events) - 1) + [True]


def test_several_values_in_one_pdu_as_pynetdicom_packs_them():
    pdu = p_data(1, 3, b"command.")[6:] + p_data(1, 0, b"da")[6:] + p_data(1, 2, b"ta")[6:]
    pdu = struct.pack(">BxL", 4, len(pdu)) + pdu
    theirs = P_DATA_TF()
    theirs.decode(pdu)
    assert theirs.encode() == pdu
    _, acceptor = established()
    events = feed(acceptor, pdu)
    assert joined(events) == (b"command.", b"data")
    assert [e.is_last for e in events] == [True, False, True]


@pytest.mark.parametrize("control", [0, 1, 2, 3])
def test_a_value_of_no_length(control):
    _, acceptor = established()
    [event] = feed(acceptor, p_data(1, control, b""))
    assert (event.is_command, event.is_last, event.data) == (control & 1 == 1, control & 2 == 2, b"")


def test_fragments_are_not_copies():
    _, acceptor = established()
    buffer = acceptor.get_buffer()
    pdu = p_data(1, 2, bytes(64))
    buffer[: len(pdu)] = pdu
    acceptor.buffer_updated(len(pdu))
    event = acceptor.next_event()
    buffer[12] = 255
    assert event.data[0] == 255


def test_a_silent_connection_costs_little_and_a_busy_one_grows_to_its_bound():
    _, acceptor = established(maximum_length=0, buffer_size=200_000)
    assert len(acceptor.get_buffer()) == SMALL_BUFFER
    feed(acceptor, p_data(1, 2, bytes(5_000_000)))
    assert len(acceptor.get_buffer()) == 200_000


LYING = {
    "a value longer than its PDU": (b"\4\0" + struct.pack(">LLBB", 8, 5, 1, 2) + b"abc", 6),
    "a value far too long": (b"\4\0" + struct.pack(">LLBB", 8, 0xFFFFFFFF, 1, 2) + b"ab", 6),
    "a value without its header": (b"\4\0" + struct.pack(">LLBB", 8, 1, 1, 2) + b"ab", 6),
    "a value of length 0": (b"\4\0" + struct.pack(">LLBB", 8, 0, 1, 2) + b"ab", 6),
    "a PDU without values": (b"\4\0" + struct.pack(">L", 0), 6),
    "a PDU of 5 bytes": (b"\4\0" + struct.pack(">L", 5) + bytes(5), 6),
    "bytes left over": (b"\4\0" + struct.pack(">LLBB", 9, 3, 1, 2) + b"abc", 6),
    "a PDU longer than agreed": (b"\4\0" + struct.pack(">L", 131073), 6),
    "a PDU of 4 GB": (b"\4\0\xff\xff\xff\xff", 6),
    "a context that was refused": (p_data(3, 2, b"ab"), 5),
    "a context that was never proposed": (p_data(99, 2, b"ab"), 5),
    "an unknown PDU": (b"\x08\0\0\0\0\4abcd", 1),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", 1),
    "a second request": (REQUEST.encode(), 2),
    "a release with a body": (b"\5\0\0\0\1\0", 6),
    "an abort without one": (b"\7\0\0\0\0\0", 6),
}


@pytest.mark.parametrize("chunk", [1, 1 << 30])
@pytest.mark.parametrize("name", LYING)
def test_lies_end_the_association_with_the_reason(name, chunk):
    _, acceptor = established()
    data, reason = LYING[name]
    believed = []
    with pytest.raises(ProtocolError) as caught:
        feed(acceptor, data, chunk, believed)
    assert all(name == "bytes left over" and event.data == b"a" for event in believed)
    assert caught.value.reason == reason
    assert acceptor.state is State.Sta13
    assert feed(acceptor, data * 3) == []
    assert acceptor.abort(2, reason) == Abort(2, reason).encode()
    assert acceptor.abort(2, reason) == b""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (p_data(1, 3, b"ab"), 2),
        (Released().encode(), 2),
        (ReleaseConfirmed().encode(), 2),
        (b"\1\0\xff\xff\xff\xff", 6),
        (b"\1\0\0\0\0\4abcd", 6),
        (b"\x16\3\1\2\0\1", 1),
    ],
)
def test_an_acceptor_wants_a_request_first(data, reason):
    acceptor = Connection("acceptor")
    with pytest.raises(ProtocolError) as caught:
        feed(acceptor, data)
    assert caught.value.reason == reason
    assert len(acceptor.abort(2, reason)) == 10


def accept_of(*contexts, **changed):
    values = {"called_ae_title": "B", "calling_ae_title": "A", "contexts": contexts, "implementation_class_uid": "1.2", "implementation_version_name": ""}  # fmt: skip
    return AssociateAccept(**(values | changed)).encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (accept_of(ContextResult(5, 0, IMPLICIT)), 5),
        (accept_of(ContextResult(3, 0, EXPLICIT)), 6),
        (accept_of(ContextResult(1, 0, "")), 6),
        (accept_of(ContextResult(1, 0, IMPLICIT), maximum_length=7), 6),
        (REQUEST.encode(), 2),
        (p_data(1, 3, b"ab"), 2),
    ],
)
def test_a_requestor_believes_no_answer_that_does_not_fit(answer, reason):
    requestor = Connection("requestor")
    requestor.request(REQUEST)
    with pytest.raises(ProtocolError) as caught:
        feed(requestor, answer)
    assert caught.value.reason == reason
    assert requestor.contexts == {}


def test_what_the_state_does_not_permit_is_refused_to_ourselves():
    requestor, acceptor = Connection("requestor"), Connection("acceptor")
    refused = [
        requestor.release,
        acceptor.confirm_release,
        lambda: acceptor.reject(1, 1, 1),
        lambda: acceptor.request(REQUEST),
        lambda: requestor.pdv_header(1, 0, 2),
    ]
    for call in refused:
        with pytest.raises(StateError):
            call()
    assert requestor.abort() == b""


def test_the_end_of_the_connection_is_told_where_there_was_an_association():
    _, acceptor = established()
    assert acceptor.closed_by_transport() == Abort(2, 0)
    assert acceptor.closed_by_transport() is None
    assert Connection("acceptor").closed_by_transport() is None


def test_after_a_rejection_pdus_are_ignored_but_for_an_abort_and_a_new_request():
    requestor, acceptor = Connection("requestor"), Connection("acceptor")
    feed(acceptor, requestor.request(REQUEST))
    acceptor.reject(1, 1, 1)
    ignored = (
        b"\5\0\0\0\0\0" + b"\4\0" + struct.pack(">L", 300_000) + bytes(300_000) + ReleaseConfirmed.ENCODED
    )
    assert feed(acceptor, ignored) == []
    with pytest.raises(ProtocolError):  # AA-7
        feed(acceptor, REQUEST.encode())
    assert acceptor.abort(2, 2)


def test_an_abort_behind_ignored_pdus_is_seen():
    requestor, acceptor = Connection("requestor"), Connection("acceptor")
    feed(acceptor, requestor.request(REQUEST))
    acceptor.reject(1, 1, 1)
    assert feed(acceptor, b"\5\0\0\0\0\0" + ReleaseConfirmed.ENCODED + Abort(0, 0).encode()) == [Abort(0, 0)]
    assert acceptor.state is State.Sta1


def test_a_request_longer_than_the_first_buffer_arrives_whole():
    contexts = tuple(
        ProposedContext(i, CT, tuple(f"1.2.840.10008.1.2.4.{j}" for j in range(30))) for i in range(1, 256, 2)
    )
    request = replace(REQUEST, contexts=contexts)
    assert len(request.encode()) > 4 * SMALL_BUFFER
    assert feed(Connection("acceptor"), request.encode()) == [request]
