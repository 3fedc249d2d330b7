"""Association + C-ECHO + release per second, with 4 and with 128 presentation contexts offered."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

from pynetdicom import AllStoragePresentationContexts

from bench.corpus import EXPLICIT_LE
from bench.raw_sender import VERIFICATION, RawAssociation, associate_rq
from bench.results import Row, ratios
from bench.servers import Server, present

SYNTAXES = (EXPLICIT_LE, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2")
SECONDS = 1.5


def _rate(port: int, request: bytes) -> float:
    done = 0
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        association = RawAssociation(port, request)
        association.echo()
        association.release()
        done += 1
    return done / spent


def run(work: Path, rounds: int) -> list[Row]:
    storage = [(str(context.abstract_syntax), SYNTAXES) for context in AllStoragePresentationContexts]
    requests = {count: associate_rq([(VERIFICATION, SYNTAXES), *storage[: count - 1]]) for count in (4, 128)}
    measured: dict[tuple[int, str], list[float]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(name, work / f"associations-{name}")) for name in present()]
        for _ in range(rounds):
            for count, request in requests.items():
                for server in random.sample(servers, len(servers)):
                    rate = _rate(server.port, request)
                    measured.setdefault((count, server.name), []).append(rate)
    return [
        row
        for count in requests
        for row in ratios(
            f"association + echo + release, {count} contexts",
            "/s",
            {name: measured[count, name] for name in present()},
            {"storescp": 3.0},
        )
    ]
