"""Hostile UIDs: A900 before anything touches the disk, and nothing outside of the folder ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacskit.archive import Archive, Origin
from pacskit.errors import Refused
from tests.archive.conftest import Send, encode, make

HOSTILE = {
    "parent": "../../etc/passwd",
    "in parent": "1.2/../../3",
    "slash": "1.2/3",
    "absolute": "/1.2.3",
    "backslash": "1.2\\3",
    "NUL": "1.2\0.3",
    "65 characters": "1." + "2" * 63,
    "empty": "",
    "umlaut": "1.2.ü",
    "other digits": "1.2.３",
    "line end": "1.2.3\n",
    "space": "1. 2",
    "letters": "1.2.x",
    "dots": "1..2",
    "last dot": "1.2.",
    "only dots": "..",
}


def tree(folder: Path) -> dict[str, bytes]:
    """Everything but the index, whose bytes SQLite may move."""
    files = (path for path in folder.rglob("*") if path.is_file() and "index.sqlite" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("uid", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("which", ["sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"])
def test_command_with_hostile_uid(archive: Archive, tmp_path: Path, uid: str, which: str) -> None:
    before = tree(tmp_path)
    good = dict.fromkeys(("sop_class_uid", "sop_instance_uid", "transfer_syntax_uid"), "1.2.3")
    with pytest.raises(Refused) as refusal:
        archive.incoming(**(good | {which: uid}), origin=Origin(received_at=1.0))
    assert refusal.value.status == 0xA900
    assert tree(tmp_path) == before


@pytest.mark.parametrize("uid", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("which", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_data_set_with_hostile_uid(
    archive: Archive, send: Send, tmp_path: Path, uid: str, which: str
) -> None:
    before = tree(tmp_path)
    raw = uid.encode("utf-8")[:65].ljust(66, b"\0") if uid else bytes(18)
    marked = make(**{which: "9." + "8" * 62})
    good = encode(marked)
    old = b"\x40\x00" + b"9." + b"8" * 62
    assert old in good
    body = good.replace(old, len(raw).to_bytes(2, "little") + raw)
    with pytest.raises(Refused) as refusal:
        send(make(), body=body)
    assert refusal.value.status == 0xA900
    assert tree(tmp_path) == before
    assert archive.studies().empty


@pytest.mark.parametrize("which", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_missing_uid(archive: Archive, send: Send, which: str) -> None:
    with pytest.raises(Refused, match="missing") as refusal:
        send(make(**{which: None}), sop="1.2.3.1")
    assert refusal.value.status == 0xA900
    assert archive.studies().empty


def test_another_uid_than_the_command_says(archive: Archive, send: Send) -> None:
    with pytest.raises(Refused, match="command") as refusal:
        send(make("1.2.3.1"), sop="1.2.3.2")
    assert refusal.value.status == 0xA900
    assert not list((archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("uid", ["1", "0.0", "1.2.03", "2.25." + "9" * 59])
def test_harmless_uids_are_taken(archive: Archive, send: Send, uid: str) -> None:
    send(make(sop=uid, study=uid, series=uid))
    assert list(archive.studies().study_uid) == [uid]
