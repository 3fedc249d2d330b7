"""Character sets that the standard does not have: the instance is kept, and nothing prints from a thread."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import pacskit
from pacskit.dimse.send import InMemory, send
from pacskit.peers import PeerAddress


@pytest.mark.parametrize(
    "named", ["ISO_X\\foo", "ISO IR 100", "iso-ir 192", "\\ISO 2022 IR 87", "\\\\\\", "ISO 2022 IR 999"]
)
def test_a_character_set_that_is_none_prints_nothing(named: str, tmp_path: Path, capfd, recwarn) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    del dataset.SpecificCharacterSet
    instance = InMemory.of(dataset)
    value = named.encode() + b" " * (len(named) % 2)
    head = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value
    changed = dataclasses.replace(instance, content=head + instance.content)
    with pacskit.Station(
        archive=tmp_path, listener={"enabled": True, "host": "127.0.0.1", "port": 0}
    ) as station:
        peer = PeerAddress("PACSKIT", "127.0.0.1", station.listener.status.port)
        assert send(peer, [changed]).sent == 1
        assert list(station.studies()["patient_name"]) == ["CompressedSamples^CT1"]
    assert not recwarn.list
    assert capfd.readouterr().err == ""
