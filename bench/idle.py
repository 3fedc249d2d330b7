"""200 associations that say nothing, and 200 connections that never ask for one: processor and memory."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

from bench.places import in_memory
from bench.raw_sender import VERIFICATION, RawAssociation, associate_rq
from bench.results import Row, ratios
from bench.servers import Server, present

COUNT = 200
SECONDS = 2.0
MEGABYTE = 1e6


def _association(port: int) -> socket.socket:
    return RawAssociation(port, associate_rq([(VERIFICATION, ("1.2.840.10008.1.2",))])).sock


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _idle(server: Server, connect: Callable[[int], socket.socket]) -> tuple[float, float]:
    """(per cent of a core, growth in MB)"""
    before = server.memory()
    peers = [connect(server.port) for _ in range(COUNT)]
    time.sleep(0.5)
    began, processor = time.monotonic(), server.processor()
    time.sleep(SECONDS)
    share = 100 * (server.processor() - processor) / (time.monotonic() - began)
    growth = (server.memory() - before) / MEGABYTE
    for peer in peers:
        peer.close()
    return share, growth


def run(work: Path, rounds: int) -> list[Row]:
    rows: list[Row] = []
    # storescp forks a process for each; Orthanc serves four associations at a time and lets the others wait
    names = [name for name in present() if name in ("pacskit", "pynetdicom")]
    for what, connect in (("associations that are idle", _association), ("silent connections", _connection)):
        shares: dict[str, list[float]] = {name: [] for name in names}
        growths: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(min(rounds, 2)):
            for name in random.sample(names, len(names)):
                with in_memory() as folder, Server(name, folder / f"{turn}-{name}") as server:
                    share, growth = _idle(server, connect)
                    shares[name].append(share)
                    growths[name].append(growth)
        rows += ratios(f"{COUNT} {what}, processor", " %", shares, "ours <1 %", compare=False)
        rows += ratios(f"{COUNT} {what}, memory", " MB", growths, "ours <20 MB", compare=False)
    return rows
