"""DIMSE command sets, both ways, and against pydicom's reading of the same bytes."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from pacskit.dimse import command as c
from pacskit.dimse.upper.pdu import ProtocolError

CT = "1.2.840.10008.5.1.4.1.1.2"
STORE = c.decode(c.store_rq(7, CT, "1.2.3", c.HIGH, "MOVER", 9))
ECHO = c.decode(c.echo_rq(65535))


def by_pydicom(data):
    return read_dataset(BytesIO(data), is_implicit_VR=True, is_little_endian=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (c.echo_rq(1), {"CommandField": 0x30, "MessageID": 1, "CommandDataSetType": 0x0101, "AffectedSOPClassUID": "1.2.840.10008.1.1"}),
        (c.echo_rsp(ECHO), {"CommandField": 0x8030, "MessageIDBeingRespondedTo": 65535, "Status": 0, "AffectedSOPClassUID": "1.2.840.10008.1.1"}),
        (c.store_rq(7, CT, "1.2.3", c.LOW, "MOVER", 9), {"CommandField": 1, "MessageID": 7, "Priority": 2, "AffectedSOPInstanceUID": "1.2.3", "MoveOriginatorApplicationEntityTitle": "MOVER", "MoveOriginatorMessageID": 9}),
        (c.store_rsp(STORE, 0xA700, "disk full"), {"CommandField": 0x8001, "MessageIDBeingRespondedTo": 7, "Status": 0xA700, "ErrorComment": "disk full", "AffectedSOPClassUID": CT, "AffectedSOPInstanceUID": "1.2.3", "CommandDataSetType": 0x0101}),
        (c.unsupported_rsp(STORE), {"CommandField": 0x8001, "Status": 0x0211}),
    ],
)  # fmt: skip
def test_pydicom_reads_what_we_write(data, expected):
    dataset = by_pydicom(data)
    assert {keyword: dataset[keyword].value for keyword in expected} == expected
    assert dataset.CommandGroupLength == len(data) - 12
    assert all(len(raw) % 2 == 0 for raw in c.decode(data).elements.values())
    assert [e.tag for e in dataset] == sorted(e.tag for e in dataset)


def test_a_store_request_is_read():
    assert (STORE.command_field, STORE.message_id, STORE.priority, STORE.has_data_set) == (1, 7, 1, True)
    assert (STORE.sop_class_uid, STORE.sop_instance_uid, STORE.status) == (CT, "1.2.3", None)
    assert (STORE.move_originator_ae_title, STORE.move_originator_message_id) == ("MOVER", 9)
    assert not ECHO.has_data_set


def test_a_store_response_is_read():
    response = c.decode(c.store_rsp(STORE, 0xC001, "exists"))
    assert (response.status, response.error_comment, response.message_id_responded_to) == (
        0xC001,
        "exists",
        7,
    )
    assert response.is_response


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1/2", "1\x002", "1" * 65, "ä"])
def test_a_bad_uid_is_given_as_it_came_so_that_its_user_can_refuse_it(uid):
    command = c.decode(c.store_rq(1, CT, uid))
    assert command.sop_instance_uid == uid
    assert c.decode(c.store_rsp(command, 0xA900)).sop_instance_uid == uid


@pytest.mark.parametrize("comment", ["x" * 65, "größer \\ 日本\n" * 9, "a" * 63])
def test_a_comment_fits_its_value_representation(comment):
    value = c.decode(c.store_rsp(STORE, 0xC000, comment)).elements[0x0902]
    assert len(value) <= 64
    assert value.isascii()
    assert b"\\" not in value


MISSING = {0x0100: "Command Field", 0x0800: "Data Set Type", 0x0110: "Message ID"}


@pytest.mark.parametrize("element", MISSING)
def test_what_every_command_has_must_be_there(element):
    left = {k: v for k, v in STORE.elements.items() if k != element}
    with pytest.raises(ProtocolError, match=MISSING[element]):
        c.Command(left)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (c.echo_rq(1)[:-1], "claims 2 bytes"),
        (c.echo_rq(1)[:-6], "cut"),
        (b"\x08\0\x18\0\0\0\0\0", "group 0000"),
        (b"\0\0\2\0\xff\xff\xff\xff", "claims 4294967295"),
        (b"\0\0\0\1\4\0\0\0\1\0\0\0", "has 4 bytes"),
        (b"", "Command Field"),
    ],
)
def test_cut_and_lying_commands_are_protocol_errors(data, sentence):
    with pytest.raises(ProtocolError, match=sentence):
        c.decode(data)


@pytest.mark.parametrize("request_", [c.decode(c.store_rsp(STORE, 0)), c.decode(c.encode({0x0100: c.C_CANCEL_RQ, 0x0120: 1, 0x0800: 0x0101}))])  # fmt: skip
def test_nothing_answers_a_response_or_a_cancel(request_):
    with pytest.raises(ProtocolError, match="answers nothing"):
        c.unsupported_rsp(request_)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_a_protocol_error(data):
    for candidate in (data, STORE.elements[2] + data, c.echo_rq(1)[:20] + data):
        try:
            command = c.decode(candidate)
        except ProtocolError:
            continue
        assert repr(command)
        assert isinstance(command.sop_instance_uid, str)
