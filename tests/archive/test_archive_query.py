"""Matching (PS3.4 C.2.2.2): a table of queries and who they find."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacskit.archive import Archive
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

PATIENTS = {
    "a": {"PatientName": "Müller^Änne", "PatientID": "A_1", "StudyDate": "20260101", "StudyTime": "101530"},
    "b": {"PatientName": "Иванов^Пётр", "PatientID": "A%1", "StudyDate": "20260131", "StudyTime": "235959"},
    "c": {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "PatientID": "O'Hara",
        "StudyDate": "20251231",
    },
    "d": {
        "PatientName": "Groß^Öz*ge",
        "PatientID": "AX1",
        "StudyDate": "",
        "Modality": "MR",
        "SeriesNumber": 7,
    },
    "e": {
        "PatientName": "",
        "PatientID": "a\\_1".replace("\\", "/"),
        "StudyDate": "20260201",
        "Modality": "SR",
    },
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder: Path = tmp_path_factory.mktemp("query")
    with Archive.create_or_open(folder, EventBus(), ArchiveSettings(durability="fast")) as archive:
        for number, (name, about) in enumerate(PATIENTS.items(), 1):
            uid = f"1.{number}"
            send_to(archive, make(f"{uid}.1.1", uid, f"{uid}.1", AccessionNumber=name, **about))
            second = about | {"Modality": "PR", "SeriesNumber": 99, "InstanceNumber": number, "Rows": 512}
            send_to(archive, make(f"{uid}.2.1", uid, f"{uid}.2", AccessionNumber=name, **second))
        yield archive


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "abcde"),
    ({"PatientName": "müller^änne"}, "a"),
    ({"PatientName": "MÜLLER*"}, "a"),
    ({"PatientName": "M?ller*"}, "a"),
    ({"PatientName": "Mu\u0308ller*"}, "a"),
    ({"PatientName": "ИВАНОВ^ПЁТР"}, "b"),
    ({"PatientName": "иван*"}, "b"),
    ({"PatientName": "yamada*"}, "c"),
    ({"PatientName": "山田*"}, "c"),
    ({"PatientName": "*太郎"}, "c"),
    ({"PatientName": "やまだ^たろう"}, "c"),
    ({"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}, "c"),
    ({"PatientName": "GROSS*"}, "d"),
    ({"PatientName": "*"}, "abcde"),
    ({"PatientName": ""}, "abcde"),
    ({"PatientName": None}, "abcde"),
    ({"PatientName": "Müller"}, ""),
    ({"PatientName": "%"}, ""),
    ({"PatientID": "A_1"}, "a"),
    ({"PatientID": "A%1"}, "b"),
    ({"PatientID": "A?1"}, "abd"),
    ({"PatientID": "A_*"}, "a"),
    ({"PatientID": "A%*"}, "b"),
    ({"PatientID": "a_1"}, ""),
    ({"PatientID": "O'Hara"}, "c"),
    ({"PatientID": "O'*"}, "c"),
    ({"PatientID": "' OR 1=1 --"}, ""),
    ({"PatientID": ["A_1", "AX1"]}, "ad"),
    ({"PatientID": []}, ""),
    ({"PatientID": ["A_1", "*"]}, "abcde"),
    ({"StudyDate": "20260101"}, "a"),
    ({"StudyDate": "2026-01-01"}, "a"),
    ({"StudyDate": datetime.date(2026, 1, 31)}, "b"),
    ({"StudyDate": "20260101-20260131"}, "ab"),
    ({"StudyDate": "20260131-"}, "be"),
    ({"StudyDate": "-20260101"}, "ac"),
    ({"StudyDate": "-"}, "abce"),
    ({"StudyTime": "1000-1030"}, "a"),
    ({"StudyTime": "23-"}, "b"),
    ({"Modality": "MR"}, "d"),
    ({"ModalitiesInStudy": "MR"}, "d"),
    ({"ModalitiesInStudy": ["MR", "SR"]}, "de"),
    ({"Modality": "C?"}, "abc"),
    ({"SeriesNumber": 7}, "d"),
    ({"SeriesNumber": "99"}, "abcde"),
    ({"Modality": "PR", "SeriesNumber": 7}, ""),
    ({"InstanceNumber": 3}, "c"),
    ({"InstanceNumber": [3, 4]}, "cd"),
    ({"Rows": 512, "Modality": "PR", "PatientID": "AX1"}, "d"),
    ({"StudyInstanceUID": "1.1"}, "a"),
    ({"StudyInstanceUID": ["1.1", "1.5"]}, "ae"),
    ({"StudyInstanceUID": "1.1\\1.5"}, "ae"),
    ({"StudyInstanceUID": "1.*"}, ""),
    ({"SeriesInstanceUID": "1.4.2"}, "d"),
    ({"SOPInstanceUID": "1.2.2.1"}, "b"),
]


@pytest.mark.parametrize(("query", "found"), CASES, ids=lambda value: str(value))
def test_finds(filled: Archive, query: dict[str, Any], found: str) -> None:
    for level in ("study", "series", "instance"):
        table = filled.table(level, columns=["AccessionNumber"], **query)
        assert "".join(sorted(set(table.AccessionNumber))) == found
    studies = filled.studies(**query)
    assert "".join(sorted("abcde"[int(uid[2:]) - 1] for uid in studies.study_uid)) == found


def test_only_what_matches_below(filled: Archive) -> None:
    assert set(filled.table("series", Modality="PR").modality) == {"PR"}
    assert list(filled.table("instance", InstanceNumber=3).instance_number) == [3]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"PatientNam": "x"}, "did you mean PatientName"),
        ({"Modalty": "x"}, "did you mean Modality"),
        ({"EchoTim": "x"}, "did you mean EchoTime"),
        ({"qqqqq": "x"}, "no DICOM keyword"),
        ({"EchoTime": 1}, "columns="),
        ({"SeriesNumber": "seven"}, "is a number"),
        ({"StudyDate": "january-february"}, "20260101-20261231"),
        ({"StudyDate": "2026-2027"}, "20260101-20261231"),
    ],
)
def test_what_cannot_be_asked(filled: Archive, query: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        filled.studies(**query)


def test_columns_are_typed(filled: Archive) -> None:
    found = filled.studies()
    assert list(found.dtypes.astype(str)) == [
        *("str", "str", "str", "datetime64[s]", "str", "str", "int64", "int64", "int64"),
        *("datetime64[ns, UTC]", "str", "str"),
    ]
    assert (filled.studies(PatientID="nobody").dtypes == found.dtypes).all()
    read = filled.table("series", columns=["EchoTime", "ContentDate", "NumberOfFrames", "Rows"])
    assert list(read.dtypes.astype(str)[-4:]) == ["float64", "datetime64[s]", "Int64", "Int64"]
    with pytest.raises(ValueError, match="level is"):
        filled.table("frame")
    with pytest.raises(ValueError, match="did you mean EchoTime"):
        filled.table("series", columns=["EchoTimee"])
