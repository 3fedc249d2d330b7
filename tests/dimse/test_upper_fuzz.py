"""20,000 damaged streams, the same each time: a ProtocolError or events, no other error, no growth."""

import random
import sys
from dataclasses import replace

import pytest
from test_upper_connection import REQUEST, SUPPORTED, p_data

from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.negotiation import negotiate
from pacskit.dimse.upper.pdu import (
    Abort,
    AssociateRequest,
    CommonExtended,
    ExtendedNegotiation,
    Fragment,
    ProtocolError,
    ReleaseConfirmed,
    Released,
    Role,
    UserIdentity,
)
from pacskit.dimse.upper.state import State
from tests.growth import GROWTH, resident

FULL = replace(
    REQUEST,
    roles=(Role("1.2.3", True, True),),
    asynchronous=(3, 3),
    identity=UserIdentity(2, True, b"name", b"secret"),
    extended=(ExtendedNegotiation("1.2.3", b"\1\1"),),
    common_extended=(CommonExtended("1.2.3", "1.2.4", ("1.2.5", "1.2.6")),),
)
DATA = p_data(1, 3, b"command ") + p_data(1, 0, bytes(300)) + p_data(1, 2, bytes(40))
ANSWER = negotiate(FULL, SUPPORTED, roles=lambda role: role, extended=FULL.extended, identity_response=b"yes")
STREAMS = {
    "acceptor": [FULL.encode(), DATA, Released().encode(), Abort(0, 0).encode()],
    "requestor": [ANSWER.encode(), DATA, ReleaseConfirmed().encode(), Abort(2, 1).encode()],
}
BOUND = 40_000


def damaged(pdus, rng):
    """The PDUs as one stream: some left out, doubled or exchanged, then bytes changed, cut, repeated."""
    pdus = list(pdus)
    for _ in range(rng.choice((0, 0, 1, 2))):
        at = rng.randrange(len(pdus))
        pdu = pdus[at] if rng.random() < 0.7 else pdus.pop(at)
        pdus.insert(rng.choice((0, at, len(pdus))), pdu)
    data = bytearray(b"".join(pdus))
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), 450))
        kind = rng.randrange(5)
        if kind < 2:
            data[at] = rng.choice((0, 1, 2, 4, 0x7F, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del data[at : at + rng.choice((1, 2, 4, 50))]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 30)))
        else:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\1\0\0", b"\0\0\0\5"))
        if not data:
            break
    return bytes(data)


def check_the_end(connection, error):
    assert str(error)
    assert error.reason in range(7)
    assert connection.abort(2, error.reason) in (b"", Abort(2, error.reason).encode())
    assert connection.state in (State.Sta1, State.Sta13)
    assert connection.next_event() is None


def ready_to_release(connection, role):
    return role == "requestor" and connection.state is State.Sta6


def survive(role, stream, rng):
    """Feed it in chunks, answer as a program would; gives whether the peer was found out."""
    connection = Connection(role, buffer_size=BOUND)
    if role == "requestor":
        connection.request(FULL)
    at, fed = 0, 0
    try:
        while True:
            while (event := connection.next_event()) is not None:
                if isinstance(event, AssociateRequest):
                    connection.accept(negotiate(event, SUPPORTED, roles=lambda role: role))
                elif isinstance(event, Released):
                    connection.confirm_release()
                elif isinstance(event, Fragment) and event.is_last and ready_to_release(connection, role):
                    connection.release()
                fed += 1
                assert fed <= len(stream) + 1
            if at == len(stream):
                break
            buffer = connection.get_buffer()
            assert 0 < len(buffer) <= BOUND
            piece = stream[at : at + min(len(buffer), rng.choice((1, 10, 200, 5000)))]
            buffer[: len(piece)] = piece
            connection.buffer_updated(len(piece))
            at += len(piece)
    except ProtocolError as error:
        check_the_end(connection, error)
        return True
    finally:
        assert sys.getsizeof(connection._buffer) <= BOUND + 100
    connection.closed_by_transport()
    assert connection.state is State.Sta1
    return False


@pytest.mark.parametrize("role", STREAMS)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_streams(role, seed):
    rng = random.Random(f"{role} {seed}")
    found_out = sum(survive(role, damaged(STREAMS[role], rng), rng) for _ in range(500))
    before = resident()
    found_out += sum(survive(role, damaged(STREAMS[role], rng), rng) for _ in range(2000))
    assert resident() - before < GROWTH
    assert 500 < found_out < 2400  # the damage is neither trifling nor always the same early death


@pytest.mark.parametrize("role", STREAMS)
def test_noise(role):
    rng = random.Random(role)
    for _ in range(1000):
        survive(role, bytes((rng.randrange(9), 0)) + rng.randbytes(rng.randrange(1, 300)), rng)


def test_undamaged_streams_survive():
    rng = random.Random(0)
    assert not survive("acceptor", b"".join(STREAMS["acceptor"][:3]), rng)
    assert not survive("requestor", b"".join(STREAMS["requestor"][:2]), rng)


@pytest.mark.soak
@pytest.mark.parametrize("role", STREAMS)
def test_a_million_damaged_streams(role, soak_seed):
    rng = random.Random(f"{role} {soak_seed}")
    for number in range(500_000):
        survive(role, damaged(STREAMS[role], rng), rng)
        if number == 50_000:
            before = resident()
    assert resident() - before < GROWTH
