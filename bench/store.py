"""C-STORE: instances per second by raw senders, by stock senders and by storescu; `fast` and `safe`."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pacskit
from bench.corpus import Kind
from bench.places import in_memory, on_disk
from bench.results import Row, ratios
from bench.sender import Job, send
from bench.servers import AE_TITLE, Server, present
from pacskit.settings import ListenerSettings

SECONDS = 1.2
"""Each run ends then, or after MOST instances of all senders."""
MOST = {"CT": 3000, "MR": 16_000}
MOST_SAFE = {"CT": 400, "MR": 2000}
BY_STORESCU = {"CT": 400, "MR": 800}
SENDERS = (1, 4)
GOALS = {
    ("CT", 1): {"storescp": 0.9, "Orthanc": 4.0, "pynetdicom": 7.0},
    ("CT", 4): {"storescp": 0.85, "Orthanc": 4.0, "pynetdicom": 7.0},
    ("MR", 1): {"storescp": 0.85, "Orthanc": 4.0, "pynetdicom": 7.0},
    ("MR", 4): {"storescp": 0.5, "Orthanc": 4.0, "pynetdicom": 7.0},
}
GOALS_SAFE = {"CT": {"Orthanc default": 2.0}, "MR": {"Orthanc default": 3.0}}
WORKERS = "pacskit, 2 workers"

Measured = dict[tuple[str, int, str], list[float]]
"""(modality, senders, who) → one value a round."""
_runs = itertools.count(random.randrange(2_000_000_000, 9_000_000_000))


def _raw(server: Server, modality: str, senders: int, most: int, *, stock: bool = False) -> tuple[float, int]:
    run, share = next(_runs), most // senders
    jobs = [Job(server.port, modality, run, n * share, share, SECONDS, stock) for n in range(senders)]
    return send(jobs)


def _behind(server: Server, expected: int) -> float:
    """Seconds after the last answer until the index has every row."""
    began = time.monotonic()
    with pacskit.open(server.archive) as archive:
        while (rows := int(archive.studies()["instances"].sum())) < expected:
            if time.monotonic() - began > 60:
                raise RuntimeError(f"the index has {rows} of {expected} instances")
            time.sleep(0.02)
    return time.monotonic() - began


def _by_storescu(server: Server, folders: Sequence[Path]) -> float:
    began = time.monotonic()
    command = ["storescu", "-R", "-xe", "--max-pdu", "131072", "--max-send-pdu", "131072", "-aec", AE_TITLE]
    senders = [
        subprocess.Popen(
            [*command, "127.0.0.1", str(server.port), "+sd", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env={"TCP_NODELAY": "1"},
        )
        for folder in folders
    ]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise RuntimeError(f"storescu failed against {server.name}")
    return sum(1 for folder in folders for _ in folder.iterdir()) / (time.monotonic() - began)


def _take_turns(
    work: Path, rounds: int, names: Sequence[str], measure: Callable[[Sequence[Server]], None], **how: bool
) -> None:
    """Fresh servers for each round. Only on a tmpfs is a round's output deleted at once: there it is free."""
    for turn in range(rounds):
        folder = work / f"{turn}-{time.monotonic_ns()}"
        with ExitStack() as stack:
            measure([stack.enter_context(Server(name, folder / name, **how)) for name in names])
        if str(work).startswith("/dev/shm"):
            shutil.rmtree(folder)


def _fast(rounds: int) -> list[Row]:
    names = [*present(), *([WORKERS] if "workers" in ListenerSettings.model_fields else [])]
    rates: Measured = {}
    behind: Measured = {}
    storescu: Measured = {}
    with in_memory() as work:
        folders = _files(work)

        def measure(servers: Sequence[Server]) -> None:
            stored: dict[str, int] = {}
            for (modality, senders), server in _turns(servers):
                key = (modality, senders, server.name)
                rate, count = _raw(server, modality, senders, MOST[modality])
                rates.setdefault(key, []).append(rate)
                if server.name.startswith("pacskit"):
                    stored[server.name] = stored.get(server.name, 0) + count
                    behind.setdefault(key, []).append(_behind(server, stored[server.name]))
            for (modality, senders), server in _turns(servers):
                if server.name != "pynetdicom":
                    rate = _by_storescu(server, folders[modality, senders])
                    storescu.setdefault((modality, senders, server.name), []).append(rate)

        _take_turns(work, rounds, names, measure)
    rows = _rows("{}, {}, raw, fast", rates, names, GOALS)
    by_two = {name: rates["MR", 4, name] for name in (WORKERS, "storescp") if ("MR", 4, name) in rates}
    if len(by_two) == 2:
        rows += ratios("MR, 4 senders, raw, fast, 2 workers", "/s", by_two, {"storescp": 1.0})
    rows += _rows("{}, {}, seconds until the index has all", behind, names[:1] + names[4:], {}, unit=" s")
    by_user = {key: {"storescp": 0.95} for key in GOALS}
    return rows + _rows("{}, {}, by storescu", storescu, [n for n in names if n != "pynetdicom"], by_user)


def _stock(rounds: int) -> list[Row]:
    rates: Measured = {}
    names = present()

    def measure(servers: Sequence[Server]) -> None:
        for (modality, senders), server in _turns(servers, (1,)):
            rate, _ = _raw(server, modality, senders, 400, stock=True)
            rates.setdefault((modality, senders, server.name), []).append(rate)

    with in_memory() as work:
        _take_turns(work, rounds, names, measure, stock=True)
    return _rows("{}, {}, Nagle on (stock)", rates, names, {key: {"storescp": 25.0} for key in GOALS})


def _safe(rounds: int) -> list[Row]:
    rates: Measured = {}
    names = ["pacskit safe"] + (["Orthanc default"] if "Orthanc" in present() else [])

    def measure(servers: Sequence[Server]) -> None:
        for (modality, senders), server in _turns(servers):
            rate, _ = _raw(server, modality, senders, MOST_SAFE[modality])
            rates.setdefault((modality, senders, server.name), []).append(rate)

    with on_disk() as work:
        _take_turns(work, rounds, names, measure)
    return _rows("{}, {}, raw, safe, on a disk", rates, names, {key: GOALS_SAFE[key[0]] for key in GOALS})


def _files(work: Path) -> dict[tuple[str, int], list[Path]]:
    """What storescu sends: folders by modality and senders. Every round's servers are new to them."""
    folders: dict[tuple[str, int], list[Path]] = {}
    for modality, most in BY_STORESCU.items():
        kind = Kind.of(modality)
        for senders in SENDERS:
            run, share = next(_runs), most // senders
            for n in range(senders):
                folder = work / "files" / f"{modality}-{senders}-{n}"
                kind.write(folder, run, range(n * share, (n + 1) * share))
                folders.setdefault((modality, senders), []).append(folder)
    return folders


def _turns(
    servers: Sequence[Server], senders: Sequence[int] = SENDERS
) -> list[tuple[tuple[str, int], Server]]:
    """Every modality and number of senders, and each time the servers in another order."""
    settings = [(modality, number) for modality in MOST for number in senders]
    return [(one, server) for one in settings for server in random.sample(servers, len(servers))]


def _rows(
    what: str,
    measured: Measured,
    names: Sequence[str],
    goals: Mapping[tuple[str, int], Mapping[str, float]],
    unit: str = "/s",
) -> list[Row]:
    rows: list[Row] = []
    for modality in MOST:
        for senders in SENDERS:
            found = {n: measured[modality, senders, n] for n in names if (modality, senders, n) in measured}
            if found:
                title = what.format(modality, "1 sender" if senders == 1 else f"{senders} senders")
                goal = goals.get((modality, senders), {})
                rows += ratios(title, unit, found, goal, compare=unit == "/s")
    return rows


def run(work: Path, rounds: int) -> list[Row]:
    return [*_fast(rounds), *_stock(rounds), *_safe(rounds)]
