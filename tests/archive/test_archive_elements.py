"""The walk over elements: any bytes give attributes or a refusal; bombs cost neither memory nor time."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacskit.archive import elements
from pacskit.archive.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from pacskit.archive.header import read_attributes, receipt
from pacskit.errors import Refused
from pacskit.imaging.part10 import PRIVATE_CREATOR_UID, FileHead, file_head, read_head
from tests.archive.conftest import encode, make

GOOD = encode(make())


def attributes(body: bytes, syntax: str = EXPLICIT) -> dict[str, object]:
    return read_attributes(lambda size, at: body[at : at + size], 0, len(body), syntax)


@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2"]))
def test_any_bytes(body: bytes, syntax: str) -> None:
    with contextlib.suppress(Refused):
        attributes(body, syntax)


@given(st.data())
def test_a_good_data_set_with_bytes_changed(data: st.DataObject) -> None:
    body = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Refused):
        attributes(bytes(body))


CHARACTER_SETS = ["ISO 2022 IR 87", "ISO_IR 13", "ISO 2022 IR 149", "GB18030", "ISO_IR 192", "NO SUCH", ""]


@given(st.binary(max_size=60), st.sampled_from(CHARACTER_SETS))
@pytest.mark.filterwarnings("ignore")
def test_any_name_in_any_character_set(name: bytes, charset: str) -> None:
    name += b" " * (len(name) % 2)
    plain = encode(make(PatientName="X" * 60, SpecificCharacterSet=charset.ljust(20)))
    body = plain.replace(b"PN\x3c\x00" + b"X" * 60, b"PN" + len(name).to_bytes(2, "little") + name)
    assert body != plain
    found = attributes(body)
    str(found["PatientName"]).encode("utf-8")


@given(st.binary(max_size=300))
def test_any_bytes_as_file_meta(start: bytes) -> None:
    for whole in (start, bytes(128) + b"DICM" + b"\2\0" + start):
        with contextlib.suppress(ValueError):
            receipt(read_head(whole), 5)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"[]", b"{}", b'{"received_ms":1e999,"received_from":""}', b"[" * 100_000,
                b'{"received_ms":99999999999999999,"received_from":""}', b'{"received_ms":-1,"received_from":""}'],
)  # fmt: skip
def test_foreign_private_information_falls_back(content: bytes) -> None:
    head = FileHead(0, {0x0100: PRIVATE_CREATOR_UID.encode(), 0x0102: content, 0x0016: b"THERE "})
    assert receipt(head, 5) == (5, "THERE")


def test_file_head_reads_back() -> None:
    head = file_head(
        sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid="1.2.4", source_ae="A" * 99,
        sending_ae="B", receiving_ae="C", source_address="dicom://host:104", private=b"{}",
    )  # fmt: skip
    read = read_head(head + b"\x08\0")
    assert (read.offset, read.private, read.text(0x16), read.text(0x26)) == (
        len(head), b"{}", "A" * 16, "dicom://host:104",
    )  # fmt: skip


def bomb(size: int) -> bytes:
    """`size` MiB of zeros in one private element, deflated about a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    length = size << 20
    parts = [packer.compress(GOOD + b"\x09\x10\x10\x10OB\0\0" + length.to_bytes(4, "little"))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(size)]
    return b"".join([*parts, packer.flush()])


def test_deflated_bomb_in_constant_memory() -> None:
    body = bomb(100)
    assert len(body) < 110_000
    tracemalloc.start()
    try:
        assert attributes(body, DEFLATED)["PatientID"] == "001"
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_deflated_bomb_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "INFLATED_LIMIT", 10 << 20)
    start = time.perf_counter()
    with pytest.raises(Refused, match="becomes more than") as refusal:
        attributes(bomb(200), DEFLATED)
    assert refusal.value.status == 0xC000
    assert time.perf_counter() - start < 5


@given(st.integers(1, 300), st.integers(1, 9))
def test_deflated_in_pieces_of_any_size(piece: int, level: int) -> None:
    """What zlib holds back when its input ends is still asked for."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = packer.compress(
        GOOD + b"\x09\x10\x10\x10OB\0\0" + (200_000).to_bytes(4, "little") + bytes(200_000)
    )
    body += packer.flush()
    found = read_attributes(lambda size, at: body[at : at + min(size, piece)], 0, len(body), DEFLATED)
    assert found["PatientID"] == "001"
