"""A killed process, a stopped service under load, many starts: nothing acknowledged is lost, nothing leaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

import pacskit
from pacskit.dimse.send import InMemory, SendReport, send
from pacskit.errors import AssociationError
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms

SMALL = {"slices": 40, "size": 64}


def instances(seed: int) -> list[InMemory]:
    return [InMemory.of(dataset) for dataset in phantoms.mr(seed=seed, **SMALL)]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
@pytest.mark.parametrize("acknowledged_before", [3, 20])
def test_kill_minus_nine_loses_nothing_that_was_acknowledged(
    tmp_path: Path, acknowledged_before: int
) -> None:
    command = [sys.executable, "-m", "pacskit", "serve", "--json", "--quiet", "--archive", str(tmp_path)]
    settings = ["--set", "listener.port=0", "--set", "listener.host=127.0.0.1"]
    process = subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    peer = PeerAddress("PACSKIT", "127.0.0.1", ready["port"])
    sent: list[str] = []
    made = instances(1)

    def after_each(report: SendReport) -> None:
        sent.append(made[report.sent - 1].sop_instance_uid)
        if report.sent == acknowledged_before:
            process.send_signal(signal.SIGKILL)

    report = send(peer, made, progress=after_each)
    process.communicate(timeout=20)
    assert report.failed, "it was killed in the middle"
    with pacskit.Station(archive=tmp_path) as station:
        here = set(station.table(level="instance")["sop_instance_uid"])
        assert set(sent) <= here
        assert not list((tmp_path / "incoming").iterdir())
        for series in station.table(level="series")["series_uid"]:
            assert len(station.series(series).datasets()) == len(here)


def test_stop_under_load_and_again(tmp_path: Path) -> None:
    """Eight senders at once; stop() in their middle; what each was told is true."""
    with pacskit.Station(
        archive={"folder": tmp_path, "durability": "fast"},
        listener={"enabled": True, "host": "127.0.0.1", "port": 0},
    ) as station:
        peer = PeerAddress("PACSKIT", "127.0.0.1", station.listener.status.port)
        acknowledged: list[int] = []
        some = threading.Event()

        def load(seed: int) -> None:
            def progress(report: SendReport) -> None:
                if report.sent == 5:
                    some.set()

            try:
                acknowledged.append(send(peer, instances(seed), progress=progress).sent)
            except AssociationError:
                acknowledged.append(0)

        senders = [threading.Thread(target=load, args=(seed,)) for seed in range(8)]
        for sender in senders:
            sender.start()
        assert some.wait(60)
        station.listener.stop()
        assert not [t for t in threading.enumerate() if t.name.startswith("pacskit-association")]
        for sender in senders:
            sender.join(60)
        stored = int(station.studies()["instances"].sum())
        assert sum(acknowledged) <= stored <= sum(acknowledged) + len(senders)
        assert not list((tmp_path / "incoming").iterdir())


def test_fifty_starts_leave_nothing(tmp_path: Path) -> None:
    process = psutil.Process()
    with pacskit.Station(archive=tmp_path, listener={"host": "127.0.0.1", "port": 0}) as station:
        station.listener.start()
        station.listener.stop()
        files, threads = process.num_fds(), threading.active_count()
        for _ in range(50):
            station.listener.start()
            station.listener.stop()
        assert process.num_fds() == files
        assert threading.active_count() == threads
