"""Patients: same ID with another name or birth date, one study under two patients, no ID; in any order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from pydicom.dataset import Dataset

from pacskit.archive import Archive
from pacskit.events import ConflictFound, EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import Send, make, send_to


def two(**second: Any) -> list[Dataset]:
    """Two studies, the second with other attributes."""
    return [make(), make("1.2.4.1", "1.2.4", "1.2.4.0", **second)]


@pytest.mark.parametrize(
    "second",
    [{"PatientName": "Roe^Richard"}, {"PatientBirthDate": "19800202"}],
    ids=["other name", "other birth date"],
)
def test_same_id_is_another_patient(
    archive: Archive, send: Send, events: EventBus, second: dict[str, str]
) -> None:
    for dataset in two(**second):
        send(dataset)
    found = archive.studies()
    assert len(found) == 2
    assert all("same Patient ID" in sentence for sentence in found.conflict)
    for name in ("Doe", "Roe", "1970", "1980", "001"):
        assert not found.conflict.str.contains(name).any(), "no identifiers in the sentence"
    send(make("1.2.4.2", "1.2.4", "1.2.4.0", **second))
    archive.drain()
    told = [event.study_uid for event in events.recent(ConflictFound)]
    assert sorted(told) == ["1.2.3", "1.2.4"], "each study once"


def test_one_study_under_two_patients(archive: Archive, send: Send, events: EventBus) -> None:
    send(make())
    send(make("1.2.3.2", PatientID="002"))
    found = archive.studies()
    assert list(found.study_uid) == ["1.2.3", "1.2.3"]
    assert set(found.patient_id) == {"001", "002"}
    assert list(found.instances) == [1, 1]
    assert all("two patients" in sentence for sentence in found.conflict)
    assert [event.study_uid for event in events.recent(ConflictFound)] == ["1.2.3"]


@pytest.mark.parametrize(
    "second",
    [
        {"PatientBirthDate": ""},
        {"PatientBirthDate": None},
        {"PatientName": ""},
        {"PatientName": "DOE^JANE"},
        {"PatientName": "Doe^Jane^^^"},
        {"PatientName": " doe ^  jane"},
        {"PatientName": "", "PatientBirthDate": ""},
        {"IssuerOfPatientID": "OTHER HOSPITAL", "PatientName": "Roe"},
        {"PatientID": "002", "PatientName": "Roe"},
        {"PatientID": ""},
    ],
    ids=str,
)
def test_no_conflict(archive: Archive, send: Send, events: EventBus, second: dict[str, str]) -> None:
    for dataset in two(**second):
        send(dataset)
    assert list(archive.studies().conflict) == ["", ""]
    assert not events.recent(ConflictFound)


@pytest.mark.parametrize("missing", ["PatientName", "PatientBirthDate"])
def test_left_out_within_a_study_contradicts_nothing(archive: Archive, send: Send, missing: str) -> None:
    """The rows stay apart, without a sentence."""
    send(make())
    send(make("1.2.3.2", **{missing: ""}))
    assert list(archive.studies().conflict) == ["", ""]


def test_without_id_a_patient_for_each_study(archive: Archive, send: Send, events: EventBus) -> None:
    send(make(PatientID=""))
    send(make("1.2.4.1", "1.2.4", "1.2.4.0", PatientID="", PatientName="Roe^Richard"))
    assert list(archive.studies().conflict) == ["", ""]
    send(make("1.2.3.2", PatientID="", PatientName="Poe^Edgar"))
    found = archive.studies()
    assert len(found) == 3
    assert found.set_index("study_uid").conflict["1.2.4"] == ""
    assert found.conflict.str.contains("two patients").sum() == 2


INSTANCE = st.fixed_dictionaries(
    {
        "study": st.sampled_from(["1.2.3", "1.2.4", "1.2.5"]),
        "series": st.sampled_from(["0", "1"]),
        "PatientID": st.sampled_from(["001", "002", ""]),
        "PatientName": st.sampled_from(["Doe^Jane", "DOE^Jane", "Roe", ""]),
        "PatientBirthDate": st.sampled_from(["19700101", "19800101", ""]),
        "StudyDescription": st.sampled_from(["Head", "Foot"]),
        "Modality": st.sampled_from(["CT", "SR"]),
        "at": st.sampled_from([10.0, 20.0]),
    }
)


@settings(max_examples=25)
@given(st.data())
def test_any_order_gives_the_same_answers(data: st.DataObject) -> None:
    instances = list(enumerate(data.draw(st.lists(INSTANCE, min_size=2, max_size=6))))
    orders = [instances, data.draw(st.permutations(instances))]
    tables = []
    for number, order in enumerate(orders):
        with tempfile.TemporaryDirectory() as name:
            fast = ArchiveSettings(durability="fast")
            with Archive.create_or_open(Path(name), EventBus(), fast) as archive:
                for index, drawn in order:
                    about = dict(drawn)
                    study, series, at = about.pop("study"), about.pop("series"), about.pop("at")
                    send_to(archive, make(f"9.{index}", study, f"{study}.{series}", **about), at=at)
                    if number:
                        archive.drain()  # one row a batch, against all in few
                tables.append((archive.studies(), archive.table("series"), archive.table("instance")))
    for one, other in zip(*tables, strict=True):
        columns = [column for column in one if column != "path"]
        assert_frame_equal(one[columns], other[columns])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "late"])
def test_attributes_of_the_first_receipt_of_the_last(
    archive: Archive, send: Send, order: tuple[int, int]
) -> None:
    for number in order:
        dataset = make(f"9.{number}", StudyDescription=("Head", "Foot")[number])
        send(dataset, at=(10.0, 20.0)[number], ae=("FIRST", "LAST")[number])
        archive.drain()
    row = archive.studies().iloc[0]
    assert (row.study_description, row.received_from, row.received_at.timestamp()) == ("Head", "LAST", 20.0)
