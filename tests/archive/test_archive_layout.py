"""Paths of stored files: short, readable, without names, and following from the header alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacskit.archive import Archive
from pacskit.archive.files import relative_path
from pacskit.archive.header import KEYWORDS, VR_OF, Header
from pacskit.errors import ArchiveError
from pacskit.events import EventBus
from tests.archive.conftest import Send, make

UID = "1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345678"


def header(**attributes: object) -> Header:
    found: dict[str, object] = {key: None if VR_OF[key] in ("IS", "US") else "" for key in KEYWORDS}
    found |= {"StudyInstanceUID": UID, "SeriesInstanceUID": UID + "1", "SOPInstanceUID": UID + "2"}
    return Header(found | attributes, "1.2.840.10008.1.2.1")


NUMBER = st.none() | st.integers(-(2**31), 2**31 - 1)


@given(st.text(max_size=30), st.text(max_size=64), st.sampled_from(["", "20260131"]), NUMBER, NUMBER)
def test_short_and_of_safe_characters(
    modality: str, name: str, day: str, series: int | None, instance: int | None
) -> None:
    said = header(Modality=modality, StudyDate=day, SeriesNumber=series, InstanceNumber=instance)
    path = relative_path(said)
    assert len(path) < 110
    assert re.fullmatch(r"studies(/[a-z0-9-]+){3}\.dcm", path)
    assert relative_path(header(**said.attributes)) == path
    assert relative_path(header(**{**said.attributes, "PatientName": name, "PatientID": name})) == path


def test_readable() -> None:
    path = relative_path(header(Modality="CT", StudyDate="20260131", SeriesNumber=3, InstanceNumber=17))
    assert re.fullmatch(r"studies/20260131-\w{12}/0003-ct-\w{12}/000017-\w{16}\.dcm", path)
    assert re.fullmatch(r"studies/undated-\w{12}/xxxx-x-\w{12}/xxxxxx-\w{16}\.dcm", relative_path(header()))


@pytest.mark.parametrize("level", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_each_uid_has_its_own_place(level: str) -> None:
    assert relative_path(header(**{level: "1.2.3"})) != relative_path(header(**{level: "1.2.4"}))


def test_stored_where_the_header_says_for_the_owner_alone(archive: Archive, send: Send) -> None:
    stored = send(make(PatientName="Secret^Person"))
    assert stored.path.is_file()
    assert stored.path.stat().st_mode & 0o777 == 0o600
    assert stored.path.parent.stat().st_mode & 0o777 == 0o700
    assert stored.bytes == stored.path.stat().st_size
    assert "ecret" not in str(stored.path)
    assert not list((archive.folder / "incoming").iterdir())


def test_the_data_set_is_kept_byte_for_byte(archive: Archive, send: Send) -> None:
    from_wire = send(make(EncapsulatedDocument=b"\1\2" * 5000)).path.read_bytes()
    assert from_wire[128:132] == b"DICM"
    assert from_wire[:128] == bytes(128), "the mark of unfinished files is gone"
    assert from_wire.endswith(b"\1\2" * 5000)


def test_folder_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    from_future = tmp_path / "new"
    from_future.mkdir()
    (from_future / "format.json").write_text('{"format": 99}')
    with pytest.raises(ArchiveError, match="newer pacskit"):
        Archive.create_or_open(from_future, EventBus())
