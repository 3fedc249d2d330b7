"""The computer's clock is set back by a year, and forward, while a real `pacskit serve` receives."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

import pacskit
from tests.archive.serving import Flood, Server, check_kept

YEAR = 365 * 86_400
# What every program asks for the time of day; the other clocks stay true. The file holds seconds to add.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static int file = -1;
    long offset = 0;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (clock == CLOCK_REALTIME) {
        if (file < 0) file = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
        if (pread(file, &offset, sizeof offset, 0) == sizeof offset) now->tv_sec += offset;
    }
    return done;
}
"""


class Clock:
    """`under` goes before a program's command; `jump()` sets its clock."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self.jump(0)
        source, library = folder / "clock.c", folder / "clock.so"
        source.write_text(SHIM)
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self.under = ("env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET={self._offset}")

    def jump(self, seconds: int) -> None:
        self._offset.write_bytes(struct.pack("l", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc, to make what stands between a program and its clock")
    return Clock(tmp_path)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("years", [-1, 1], ids=["back", "forward"])
def test_nothing_is_lost_or_late(tmp_path: Path, clock: Clock, years: int, killed: bool) -> None:
    archive = tmp_path / "archive"
    with Server(*clock.under) as server:
        server.serve(archive, stable_after="1", keep_days="400")
        flood = Flood(server, first=1)
        flood.wait_for(20)
        before = len(flood.so_far())
        clock.jump(years * YEAR)
        flood.wait_for(before + 80)
        with pacskit.open(archive) as reader:
            received = reader.table("instance")["received_at"]
            apart = (received.max() - received.min()).total_seconds()
        assert abs(apart - YEAR) < 3600, "the clock was set"
        if killed:
            server.kill()
        else:
            assert server.stop() == 0
        acknowledged = flood.join()
        assert abs(time.time() - Path(archive, "format.json").stat().st_mtime) < 3600, "this one's was not"
        check_kept(archive, acknowledged)
        clock.jump(0)
        server.serve(archive)  # when its own files are of a time that is still to come
        again = Flood(server, first=10)
        again.wait_for(20)
        assert server.stop() == 0
        again.join()
    check_kept(archive, acknowledged | again.acknowledged)
