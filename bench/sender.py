"""A raw sender in a process of its own: `python -m bench.sender JOB`, prepared first, then told to go.

stdout: ready          (associated, everything encoded)
stdin:  go
stdout: {"began": ..., "ended": ..., "stored": ..., "refused": ...}     seconds of the monotonic clock
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.corpus import EXPLICIT_LE, Kind
from bench.raw_sender import RawAssociation, any_server, associate_rq, p_data_header, store_rq

STOCK_PDU = 16384
"""What stock senders use (DCMTK's default)."""
LARGEST_PDU = 131072


@dataclass(frozen=True)
class Job:
    """One sender's part of a run: at most `most` instances, for at most `seconds`."""

    port: int
    modality: str
    run: int
    start: int
    """Number of its first instance."""
    most: int
    seconds: float
    stock: bool = False
    """As stock senders do: Nagle on, small PDUs, a system call for each."""
    tls: bool = False


def _encode(kind: Kind, job: Job, largest: int) -> list[list[bytes | memoryview]]:
    """Each instance as the buffers to send; only the first differs, so memory stays small."""
    length = len(kind.header) + len(kind.pixels)
    most, pixels = largest - 6, memoryview(kind.pixels)
    same: list[bytes | memoryview] = []
    at = 0
    first = b""
    while at < length:
        size = min(most, length - at)
        header = p_data_header(1, 2 if at + size == length else 0, size)
        if at == 0:
            first = header
            same.append(pixels[: size - len(kind.header)])
        else:
            begin = at - len(kind.header)
            same += [header, pixels[begin : begin + size]]
        at += size
    instances = []
    for number in range(job.start, job.start + job.most):
        uid, data = kind.instance(job.run, number)
        command = store_rq(1, kind.sop_class, uid)
        start: list[bytes | memoryview] = (
            [command[:12], command[12:], first, data] if job.stock else [command + first + data]
        )
        instances.append(start + same)
    return instances


def _send(job: Job) -> dict[str, float]:
    kind = Kind.of(job.modality)
    request = associate_rq([(kind.sop_class, (EXPLICIT_LE,))])
    association = RawAssociation(job.port, request, nagle=job.stock, tls=any_server() if job.tls else None)
    instances = _encode(kind, job, min(association.most, STOCK_PDU if job.stock else LARGEST_PDU))
    store = association.store_piecewise if job.stock else association.store_at_once
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    stored = refused = 0
    began = ended = time.monotonic()
    for buffers in instances:
        if store(buffers):
            refused += 1
        else:
            stored += 1
        ended = time.monotonic()
        if ended - began > job.seconds:
            break
    association.release()
    return {"began": began, "ended": ended, "stored": stored, "refused": refused}


def send(jobs: list[Job]) -> tuple[float, int]:
    """Run the senders together: (instances per second, instances). Raises RuntimeError for a refusal."""
    command = [sys.executable, "-m", "bench.sender"]
    root = Path(__file__).parent.parent
    pipe = subprocess.PIPE
    senders = [
        subprocess.Popen([*command, json.dumps(asdict(job))], stdin=pipe, stdout=pipe, text=True, cwd=root)
        for job in jobs
    ]
    for sender in senders:
        assert sender.stdout is not None
        if sender.stdout.readline() != "ready\n":
            raise RuntimeError("a sender could not start")
    for sender in senders:
        assert sender.stdin is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
    results = [json.loads(sender.communicate()[0]) for sender in senders]
    if any(result["refused"] for result in results):
        raise RuntimeError(f"{sum(result['refused'] for result in results)} instances were refused")
    stored = sum(result["stored"] for result in results)
    spent = max(result["ended"] for result in results) - min(result["began"] for result in results)
    return stored / spent, stored


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_send(Job(**json.loads(sys.argv[1])))) + "\n")
