"""A running station, and DCMTK's programs pointed at it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pacskit


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
