"""What a station measures of itself: here, attached, on the command line, as Prometheus reads it."""

from __future__ import annotations

import gc
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pacskit.errors import AssociationRejected, ServiceError
from pacskit.events import AssociationClosed, InstanceStored
from pacskit.simulator import Scanner
from pacskit.station import Station, metrics
from pacskit.station.metrics import FollowedMeter, Meter, Metrics
from pacskit.station.prometheus import CONTENT_TYPE

LISTENER = {"enabled": True, "host": "127.0.0.1", "port": 0}
TINY: dict[str, Any] = {"progress": False, "slices": 3, "size": 64}


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with Station(tmp_path / "archive", listener=LISTENER) as running:
        yield running


def meter_of(station: Station) -> Meter:
    return station.owner._meter


def reread(station: Station) -> Metrics:
    """With one more reading than the clock has asked for."""
    meter_of(station)._sample()
    return station.metrics()


def exposed(text: str) -> dict[str, float]:
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


def test_counters_are_of_this_moment(station: Station) -> None:
    first = station.metrics().now
    assert (first.stored, first.open, first.listening) == (0, 0, True)
    Scanner(station).send("mr", **TINY)
    address = f"OTHER@127.0.0.1:{station.listener.status.port}"
    with pytest.raises(AssociationRejected):
        Scanner(address).echo()
    now = station.metrics().now
    assert now.stored == 3
    assert now.bytes == sum(path.stat().st_size for path in station.archive.folder.rglob("*.dcm"))
    assert (now.associations, now.associations_refused) == (1, 1)
    assert now.cpu > first.cpu
    assert now.threads >= threading.active_count() > 1
    assert abs(now.memory - psutil.Process().memory_info().rss) < 50e6
    assert now.disk_limit is not None
    assert now.disk_size is not None
    assert 0 < now.disk_limit < now.disk_size
    station.listener.stop()
    assert not station.metrics().now.listening


def test_an_open_association_counts_as_long_as_it_is_open(station: Station) -> None:
    seen: list[int] = []
    station.events.subscribe(InstanceStored, lambda _: seen.append(station.metrics().now.open))
    with station.events.queue(AssociationClosed) as closed:
        Scanner(station).send("mr", **TINY)
        assert closed.get(10) is not None
    assert seen == [1, 1, 1]
    assert station.metrics().now.open == 0


def test_rates_add_up_to_what_came(station: Station) -> None:
    reread(station)
    Scanner(station).send("mr", **TINY)
    found = reread(station)
    history = found.history
    steps = np.diff([reading.clock for reading in found.readings])
    assert (history.stored * steps).sum() == pytest.approx(3)
    assert (history.bytes * steps).sum() == pytest.approx(found.now.bytes)
    assert (history.cpu * steps).sum() == pytest.approx(found.readings[-1].cpu - found.readings[0].cpu)
    assert history.seconds[-1] == 0
    assert (np.diff(history.seconds) > 0).all()
    assert {len(getattr(history, name)) for name in history.__slots__} == {len(found.readings) - 1}


def test_a_listener_that_starts_again_counts_from_zero(station: Station) -> None:
    Scanner(station).send("mr", **TINY)
    reread(station)
    station.listener.stop()
    station.listener.start()
    Scanner(station).send("mr", slices=1, size=64, progress=False)
    found = reread(station)
    steps = np.diff([reading.clock for reading in found.readings])
    assert found.now.stored == 1
    assert (found.history.stored >= 0).all()
    assert (found.history.stored * steps)[-1] == pytest.approx(1)


def test_history_is_bounded_and_may_be_empty(station: Station) -> None:
    assert Metrics(station.metrics().now).history.stored.shape == (0,)
    for _ in range(metrics.KEPT + 5):
        meter_of(station)._sample()
    assert len(station.metrics().readings) == metrics.KEPT


def test_rows_that_the_index_does_not_have_yet(station: Station) -> None:
    (index,) = station.archive.folder.rglob("*.sqlite")
    with sqlite3.connect(index) as other:
        other.execute("BEGIN IMMEDIATE")
        Scanner(station).send("mr", **TINY)
        assert station.metrics().now.queued == 3
        other.rollback()
    other.close()
    station.archive.drain()
    assert station.metrics().now.queued == 0


def test_a_disk_that_cannot_be_read_is_left_out(station: Station, tmp_path: Path) -> None:
    station.archive.folder.rename(tmp_path / "away")
    try:
        found = reread(station)
    finally:
        (tmp_path / "away").rename(station.archive.folder)
    assert found.now.disk_free is None
    assert np.isnan(found.history.disk_free[-1])
    assert "disk" not in found.prometheus()
    assert reread(station).now.disk_free


def test_prometheus_reads_it(station: Station) -> None:
    Scanner(station).send("mr", **TINY)
    text = station.metrics().prometheus()
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    assert text.endswith("\n")
    found = exposed(text)
    assert found["pacskit_listener_instances_stored_total"] == 3
    assert found["pacskit_listener_running"] == 1
    assert found["pacskit_process_resident_memory_bytes"] > 1e6
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith(".")
        (sample,) = family.samples
        assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
        assert sample.name.startswith("pacskit_")
        assert not sample.labels


def test_its_thread_ends_with_it(station: Station) -> None:
    thread = meter_of(station)._thread
    assert thread.is_alive()
    station.close()
    assert not thread.is_alive()


def test_a_forgotten_meter_ends(station: Station) -> None:
    meter = Meter((station.owner.listener,), station.archive)
    thread = meter._thread
    del meter
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


# -- from another process


def test_only_what_is_new_is_asked_for(station: Station) -> None:
    answers: list[Any] = []

    def ask(question: str, **arguments: Any) -> Any:
        answers.append(json.loads(json.dumps(station.owner.answers.answer(question, arguments))))
        return answers[-1]

    meter_of(station)._sample()
    followed = FollowedMeter()
    before = followed.metrics(ask)
    assert len(before.readings) >= 2
    meter_of(station)._sample()
    after = followed.metrics(ask)
    assert [reading["clock"] for reading in answers[1]["readings"]] == [
        reading.clock for reading in after.readings[len(before.readings) :]
    ]
    assert after.readings == station.metrics().readings[: len(after.readings)]
    with pytest.raises(ServiceError):
        followed.metrics(raising)


def raising(*_: Any, **__: Any) -> Any:
    raise ServiceError("it is gone")


def test_an_attached_station_tells_of_the_process_that_receives(tmp_path: Path) -> None:
    with Station(tmp_path / "a", listener=LISTENER, station={"run_in": "background"}) as attached:
        try:
            Scanner(attached).send("mr", **TINY)
            found = attached.metrics()
            assert found.now.stored == 3
            host = psutil.Process(attached.background.pid)
            assert found.now.started == pytest.approx(host.create_time(), abs=0.1)
            assert found.readings
            assert exposed(found.prometheus())["pacskit_listener_instances_stored_total"] == 3
        finally:
            attached.stop_background()
        with pytest.raises(ServiceError):
            attached.metrics()


def pacskit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pacskit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_on_the_command_line(station: Station, tmp_path: Path) -> None:
    Scanner(station).send("mr", **TINY)
    told = pacskit("metrics", "--archive", station.archive.folder)
    assert told.returncode == 0, told.stderr
    assert exposed(told.stdout)["pacskit_listener_instances_stored_total"] == 3
    nobody = pacskit("metrics", "--archive", tmp_path / "nothing")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "no station runs" in nobody.stderr
    assert not (tmp_path / "nothing").exists()
