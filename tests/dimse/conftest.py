"""A running station, and DCMTK's programs pointed at it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pacskit
from pacskit.archive import Archive
from pacskit.dimse.listener import DicomListener
from pacskit.dimse.slot import ListenerSlot
from pacskit.events import EventBus
from pacskit.peers import PeerAddress
from pacskit.settings import ArchiveSettings, ListenerSettings
from pacskit.station import ArchiveStore
from tests.dimse.secured import lab, secured
from tests.dimse.workers import HERE, Open, workers_left

__all__ = ["dcmtk", "events", "lab", "secured", "start", "station", "storescp"]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[pacskit.Station]:
    """A station with its listener on a free port of this machine."""
    with pacskit.Station(
        archive={"folder": tmp_path / "archive", "durability": "fast"},
        listener={"enabled": True, "host": "127.0.0.1", "port": 0},
    ) as running:
        yield running


Dcmtk = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dcmtk(station: pacskit.Station) -> Dcmtk:
    """Run a DCMTK client against the station: `dcmtk("echoscu", "-d")`; AE title and address are added."""

    def run(
        program: str, *options: str | Path, called: str = "PACSKIT", files: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        status = station.listener.status
        command = [
            program,
            *map(str, options),
            "-aec",
            called,
            status.host,
            str(status.port),
            *map(str, files),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, PeerAddress]]]:
    """Start DCMTK's storescp with options: `folder, peer = storescp("+B")`."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> tuple[Path, PeerAddress]:
        folder = tmp_path / f"storescp{len(processes)}"
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = ["storescp", *options, "-aet", "STORESCP", "-od", str(folder), str(port)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return folder, PeerAddress("STORESCP", "127.0.0.1", port)
            except OSError:
                assert time.monotonic() < deadline, "storescp did not start"

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)


@pytest.fixture
def events() -> EventBus:
    return EventBus()


@pytest.fixture
def start(tmp_path: Path, events: EventBus) -> Iterator[Open]:
    """`start(workers=2, ...)`: a running listener and its archive; afterwards no process is left."""
    opened: list[tuple[ListenerSlot, Archive]] = []

    def run(archive: dict[str, Any] | None = None, **listener: Any) -> tuple[ListenerSlot, Archive]:
        given = {"durability": "fast", **(archive or {})}
        made = Archive.create_or_open(
            tmp_path / f"archive{len(opened)}", events, ArchiveSettings.model_validate(given)
        )
        store = ArchiveStore(made)
        slot = ListenerSlot(
            lambda settings: DicomListener(settings, store, events),
            ListenerSettings(
                **{"enabled": True, "host": HERE, "port": 0, "ae_title": "PACSKIT", "workers": 2, **listener}
            ),
        )
        opened.append((slot, made))
        slot.start()
        return slot, made

    yield run
    for slot, archive in opened:
        slot.stop()
        assert not workers_left()
        archive.close()
        assert not list((archive.folder / "incoming").iterdir())
