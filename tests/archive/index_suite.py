"""What every index has to do, whatever keeps its tables. A back end's tests are a subclass with two methods.

class TestPostgres(IndexSuite):
    def writer(self, place, **options): ...
    def reader(self, place): ...
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from sqlalchemy import func, select

from pacskit.archive import tables
from pacskit.archive.header import KEYWORDS, VR_OF, Header
from pacskit.archive.index import IndexReader, IndexWriter
from pacskit.archive.rows import Row
from pacskit.archive.schema import instance, patient, series, study
from pacskit.errors import ArchiveError, UnknownUID

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where many short-lived indexes are made: each new file on a disk is some syncs."""
MISSING = {keyword: None if VR_OF[keyword] in ("IS", "US") else "" for keyword in KEYWORDS}


def row(uid: str, study_uid: str = "1", series_uid: str = "1.1", at: int = 0, **about: Any) -> Row:
    """A row as if its file had been read; `at`: when received, in ms."""
    found: dict[str, Any] = dict(MISSING)
    found |= {"PatientID": "001", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101", "Modality": "CT"}
    found |= {"SOPInstanceUID": uid, "StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
    size, sender = about.pop("bytes", 100), about.pop("sender", "SCANNER")
    return Row(Header(found | about, "1.2.840.10008.1.2", at, sender), f"studies/{uid}.dcm", size)


COLUMNS = {
    "patient": [*tables.PATIENT_COLUMNS, "PatientComments"],
    "study": [*tables.STUDY_COLUMNS, "PatientBirthDate", "PatientWeight", "NumberOfPatientRelatedStudies"],
    "series": [*tables.SERIES_COLUMNS, "OperatorsName", "NumberOfPatientRelatedInstances"],
    "instance": [*tables.INSTANCE_COLUMNS, "Rows", "conflict"],
}


def answers(index: IndexReader) -> list[pd.DataFrame]:
    index.drain()
    return [tables.table(index, None, level, columns, {}) for level, columns in COLUMNS.items()]


def assert_same(one: Iterable[pd.DataFrame], other: Iterable[pd.DataFrame]) -> None:
    for left, right in zip(one, other, strict=True):
        assert_frame_equal(left, right)


ROWS = st.lists(
    st.builds(
        lambda study_uid, series_uid, at, about: (study_uid, f"{study_uid}.{series_uid}", at, about),
        st.sampled_from(["1", "2", "3"]),
        st.sampled_from("12"),
        st.sampled_from([10, 20]),
        st.fixed_dictionaries(
            {
                "PatientID": st.sampled_from(["001", "002", ""]),
                "PatientName": st.sampled_from(["Doe^Jane", "DOE^Jane", "Roe", ""]),
                "PatientBirthDate": st.sampled_from(["19700101", "19800101", ""]),
                "PatientComments": st.sampled_from(["", "allergic"]),
                "PatientWeight": st.sampled_from(["", "70.5", "heavy"]),
                "StudyDescription": st.sampled_from(["Head", "Foot"]),
                "OperatorsName": st.sampled_from(["", "Roe^Ann\\Poe^Bob"]),
                "Modality": st.sampled_from(["CT", "SR", ""]),
                "bytes": st.sampled_from([1, 10]),
                "sender": st.sampled_from(["MR1", "MR2"]),
            }
        ),
    ),
    min_size=2,
    max_size=8,
).map(
    lambda drawn: [
        row(f"9.{n}", uid, series_uid, at, **about) for n, (uid, series_uid, at, about) in enumerate(drawn)
    ]
)


class IndexSuite:
    """The contract."""

    def writer(self, place: Path, **options: Any) -> IndexWriter:
        """Open or make the index that lives in the empty folder `place`. Options as IndexWriter's."""
        raise NotImplementedError

    def reader(self, place: Path) -> IndexReader:
        raise NotImplementedError

    def opened(self, place: Path, **options: Any) -> IndexWriter:
        quiet: dict[str, Any] = {"committed": lambda rows, conflicts: None, "failed": lambda reason: None}
        return self.writer(place, **(quiet | options))

    def answers_of(
        self, rows: Sequence[Row], then: Callable[[IndexWriter], None] = IndexReader.drain
    ) -> list[pd.DataFrame]:
        """Of a new index with these rows; `then` may do more to it."""
        with tempfile.TemporaryDirectory(dir=MEMORY) as name:
            paths = {row.path: row for row in rows}
            index = self.opened(Path(name), read=paths.get)
            try:
                for one in rows:
                    index.put(one)
                then(index)
                return answers(index)
            finally:
                index.close()

    # -- adding

    def test_counts_receipts_attributes(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        index.put(
            row("9.2", at=2_000, StudyDescription="Late", PatientComments="late", sender="LAST", bytes=5)
        )
        index.put(row("9.1", at=1_000, StudyDescription="Early", PatientComments="early", bytes=7))
        index.put(row("9.3", series_uid="1.2", at=1_500, Modality="SR", PatientWeight="70.5"))
        index.put(row("9.4", "2", "2.1", at=1_700))
        patients, studies, series, instances = answers(index)
        assert list(patients.studies) == [2]
        assert list(patients.series) == [3]
        assert (patients.instances[0], patients.bytes[0], patients.PatientComments[0]) == (4, 212, "early")
        assert (patients.received_from[0], patients.received_at[0].timestamp()) == ("LAST", 2.0)
        assert list(studies.study_uid) == ["1", "2"], "the one received last is first"
        first = studies.iloc[0]
        assert (first.study_description, first.modalities, first.received_from) == ("Early", "CT, SR", "LAST")
        assert (first.series, first.instances, first.bytes) == (2, 3, 112)
        assert list(studies.NumberOfPatientRelatedStudies) == [2, 2]
        assert sorted(series.instances) == [1, 1, 2]
        assert set(instances.sop_instance_uid) == {"9.1", "9.2", "9.3", "9.4"}
        index.close()

    def test_the_same_again_changes_nothing(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        index.put(row("9.1"))
        before = answers(index)
        for again in (row("9.1"), row("9.1", "2", "2.1"), row("9.1", PatientID="2")):
            index.put(again)
        assert_same(answers(index), before)
        for _ in range(3):
            index.put(row("9.2"))
        assert list(answers(index)[1].instances) == [2]
        index.close()

    @settings(max_examples=20, deadline=None)
    @given(st.data())
    def test_any_order_gives_the_same_answers(self, data: st.DataObject) -> None:
        rows = data.draw(ROWS)
        other = data.draw(st.permutations(rows))
        single = data.draw(st.booleans())

        def one_by_one(index: IndexWriter) -> None:
            for one in other:
                index.put(one)
                index.drain()

        assert_same(
            self.answers_of(rows), self.answers_of([], one_by_one) if single else self.answers_of(other)
        )

    def test_conflicts_are_told_once(self, tmp_path: Path) -> None:
        told: list[dict[str, str]] = []
        index = self.opened(tmp_path, committed=lambda rows, conflicts: told.append(conflicts))
        for one in (
            row("9.1"),
            row("9.2", "2", "2.1", PatientName="Roe"),
            row("9.3", "2", "2.1", PatientName="Roe"),
        ):
            index.put(one)
            index.drain()
        assert [set(found) for found in told] == [set(), {"1", "2"}, set()]
        assert all("same Patient ID" in sentence for sentence in answers(index)[1].conflict)
        index.close()

    def test_many_studies_of_one_patient_with_two_names(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        for n in range(300):
            index.put(row(f"9.{n}", f"1.{n}", f"2.{n}", PatientName="Roe" if n % 2 else "Doe"))
        studies = answers(index)[1]
        assert studies.conflict.str.contains("and 149 more").all()
        assert len(answers(index)[0]) == 2
        index.close()

    # -- removing

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_removed_is_as_never_been(self, data: st.DataObject) -> None:
        rows = data.draw(ROWS)
        gone = data.draw(st.sets(st.sampled_from([row.header.sop_instance_uid for row in rows])))
        left = [row for row in rows if row.header.sop_instance_uid not in gone]

        def remove(index: IndexWriter) -> None:
            index.remove(gone)
            assert not index.unread()

        assert_same(self.answers_of(rows, remove), self.answers_of(left))

    def test_removing_follows_what_was_queued(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        for n in range(3):
            index.put(row(f"9.{n}"))
        assert index.remove(["9.0", "9.1", "unknown"]) == {"1"}
        index.put(row("9.0"))
        assert list(answers(index)[1].instances) == [2]
        assert index.remove(["9.0", "9.2"]) == {"1"}
        assert [len(table) for table in answers(index)] == [0, 0, 0, 0]
        assert index.remove(["9.0"]) == frozenset()
        index.close()

    def test_removal_with_an_heir_that_cannot_be_read(self, tmp_path: Path) -> None:
        """What it can say it says, and it knows what is to be read."""
        index = self.opened(tmp_path)
        index.put(row("9.1", at=1, StudyDescription="Gone"))
        index.put(row("9.2", at=2, StudyDescription="Left"))
        index.remove(["9.1"])
        assert list(answers(index)[1].instances) == [1]
        assert [path for *_, path in index.unread()] == ["studies/9.2.dcm"]
        index.refresh(row("9.2", at=2, StudyDescription="Left"))
        assert list(answers(index)[1].study_description) == ["Left"]
        assert not index.unread()
        index.close()

    # -- reading again

    def test_read_again(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        rows = [row("9.1", at=1), row("9.2", at=2)]
        for one in rows:
            index.put(one)
        before = answers(index)
        for one in rows:
            index.refresh(one)
        assert_same(answers(index), before)
        index.refresh(row("9.1", at=1, StudyDescription="New", PatientComments="new", Rows=5))
        index.refresh(row("9.2", at=2, StudyDescription="Second"))
        index.refresh(row("unknown"))
        patients, studies, _, instances = answers(index)
        assert (list(studies.study_description), list(patients.PatientComments)) == (["New"], ["new"])
        assert instances.set_index("sop_instance_uid").Rows["9.1"] == 5
        index.refresh(row("9.2", at=2, PatientName="Roe^Other"))
        assert sorted(answers(index)[0].patient_name) == ["Doe^Jane", "Roe^Other"], "it reads as another now"
        index.close()

    def test_extra_attributes(self, tmp_path: Path) -> None:
        extra = ("EchoTime", "series.KVP", "study.RequestingPhysician", "patient.MilitaryRank")
        about = {"EchoTime": "2.5", "KVP": "120", "RequestingPhysician": "Roe^Ann", "MilitaryRank": "Admiral"}
        index = self.opened(tmp_path, extra=extra)
        index.put(row("9.1", at=1, **about))
        index.put(row("9.2", at=2, **(about | {"EchoTime": "5", "KVP": "80"})))
        index.drain()
        assert not index.unread()
        found = tables.table(
            index, None, "instance", ["EchoTime", "KVP", "RequestingPhysician", "MilitaryRank"], {}
        )
        assert found.EchoTime.to_list() == [2.5, 5.0]
        assert found.KVP.to_list() == [120.0, 120.0], "of each series, as its first instance says"
        for query, count in (
            ({"EchoTime": 2.5}, 1), ({"EchoTime": "5.0"}, 1), ({"EchoTime": 3}, 0), ({"KVP": 120}, 1), ({"KVP": 80}, 0),
            ({"RequestingPhysician": "ROE*"}, 1), ({"MilitaryRank": "Adm*", "EchoTime": 5}, 1), ({"MilitaryRank": "x"}, 0),
        ):  # fmt: skip
            for level in COLUMNS:
                assert bool(len(tables.table(index, None, level, None, query))) == bool(count), (level, query)
        index.remove(["9.1"])
        assert len(index.unread()) == 1
        index.refresh(row("9.2", at=2, **about))
        index.drain()
        assert not index.unread()
        index.close()
        index = self.opened(tmp_path, extra=(*extra, "FlipAngle"))
        assert len(index.unread()) == 1, "of the whole index, for the new attribute"
        index.refresh(row("9.2", at=2, FlipAngle="12", **about))
        index.drain()
        assert not index.unread()
        assert tables.count(index, "study", {"FlipAngle": 12}) == 1
        index.put(row("9.3"))
        index.drain()
        assert len(index.unread()) == 1, "its header was not read for them"
        index.close()
        index = self.opened(tmp_path, extra=("FlipAngle",))
        with pytest.raises(ValueError, match="EchoTime is not in the index"):
            tables.count(index, "study", {"EchoTime": 5})
        with self.reading(tmp_path) as reader:
            assert tables.count(reader, "study", {"FlipAngle": 12}) == 1
        index.close()

    # -- asking

    def test_pages(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        for n in range(25):
            about = {
                "PatientID": f"{n}",
                "PatientName": f"{'aBcDe'[n % 5]}",
                "StudyDate": f"202601{n % 7 + 1:02d}",
            }
            index.put(row(f"9.{n}", f"1.{n}", f"2.{n}", at=n * 7 % 25, **about))
        index.drain()
        whole = tables.studies(index, {})
        assert whole.received_at.is_monotonic_decreasing
        for order in (
            (),
            ("-study_date", "patient_name"),
            ("patient_name",),
            ("PatientID",),
            ("-received_at",),
            ("bytes",),
        ):
            all_of_it = tables.studies(index, {}, order_by=order)
            pages = [tables.studies(index, {}, limit=4, offset=at, order_by=order) for at in range(0, 28, 4)]
            assert_frame_equal(pd.concat(pages, ignore_index=True), all_of_it)
            assert sorted(all_of_it.study_uid) == sorted(whole.study_uid)
        by_name = tables.studies(index, {}, order_by=("patient_name",))
        assert by_name.patient_name.str.casefold().is_monotonic_increasing
        assert tables.studies(index, {}, order_by=("-study_date",)).study_date.is_monotonic_decreasing
        assert len(tables.studies(index, {"PatientName": "a"}, limit=3)) == 3
        assert [
            tables.count(index, "study", query) for query in ({}, {"PatientName": "A"}, {"PatientName": "x"})
        ] == [25, 5, 0]
        assert [tables.count(index, level, {}) for level in COLUMNS] == [25, 25, 25, 25]
        with pytest.raises(ValueError, match="cannot be ordered by EchoTime"):
            tables.studies(index, {}, order_by=("EchoTime",))
        with pytest.raises(ValueError, match="did you mean StudyDate"):
            tables.studies(index, {}, order_by=("StudyDat",))
        index.close()

    def test_patients(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        index.put(row("9.1", at=1, OtherPatientIDs="A1\\B2", PatientSex="F"))
        index.put(row("9.2", "2", "2.1", at=2, PatientName="DOE^JANE", Modality="MR"))
        index.put(row("9.3", "3", "3.1", at=3, PatientID="002", PatientName="Roe^Ann\\Poe", InstanceNumber=7))
        index.put(row("9.4", "4", "4.1", at=4, PatientID=""))
        index.put(row("9.5", "5", "5.1", at=5, PatientID=""))
        index.drain()
        table = tables.table(index, None, "patient", None, {})
        assert list(table.columns) == list(tables.PATIENT_COLUMNS)
        assert list(table.patient_id) == ["", "", "002", "001"], "without an ID, a patient for each study"
        assert list(table.studies) == [1, 1, 1, 2]
        assert table.patient_name[3] == "Doe^Jane"
        for query, found in (
            ({"PatientID": "001"}, ["001"]), ({"PatientName": "doe*", "PatientID": "0*"}, ["001"]),
            ({"Modality": "MR"}, ["001"]), ({"StudyInstanceUID": "3"}, ["002"]), ({"InstanceNumber": 7}, ["002"]),
            ({"Modality": "MR", "StudyInstanceUID": "1"}, []), ({"OtherPatientIDs": "B2"}, ["001"]), ({"OtherPatientIDs": "B"}, []),
            ({"OtherPatientIDs": "B*"}, ["001"]), ({"ModalitiesInStudy": "MR"}, ["001"]), ({"PatientSex": "F"}, ["001"]),
        ):  # fmt: skip
            assert list(tables.table(index, None, "patient", None, query).patient_id) == found, query
        counts = tables.table(
            index,
            None,
            "instance",
            ["NumberOfPatientRelatedStudies", "ModalitiesInStudy"],
            {"PatientID": "001"},
        )
        assert list(counts.NumberOfPatientRelatedStudies) == [2, 2]
        assert list(counts.ModalitiesInStudy) == [("MR",), ("CT",)]
        index.close()

    def test_unknown_series(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        index.put(row("9.2", InstanceNumber=2))
        index.put(row("9.1", InstanceNumber=11))
        index.drain()
        assert [path.name for path in tables.series_paths(index, tmp_path, "1.1")] == ["9.2.dcm", "9.1.dcm"]
        assert tables.study_of(index, "1.1") == "1"
        with pytest.raises(UnknownUID):
            tables.study_of(index, "8")
        with pytest.raises(UnknownUID):
            tables.series_paths(index, tmp_path, "8")
        index.close()

    # -- several at once, and the end

    def test_readers_see_whole_batches(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        faults: list[Any] = []
        done = threading.Event()
        looked = [threading.Event() for _ in range(3)]

        def look(seen: threading.Event) -> None:
            most = 0
            reader = self.reader(tmp_path)
            try:
                while not done.is_set():
                    with reader.connect() as connection:
                        sums = [
                            connection.execute(
                                select(func.coalesce(func.sum(table.c.instances), 0))
                            ).scalar_one()
                            for table in (patient, study, series)
                        ]
                        sums.append(
                            connection.execute(select(func.count()).select_from(instance)).scalar_one()
                        )
                    if len(set(sums)) > 1 or sums[0] < most:
                        faults.append((sums, most))
                    most = sums[0]
                    seen.set()
            except Exception as error:  # noqa: BLE001 - told in the test's thread
                faults.append(error)
            finally:
                reader.close()

        threads = [threading.Thread(target=look, args=(seen,)) for seen in looked]
        for thread in threads:
            thread.start()

        def put(number: int) -> None:
            for n in range(400):
                index.put(row(f"{number}.{n}", f"{n % 20}", f"{n % 20}.{number}", PatientID=f"{n % 20}"))

        writers = [threading.Thread(target=put, args=(number,)) for number in range(1, 4)]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        index.drain()
        assert all(seen.wait(60) for seen in looked)
        done.set()
        for thread in threads:
            thread.join()
        assert not faults
        assert [len(table) for table in answers(index)] == [20, 20, 60, 1200]
        index.close()

    def test_drain_reads_its_own_writes(self, tmp_path: Path) -> None:
        with_rows = itertools.count()
        index = self.opened(tmp_path)
        for n in range(30):
            index.put(row(f"9.{next(with_rows)}"))
            index.drain()
            assert tables.count(index, "instance", {}) == n + 1
        index.close()

    def test_close_commits_what_waits(self, tmp_path: Path) -> None:
        index = self.opened(tmp_path)
        for n in range(50):
            index.put(row(f"9.{n}"))
        index.close()
        index.close()
        with pytest.raises(ArchiveError, match="closed"):
            index.put(row("9.51"))
        again = self.opened(tmp_path)
        assert not again.new
        assert tables.count(again, "instance", {}) == 50
        again.close()

    def test_failure_is_told_once_and_stays(self, tmp_path: Path) -> None:
        told: list[str] = []
        index = self.opened(tmp_path, failed=told.append)
        index.put(row("9.1"))
        index.drain()
        broken = row("9.2")
        del broken.header.attributes["StudyInstanceUID"]
        index.put(broken)
        for _ in range(2):
            with pytest.raises(ArchiveError, match="index failed"):
                index.drain()
        for act in (lambda: index.put(row("9.3")), index.check, lambda: index.remove(["9.1"])):
            with pytest.raises(ArchiveError, match="index failed"):
                act()
        assert tables.count(index, "instance", {}) == 1
        index.close()
        assert len(told) == 1

    def reading(self, place: Path) -> Any:
        return _Closing(self.reader(place))


class _Closing:
    def __init__(self, reader: IndexReader) -> None:
        self.reader = reader

    def __enter__(self) -> IndexReader:
        return self.reader

    def __exit__(self, *_: object) -> None:
        self.reader.close()
