"""What the disk is told before a sender hears `success`, seen by strace at a real `pacskit serve`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archive.serving import Server, instance

CALLS = "openat,writev,pwrite64,fdatasync,fsync,rename,renameat2,mkdir,sendto,sendmsg,unlink"
LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Call:
    thread: str
    name: str
    what: str


@contextmanager
def traced(tmp_path: Path, *options: str) -> Iterator[tuple[Server, Path]]:
    log = tmp_path / "strace.log"
    with Server("strace", "-f", "--seccomp-bpf", "-y", "-qq", "-s", "8", "-o", str(log), *options) as server:
        yield server, log


def calls(log: Path, archive: Path) -> list[Call]:
    """In the order in which they returned, paths relative to the archive."""
    found: list[Call] = []
    begun: dict[tuple[str, str], str] = {}
    for line in log.read_text("utf-8", "replace").splitlines():
        if line.endswith(UNFINISHED):
            thread, call = line.removesuffix(UNFINISHED).split(maxsplit=1)
            name, _, arguments = call.partition("(")
            begun[thread, name] = arguments
            continue
        if resumed := RESUMED.match(line):
            thread, name, rest = resumed.groups()
            line = f"{thread} {name}({begun.pop((thread, name), '')}{rest}"
        if match := LINE.match(line):
            thread, name, what, result = match.groups()
            if int(result) >= 0:
                found.append(Call(thread, name, what.replace(f"{archive}/", "").replace(f"{archive}", ".")))
    return found


def place(found: list[Call], name: str, pattern: str, after: int = -1) -> int:
    """Where the first such call stands behind `after`."""
    for number, call in enumerate(found):
        if number > after and call.name.startswith(name) and re.search(pattern, call.what):
            return number
    raise AssertionError(f"no {name} of {pattern} behind {after}")


@pytest.mark.peer("strace")
def test_safe_syncs_in_order_before_success(tmp_path: Path) -> None:
    """Mark → data → rename → every new name → success; for a new study, a new series, and one more file."""
    archive = tmp_path / "archive"
    with traced(tmp_path, "-e", f"trace={CALLS}") as (server, log):
        server.serve(archive)
        sent = [instance(1, 1, 1), instance(1, 2, 2), instance(1, 2, 3)]
        assert [answer.status for answer in server.store(sent)] == [0, 0, 0]
        assert server.stop() == 0
    found = calls(log, archive)
    mark = place(found, "openat", r'"dirty/\d+-\w+~1\.2\.1", .*O_CREAT')
    assert place(found, "fsync", r"<dirty>$", mark) < place(found, "rename", r"\.part\"")
    start = -1
    for number, new in ((1, "study"), (2, "series"), (3, "")):
        part = place(found, "writev", r"<incoming/\w+\.part>", start)
        thread = found[part].thread
        name = re.search(r"incoming/\w+\.part", found[part].what)[0]  # type: ignore[index]
        synced = place(found, "fdatasync", name, part)
        renamed = place(found, "rename", name, synced)
        target = re.search(r'"studies/([^/]+)/([^/]+)/\d+-\w+\.dcm"', found[renamed].what)
        assert target is not None
        study, series = f"studies/{target[1]}", f"studies/{target[1]}/{target[2]}"
        told = place(found, "send", "TCP|socket", renamed)
        assert found[told].thread == thread
        folders = {"study": ["studies", study, series], "series": [study, series], "": [series]}[new]
        for folder in folders:
            again = place(found, "fsync", f"<{folder}>$", part if folder != series else renamed)
            assert again < told, f"{folder} is on the disk before instance {number} is told as stored"
            assert found[again].thread == thread
        written = [
            n for n, call in enumerate(found) if call.name in ("writev", "pwrite64") and name in call.what
        ]
        assert max(written) < synced, "nothing is written behind the sync"
        start = told


@pytest.mark.peer("strace")
def test_fast_syncs_nothing_but_the_index(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with traced(tmp_path, "-e", f"trace={CALLS}") as (server, log):
        server.serve(archive, durability="fast")
        assert [answer.status for answer in server.store([instance(1, 1, 1)])] == [0]
        assert server.stop() == 0
    found = calls(log, archive)
    thread = found[place(found, "writev", r"<incoming/\w+\.part>")].thread
    assert not [call for call in found if call.thread == thread and "sync" in call.name]
    place(found, "openat", r'"dirty/\d+-\w+~1\.2\.1", .*O_CREAT')


@pytest.mark.peer("storescu")
@pytest.mark.peer("strace")
def test_a_duplicate_is_not_written(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with traced(tmp_path, "-e", f"trace={CALLS}") as (server, log):
        server.serve(archive)
        assert [answer.status for answer in server.store([instance(1, 1, 1)] * 3)] == [0, 0, 0]
        assert server.stop() == 0
    found = calls(log, archive)
    assert len([call for call in found if call.name.startswith("rename") and "studies/" in call.what]) == 1
