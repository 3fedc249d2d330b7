"""Errors of the disk, injected by strace into a real `pacskit serve`: a true status, the others go on, it stops,
and the next start has everything that was acknowledged."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pacskit.archive import Archive
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to
from tests.archive.serving import Flood, Server, check_kept, instance
from tests.archive.test_archive_failures import ROOM, small_disk

__all__ = ["small_disk"]
pytestmark = pytest.mark.peer("strace")
OUT_OF_RESOURCES = 0xA700


@contextmanager
def injected(server: Server, *options: str) -> Iterator[None]:
    """strace joins the running server: its start meets no error; from now on each of its threads does."""
    command = ["strace", "-f", "-o", "/dev/null", *options, "-p", str(server.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
        try:
            yield
        finally:
            strace.terminate()


def made(tmp_path: Path) -> Path:
    """An archive that was used before, so that its index exists."""
    with Archive.create_or_open(tmp_path / "archive", EventBus(), ArchiveSettings()) as archive:
        send_to(archive, make("1.9.9"))
    return tmp_path / "archive"


@pytest.mark.parametrize(
    ("call", "error", "when"),
    [
        # not openat: a thread's first may be a reader's connection to the index
        ("writev", "ENOSPC", 2),
        ("writev", "EIO", 2),
        # not pwrite64: the index's thread calls it too, and which call is its second is a matter of timing
        ("fdatasync", "EIO", 2),
        ("fdatasync", "ENOSPC", 2),
        ("renameat2", "EIO", 2),
        ("renameat2", "ENOSPC", 2),
        ("fsync", "EIO", 5),  # the first instance of a study syncs dirty/, studies/, study (twice), series
    ],
)
def test_one_instance_meets_an_error(tmp_path: Path, call: str, error: str, when: int) -> None:
    """strace counts for each thread: each association's n-th such call fails, the ones around it do not."""
    archive = made(tmp_path)
    acknowledged: dict[str, bytes] = {}
    options = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    with Server() as server:
        server.serve(archive)
        with injected(server, *options):
            for study in (1, 2):
                sent = [instance(study, 1, number) for number in (1, 2, 3)]
                answers = server.store(sent)
                failed = [answer for answer in answers if answer.status]
                assert [answer.status for answer in failed] == [OUT_OF_RESOURCES], answers
                assert "cannot be written" in failed[0].comment
                acknowledged |= {
                    uid: body for (uid, body), a in zip(sent, answers, strict=True) if not a.status
                }
        assert server.stop() == 0
    assert check_kept(archive, acknowledged) == 1 + len(acknowledged), "what was refused is not here"


@pytest.mark.parametrize(("error", "lasting"), [("ENOSPC", False), ("EIO", True)])
def test_the_index_cannot_be_committed(tmp_path: Path, error: str, lasting: bool) -> None:
    """A full disk ends by itself; anything else ends receiving, loudly. Nothing acknowledged is lost."""
    archive = made(tmp_path)
    log = archive / "index.sqlite-wal"
    when = "2+" if lasting else "2..3"
    options = ("-P", str(log), "-e", "trace=pwrite64", "-e", f"inject=pwrite64:error={error}:when={when}")
    acknowledged: dict[str, bytes] = {}
    with Server() as server:
        server.serve(archive)
        with injected(server, *options):
            refused = 0
            until = time.monotonic() + 60
            for number in itertools.count(1):
                assert time.monotonic() < until
                uid, body = instance(1, 1, number, 100)
                (answer,) = server.store([(uid, body)])
                if answer.status:
                    assert answer.status == OUT_OF_RESOURCES
                    assert "index" in answer.comment
                    refused += 1
                    if lasting:
                        break
                else:
                    acknowledged[uid] = body
                    if refused:
                        break
            assert refused, "the senders heard of it"
            assert lasting or answer.status == 0, "it went on when there was room again"
        assert server.stop() == 0
    assert check_kept(archive, acknowledged) == 1 + len(acknowledged)


@pytest.mark.parametrize("min_free", ["0 MB", "300 KB"])
def test_the_disk_gets_full(small_disk: Path, min_free: str) -> None:
    """By four senders at once: each hears A700; with room again the same associations go on."""
    archive, ballast = small_disk / "archive", small_disk / "ballast"
    with Server() as server:
        server.serve(archive, min_free=min_free)
        ballast.write_bytes(bytes(ROOM // 2))  # more than the limit: without it there is room for sure
        flood = Flood(server, first=1)
        flood.wait_for_refusals(8)
        assert all(f"status={OUT_OF_RESOURCES}" in wrong for wrong in flood.wrong), flood.wrong[:3]
        kept = len(flood.so_far())
        ballast.unlink()
        flood.wait_for(kept + 4)
        assert server.stop() == 0
        flood.join(refused=True)
    # the senders may have filled it again: the next owner gets room
    subprocess.run(["mount", "-o", "remount,size=256m", str(small_disk)], check=True)
    check_kept(archive, flood.acknowledged)
