"""A station under mixed load ends with the memory, threads and open files of its first rounds; nothing is lost."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.archive.serving import Server, check_kept
from tests.soak.mixed_load import MixedLoad

pytestmark = [
    pytest.mark.peer("storescu"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what /proc shows"),
]
WARM, ROUNDS = 20, 60
SOAK_ROUNDS = int(os.environ.get("PACSKIT_SOAK_ROUNDS", "6000"))
"""About an hour. Until its fifth minute caches fill: the events kept, the metrics of ten minutes, open readers."""
GROWTH = 8 << 20
"""Bytes that the allocator may keep by chance; a leak of 100 bytes an instance is more in an hour."""
INDEX = re.compile(r"index\.sqlite(-wal|-shm)?$")
INDEX_FILES = 2 * (8 + 2) + 1
"""Of the index's readers, a connection each, eight of which stay open; a connection has two files."""


@dataclass(frozen=True)
class Held:
    threads: int
    files: tuple[str, ...]
    """What is open beside the index; sockets and pipes without their numbers."""
    index_files: int


def held(process: psutil.Process) -> Held:
    files: list[str] = []
    for number in os.listdir(f"/proc/{process.pid}/fd"):
        with suppress(FileNotFoundError):
            files.append(os.readlink(f"/proc/{process.pid}/fd/{number}").partition(":[")[0])
    index = [file for file in files if INDEX.search(file)]
    return Held(
        process.num_threads(), tuple(sorted(file for file in files if not INDEX.search(file))), len(index)
    )


def at_rest(process: psutil.Process, wanted: Held | None = None) -> Held:
    """Once it is as `wanted`, or nothing has changed for a while."""
    pause, last, since = threading.Event(), held(process), time.monotonic()
    while (last.threads, last.files) != (wanted.threads, wanted.files) if wanted else True:
        if time.monotonic() > since + (20 if wanted else 2):
            break
        pause.wait(0.1)
        if (now := held(process)) != last:
            last, since = now, time.monotonic()
    return last


def run(tmp_path: Path, warm: int, rounds: int, seed: int) -> None:
    archive = tmp_path / "archive"
    with Server() as server:
        server.serve(archive, min_free="100 MB", stable_after="1")
        process = psutil.Process(server.pid)
        load = MixedLoad(server.peer, archive, tmp_path, seed)
        begun = time.monotonic()

        def tell(what: Held) -> int:
            memory = process.memory_info().rss
            print(
                f"round {load.rounds}, {time.monotonic() - begun:.0f} s: {memory / 1e6:.1f} MB, "
                f"{what.threads} threads, {len(what.files)} open files and {what.index_files} of the index",
                file=sys.stderr,
            )
            return memory

        while load.rounds < warm:
            load.round()
        before = at_rest(process)
        memory = tell(before)
        while load.rounds < rounds:
            load.round()
            if load.rounds % (rounds // 12) == 0:
                tell(held(process))
        after = at_rest(process, before)
        growth = tell(after) - memory
        assert (after.threads, after.files) == (before.threads, before.files)
        assert after.index_files <= INDEX_FILES
        assert growth < GROWTH, f"{growth / 1e6:.1f} MB more"
        assert server.stop() == 0
    check_kept(archive, load.acknowledged)


def test_mixed_load(tmp_path: Path) -> None:
    run(tmp_path, WARM, ROUNDS, 5)


@pytest.mark.soak
def test_mixed_load_for_long(tmp_path: Path, soak_seed: int) -> None:
    run(tmp_path, max(SOAK_ROUNDS // 12, 150), SOAK_ROUNDS, soak_seed)
