"""kill -9 of a station's own process during four transfers: nothing acknowledged is lost, and its notebook is told."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import psutil
import pytest

from pacskit.errors import ServiceError
from pacskit.events import ServiceChanged
from pacskit.services.base import State
from tests.archive.serving import Background, Flood, check_kept

ROUNDS, SOAK_ROUNDS = 4, 100


def kill_rounds(archive: Path, rounds: int, seed: int) -> None:
    """Each ends what the one before has started again."""
    chance, acknowledged = random.Random(seed), dict[str, bytes]()
    for number in range(rounds):
        server = Background(archive)
        try:
            flood = Flood(server, first=number * 10)
            with server.station.events.queue(ServiceChanged) as changed:
                flood.wait_for(chance.randint(1, 120))
                changed.drain()
                process = psutil.Process(server.pid)
                process.kill()
                event = changed.get(20)
            assert event is not None
            assert (event.service, event.state) == ("listener", State.FAILED)
            assert f"({server.pid}) is gone: it was killed, or crashed" in server.station.background.lost
            assert "A new Station() starts again" in server.station.listener.status.error
            with pytest.raises(ServiceError, match="is gone"):
                server.station.listener.start()
            acknowledged |= flood.join()
            found = server.station.table("instance")["sop_instance_uid"]
            assert len(found) <= len(acknowledged) + 4 * (number + 1), "its face still reads"
        finally:
            server.end()
        process.wait(20)  # the channel is closed a moment before the archive's lock
        rows = check_kept(archive, acknowledged)
        assert rows <= len(acknowledged) + 4 * (number + 1), "at most one a sender came without its answer"
        if rows > 1000:
            shutil.rmtree(archive)
            acknowledged.clear()
    server = Background(archive)
    try:
        assert server.station.studies()["instances"].sum() >= len(acknowledged)
    finally:
        server.end()


def test_killed(tmp_path: Path) -> None:
    kill_rounds(tmp_path / "archive", ROUNDS, random.randrange(1 << 30))


@pytest.mark.soak
def test_killed_often(tmp_path: Path, soak_seed: int) -> None:
    kill_rounds(tmp_path / "archive", SOAK_ROUNDS, soak_seed)
