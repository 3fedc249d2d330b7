"""A disk that hangs, as a network drive whose server has gone does: no error, the call does not come back.

One folder: strace holds a thread in its call. The whole disk: a mounted image that `fsfreeze` freezes; nothing
that writes there can even be killed.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pacskit
from pacskit.dimse.client import Response, echo
from pacskit.errors import AssociationError
from pacskit.services.base import State
from tests.archive.serving import Background, Flood, Reachable, Server, check_kept, instance
from tests.archive.test_archive_durability_faults import injected
from tests.archive.test_archive_recovery_kill import disk

__all__ = ["disk"]
PATIENCE = 60.0


@contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Thawed also where the tests are killed: the pipe ends with them."""
    script = 'fsfreeze -f "$1" && echo frozen && read -r _; fsfreeze -u "$1"'
    with subprocess.Popen(
        ["setsid", "sh", "-c", script, "sh", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        if not shell.stdout.readline():
            pytest.skip("a file system cannot be frozen here")
        try:
            yield
        finally:
            shell.communicate()


class Sending:
    """One association in a thread: what it was answered, or how it was lost."""

    def __init__(self, server: Server, bodies: list[tuple[str, bytes]]) -> None:
        self.answers: list[Response] = []
        self.lost: AssociationError | None = None
        self._thread = threading.Thread(target=self._send, args=(server, bodies))
        self._thread.start()

    def _send(self, server: Server, bodies: list[tuple[str, bytes]]) -> None:
        try:
            self.answers = server.store(bodies)
        except AssociationError as error:
            self.lost = error

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self.waits


def stopped(station: pacskit.Station, server: Reachable) -> None:
    """Its listener can be stopped, and the port is free."""
    station.listener.stop()
    assert station.listener.status.state is State.STOPPED
    with socket.create_server((server.peer.host, server.peer.port)):
        pass


@pytest.mark.peer("strace")
@pytest.mark.parametrize("workers", [1, 2])
def test_one_folder_hangs(tmp_path: Path, workers: int) -> None:
    """Who stores there waits; all others are served, the service stops, and later all is well."""
    archive = tmp_path / "archive"
    first, hangs = [instance(1, 1, 1)], [instance(1, 1, 2)]
    others = [instance(2, 1, number) for number in range(1, 20)]
    with Server() as server:
        server.serve(archive)
        with pacskit.Station(archive) as station:
            station.apply({"listener": {"workers": workers}})
            assert [answer.status for answer in server.store(first)] == [0]
            (series,) = (archive / "studies").glob("*/*")
            options = ("-P", str(series), "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=3600s")
            with injected(server, *options):
                sending = Sending(server, hangs)
                assert [answer.status for answer in server.store(others)] == [0] * len(others)
                assert echo(server.peer, timeout=PATIENCE).done
                assert station.studies(StudyInstanceUID="1.2.2")["instances"].sum() == len(others)
                assert sending.waits
                stopped(station, server)
            sending.join()
            assert sending.lost, "it was never told that it is stored"
        assert server.stop() == 0
    assert check_kept(archive, dict(first + others)) == 1 + len(others) + 1


@pytest.fixture
def place(tmp_path: Path, disk: Callable[[Path], Path]) -> Path:
    """A mounted file system of its own."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    return disk(image)


def hang_and_stop(place: Path, station: pacskit.Station, server: Reachable) -> dict[str, bytes]:
    """Four senders wait; whoever has nothing written is served; the service stops meanwhile."""
    flood = Flood(server, first=1)
    flood.wait_for(20)
    with frozen(place):
        for _ in range(5):
            assert echo(server.peer, timeout=PATIENCE).done
        assert station.listener.totals().associations >= 4
        stopped(station, server)
    return flood.join()


@pytest.mark.skipif(shutil.which("fsfreeze") is None, reason="fsfreeze freezes a disk")
def test_the_whole_disk_hangs(place: Path) -> None:
    with Server() as server:
        server.serve(place / "archive")
        with pacskit.Station(place / "archive") as station:
            acknowledged = hang_and_stop(place, station, server)
        assert server.stop() == 0
    check_kept(place / "archive", acknowledged)


@pytest.mark.skipif(shutil.which("fsfreeze") is None, reason="fsfreeze freezes a disk")
def test_the_disk_of_a_background_station_hangs(place: Path) -> None:
    """Its log is on that disk too."""
    server = Background(place / "archive")
    try:
        acknowledged = hang_and_stop(place, server.station, server)
    finally:
        server.end()
    check_kept(place / "archive", acknowledged)
