"""The station as a whole: lifecycle, several at once, the same cell run twice, reading without a lock."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pacskit
from pacskit.errors import ArchiveError, ArchiveOwned, GeometryError, ServiceError, SettingError, UnknownUID
from pacskit.events import InstanceStored, StudiesChanged
from pacskit.simulator import Scanner

LOOPBACK = {"enabled": True, "host": "127.0.0.1", "port": 0}


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive into which a small CT, an MR and a US were sent over the network."""
    folder = tmp_path_factory.mktemp("received")
    with pacskit.Station(archive=folder, listener=LOOPBACK) as station:
        scanner = Scanner(station)
        scanner.send("ct", progress=False, slices=6, size=128)
        scanner.send("mr", progress=False, slices=4, size=64)
        scanner.send("us", progress=False)
    return folder


def test_importing_starts_no_thread_and_opens_no_file() -> None:
    code = (
        "import os, threading; before = set(os.listdir('/proc/self/fd')); import pacskit;"
        "assert threading.active_count() == 1, threading.enumerate();"
        "assert set(os.listdir('/proc/self/fd')) <= before, os.listdir('/proc/self/fd')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_three_studies_arrive(received: Path) -> None:
    with pacskit.open(received) as archive:
        table = archive.studies()
    assert sorted(table["modalities"]) == ["CT", "MR", "US"]
    assert set(table["patient_name"]) == {
        "Müller^Jürgen",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Phantom^Ada",
    }
    assert table["study_date"].dtype.kind == "M"
    assert isinstance(table["received_at"].dtype, pd.DatetimeTZDtype)
    assert table["instances"].dtype == np.int64
    assert set(table["received_from"]) == {"SCANNER"}


def test_names_are_found_whatever_the_case_or_script(received: Path) -> None:
    with pacskit.open(received) as archive:
        assert len(archive.studies(PatientName="MÜLLER*")) == 1
        assert len(archive.studies(PatientName="*山田*")) == 1
        assert archive.studies(PatientName="Nobody").empty
        with pytest.raises(ValueError, match="PatientName"):
            archive.studies(PatientNam="x")


def test_series_become_volumes(received: Path) -> None:
    with pacskit.Station(archive=received) as station:
        series = station.table(level="series").set_index("modality")["series_uid"]
        volume = station.series(series["CT"]).volume()
        assert volume.array.shape == (6, 128, 128)
        first = station.series(series["CT"]).datasets()[0]
        corners = [(volume.affine @ [k, 0, 0, 1])[:3] for k in range(6)]
        assert any(np.allclose(corner, first.ImagePositionPatient) for corner in corners)
        with pytest.raises(GeometryError, match="cine of 30 frames"):
            station.series(series["US"]).volume()
        with pytest.raises(UnknownUID, match=r"1\.2\.3"):
            station.series("1.2.3")


def test_any_attribute_is_a_column(received: Path) -> None:
    with pacskit.Station(archive=received) as station:
        table = station.table(level="instance", columns=["InstanceNumber", "EchoTime"], Modality="MR")
    assert len(table) == 4
    assert table["EchoTime"].notna().all()


def test_a_rebuild_gives_the_same_answers(received: Path) -> None:
    with pacskit.Station(archive=received) as station:
        before = {level: station.table(level=level) for level in ("study", "series", "instance")}
        studies = station.studies()
        with station.events.queue(StudiesChanged) as changed:
            station.archive.rebuild()
            told = changed.drain()
        assert any(set(studies["study_uid"]) <= event.study_uids for event in told), (
            "a dashboard would not know"
        )
        pd.testing.assert_frame_equal(station.studies(), studies)
        for level, table in before.items():
            pd.testing.assert_frame_equal(station.table(level=level), table)


def test_several_stations_in_one_process(tmp_path: Path) -> None:
    with (
        pacskit.Station(archive=tmp_path / "a", listener=LOOPBACK) as first,
        pacskit.Station(archive=tmp_path / "b", listener={**LOOPBACK, "ae_title": "SECOND"}) as second,
    ):
        Scanner(second).send("mr", progress=False, slices=2, size=64)
        assert first.studies().empty
        assert len(second.studies()) == 1


def test_a_cell_that_runs_twice_takes_over(tmp_path: Path) -> None:
    """The port is fixed, as a person would write it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(3):
        station = pacskit.Station(archive=tmp_path, listener={**LOOPBACK, "port": port})
        assert station.listener.status.port == port
    station.close()
    station.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("pacskit")]


def test_another_process_that_owns_the_archive_is_named(tmp_path: Path) -> None:
    """One that has no control channel, as `pacskit import`: test_background.py has the others."""
    code = "from pacskit.archive import Archive; from pacskit.events import EventBus; "
    code += f"a = Archive.create_or_open({str(tmp_path)!r}, EventBus()); print('up', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    try:
        with pytest.raises(ArchiveOwned, match=str(other.pid)):
            pacskit.Station(archive=tmp_path)
        with pacskit.open(tmp_path) as archive:
            assert archive.studies().empty
    finally:
        other.kill()
        other.communicate()
    with pacskit.Station(archive=tmp_path) as station:
        assert station.studies().empty, "a killed owner leaves no lock"


def test_events_tell_of_what_arrives(tmp_path: Path) -> None:
    with (
        pacskit.Station(archive=tmp_path, listener=LOOPBACK) as station,
        station.events.queue(StudiesChanged) as changed,
    ):
        Scanner(station).send("us", progress=False)
        event = changed.get(10)
        assert event is not None
        (stored,) = station.events.recent(InstanceStored)
        assert stored.study_uid in event.study_uids


def test_sentences_for_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="dict of settings"):
        pacskit.Station(archive=tmp_path, listener=True)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"listener\.ae_title"):
        pacskit.Station(archive=tmp_path, listener={"ae_title": "Ж"})
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="file"):
        pacskit.Station(archive=tmp_path / "file" / "archive")
    with pytest.raises(ArchiveError, match="nothing-here"):
        pacskit.open(tmp_path / "nothing-here")
    with (
        pacskit.Station(archive=tmp_path / "off") as station,
        pytest.raises(ServiceError, match="not running"),
    ):
        Scanner(station).send("us", progress=False)
    with pytest.raises(ValueError, match="no phantom 'xa'"):
        Scanner("A@127.0.0.1:1").send("xa")  # type: ignore[arg-type]


def test_the_repr_says_what_it_is(tmp_path: Path) -> None:
    with pacskit.Station(archive=tmp_path, listener=LOOPBACK) as station:
        assert f"running at 127.0.0.1:{station.listener.status.port}" in repr(station)
    assert "closed" in repr(station)
