"""A notebook's kernel that computes without a pause, beside its background station: does a sender notice?"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.places import in_memory
from bench.results import Row, ratios
from bench.sender import Job, send
from bench.servers import Server

MOST = {"CT": 2000, "MR": 8000}
SECONDS = 1.2
QUIET, BUSY = "kernel idle", "kernel busy"
KERNEL = """
import sys
from pacskit import Station
station = Station(archive=sys.argv[1])
assert station.background.run_in != "kernel", "it owns the archive, and so is no kernel beside a station"
print("attached", flush=True)
sys.stdin.readline()
print("busy", flush=True)
number = 0
while True:
    number += 1
"""
_runs = itertools.count(random.randrange(2_000_000_000, 9_000_000_000))


@contextmanager
def _kernel(server: Server) -> Iterator[Callable[[], None]]:
    """What a notebook is to its background station: attached, with gives what makes its cell busy."""
    command = [sys.executable, "-c", KERNEL, str(server.archive)]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PACSKIT_HOME": str(server.folder / "home")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root, env=environment) as kernel:
        to_it, from_it = kernel.stdin, kernel.stdout
        assert to_it is not None
        assert from_it is not None

        def make_busy() -> None:
            to_it.write("go\n")
            to_it.flush()
            from_it.readline()

        try:
            if from_it.readline() != "attached\n":
                raise RuntimeError("a kernel could not attach to the station")
            yield make_busy
        finally:
            kernel.kill()


def _rate(server: Server, modality: str) -> float:
    job = Job(server.port, modality, next(_runs), 0, MOST[modality], SECONDS)
    return send([job])[0]


def run(work: Path, rounds: int) -> list[Row]:
    rows: list[Row] = []
    rates: dict[str, dict[str, list[float]]] = {modality: {QUIET: [], BUSY: []} for modality in MOST}
    for turn in range(rounds):
        for modality, found in rates.items():
            with ExitStack() as stack:
                folder = stack.enter_context(in_memory())
                server = stack.enter_context(Server("pacskit", folder / f"{turn}-{modality}"))
                make_busy = stack.enter_context(_kernel(server))
                found[QUIET].append(_rate(server, modality))
                make_busy()
                found[BUSY].append(_rate(server, modality))
    for modality, found in rates.items():
        title = f"{modality}, 1 sender, background station beside a busy kernel"
        rows += ratios(title, "/s", {BUSY: found[BUSY], QUIET: found[QUIET]}, {QUIET: 0.9})
    return rows
