"""kill -9 and power cuts at random moments of receiving: what was acknowledged is there, and nothing half."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.archive.serving import Flood, Server, check_kept

ROUNDS, SOAK_ROUNDS = 20, 200
CUTS, SOAK_CUTS = 2, 20
IMAGE = 96 << 20
SHARED_MEMORY = Path("/dev/shm")


def kill_rounds(tmp_path: Path, rounds: int, seed: int) -> None:
    """One archive through all of them, each owner killed; it is cut back now and then to stay quick."""
    chance = random.Random(seed)
    archive, acknowledged = tmp_path / "archive", dict[str, bytes]()
    with Server() as server:
        for number in range(rounds):
            server.serve(archive, durability=chance.choice(("safe", "fast")))
            flood = Flood(server, first=number * 10)
            flood.wait_for(chance.randint(1, 120))
            server.kill()
            acknowledged |= flood.join()
            rows = check_kept(archive, acknowledged)
            assert rows <= len(acknowledged) + 4 * (number + 1), (
                "at most one a sender came without its answer"
            )
            if rows > 1000:
                shutil.rmtree(archive)
                acknowledged.clear()


def test_killed(tmp_path: Path) -> None:
    kill_rounds(tmp_path, ROUNDS, random.randrange(1 << 30))


@pytest.mark.soak
def test_killed_often(tmp_path: Path, soak_seed: int) -> None:
    kill_rounds(tmp_path, SOAK_ROUNDS, soak_seed)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Mounts an ext4 image: `disk(image)` → where. Its journal is written only when something is synced."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("only root can mount an image")
    mounted: list[Path] = []

    def mount(image: Path) -> Path:
        place = tmp_path / f"mounted{len(mounted)}"
        place.mkdir()
        options = "loop,commit=300"
        done = subprocess.run(
            ["mount", "-o", options, image, place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"an image cannot be mounted here: {done.stderr}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=False)


def power_cut(
    tmp_path: Path,
    disk: Callable[[Path], Path],
    server: Server,
    chance: random.Random,
    durability: str,
    pause: bool,
) -> tuple[Path, dict[str, bytes]]:
    """The archive as a disk has it that lost its power; what had been acknowledged until then.

    `pause`: the senders wait then, so that nothing later can have brought what was missing to the disk.
    """
    base = SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path
    image, copy = base / f"{tmp_path.name}-{os.getpid()}.img", base / f"{tmp_path.name}-{os.getpid()}-cut.img"
    try:
        with image.open("wb") as file:
            file.truncate(IMAGE)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        server.serve(disk(image) / "archive", durability=durability)
        count = chance.randint(20, 120)
        flood = Flood(server, first=1, each=count // 4) if pause else Flood(server, first=1)
        flood.wait_for(count // 4 * 4)
        os.kill(server.pid, signal.SIGSTOP)  # so that the copy is of one moment
        acknowledged = flood.so_far()
        shutil.copyfile(image, copy)
        server.kill()
        flood.join()
        return disk(copy) / "archive", acknowledged
    finally:
        image.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)


def cuts(tmp_path: Path, disk: Callable[[Path], Path], rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    with Server() as server:
        for number in range(rounds):
            folder = tmp_path / str(number)
            folder.mkdir()
            archive, acknowledged = power_cut(folder, disk, server, chance, "safe", pause=number % 2 == 0)
            assert len(acknowledged) >= 20
            check_kept(archive, acknowledged)


def test_power_cut(tmp_path: Path, disk: Callable[[Path], Path]) -> None:
    cuts(tmp_path, disk, CUTS, random.randrange(1 << 30))


@pytest.mark.soak
def test_power_cut_often(tmp_path: Path, disk: Callable[[Path], Path], soak_seed: int) -> None:
    cuts(tmp_path, disk, SOAK_CUTS, soak_seed)


def test_the_cut_is_one(tmp_path: Path, disk: Callable[[Path], Path]) -> None:
    """`fast` promises nothing here, and loses all of it: so the test above would see a missing sync."""
    with Server() as server:
        archive, acknowledged = power_cut(tmp_path, disk, server, random.Random(1), "fast", pause=False)
    kept = len(list((archive / "studies").rglob("*.dcm"))) if archive.exists() else 0
    assert kept < len(acknowledged)
