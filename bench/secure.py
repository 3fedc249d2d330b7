"""C-STORE over TLS, handshakes, and what stalled handshakes cost; storescp with the same certificate.

No side asks clients for a certificate; suites as they agree (TLS 1.3, AES-256-GCM).
"""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from bench.corpus import EXPLICIT_LE
from bench.raw_sender import VERIFICATION, RawAssociation, any_server, associate_rq
from bench.results import Row, ratios
from bench.sender import Job, send
from bench.servers import Server
from bench.store import MOST, SECONDS

US, THEM = "pacskit, TLS", "storescp, TLS"
GOALS = {("CT", 1): 0.8, ("CT", 4): 0.65, ("MR", 1): None, ("MR", 4): None}
STALLED = 1000
HALF_A_HELLO = b"\x16\3\1\2\0\1\0"
_runs = itertools.count(random.randrange(2_000_000_000, 9_000_000_000))


def _rate(server: Server, modality: str, senders: int) -> float:
    run, share = next(_runs), MOST[modality] // senders
    jobs = [Job(server.port, modality, run, n * share, share, SECONDS, tls=True) for n in range(senders)]
    return send(jobs)[0]


def _handshakes(server: Server) -> float:
    """Full handshake, association, C-ECHO, release: a second."""
    context, request = any_server(), associate_rq([(VERIFICATION, (EXPLICIT_LE,))])
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        association = RawAssociation(server.port, request, tls=context)
        association.echo()
        association.release()
        done += 1
    return done / spent


def _stalled(server: Server) -> float:
    """CT, one sender, while others have begun their handshakes and say no more."""
    with ExitStack() as stack:
        for _ in range(STALLED):
            sock = stack.enter_context(closing(socket.create_connection(("127.0.0.1", server.port))))
            sock.sendall(HALF_A_HELLO)
        return _rate(server, "CT", 1)


def run(work: Path, rounds: int) -> list[Row]:
    stores: dict[tuple[str, int], dict[str, list[float]]] = {key: {US: [], THEM: []} for key in GOALS}
    handshakes: dict[str, list[float]] = {US: [], THEM: []}
    stalled: dict[str, list[float]] = {"beside them": [], "alone": []}
    for turn in range(rounds):
        with ExitStack() as stack:
            servers = [stack.enter_context(Server(name, work / f"{turn}-{name}")) for name in (US, THEM)]
            for (modality, senders), rates in stores.items():
                for server in _shuffled(servers):
                    rates[server.name].append(_rate(server, modality, senders))
            for server in _shuffled(servers):
                handshakes[server.name].append(_handshakes(server))
            stalled["alone"].append(_rate(servers[0], "CT", 1))
            stalled["beside them"].append(_stalled(servers[0]))
    rows: list[Row] = []
    for (modality, senders), rates in stores.items():
        what = f"{modality}, {senders} sender{'s' * (senders > 1)}, raw, fast, TLS"
        goal = GOALS[modality, senders]
        rows += ratios(what, "/s", rates, {THEM: goal} if goal is not None else {})
    rows += ratios("TLS handshake + association + echo + release", "/s", handshakes)
    return rows + ratios(f"CT, 1 sender, TLS, {STALLED} stalled handshakes", "/s", stalled, {"alone": 0.5})


def _shuffled(servers: Sequence[Server]) -> list[Server]:
    return random.sample(servers, len(servers))
