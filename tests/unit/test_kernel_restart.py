"""A real kernel with a station that receives from four senders, interrupted and restarted."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from pacskit.peers import PeerAddress
from pacskit.station import Station, background
from tests.archive.serving import Flood, check_kept

MORE = 40
"""Acknowledged after it happened: more than those whose answer may have been on its way, 4."""
BUSY = "print('runs', flush=True)\nwhile True: sum(range(10**6))"


class Kernel:
    """One kernel; `station()` makes a station there, that listens."""

    def __init__(self, archive: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self.client: BlockingKernelClient = self.manager.blocking_client()
        self.client.start_channels()
        self._archive = archive
        self.peer = PeerAddress("PACSKIT", "127.0.0.1", 1)
        self.pid = 0
        """Of the process that owns the archive."""

    def station(self, run_in: str) -> None:
        listener = {"enabled": True, "host": "127.0.0.1", "port": 0}
        settings = f"listener={listener!r}, station={{'run_in': {run_in!r}}}"
        code = f"import os, pacskit; station = pacskit.Station({str(self._archive)!r}, {settings})"
        owner = "(station.background.pid or os.getpid(), station.listener.status.port)"
        self.client.wait_for_ready(60)
        answer = self.client.execute_interactive(code, timeout=60, user_expressions={"owner": owner})
        found = answer["content"]["user_expressions"]["owner"]["data"]["text/plain"]
        self.pid, port = ast.literal_eval(found)
        self.peer = PeerAddress("PACSKIT", "127.0.0.1", port)

    def interrupt(self) -> None:
        """A busy cell, that is told so when it returns."""
        asked = self.client.execute(BUSY)
        while self.client.get_iopub_msg(60)["msg_type"] != "stream":
            pass
        self.manager.interrupt_kernel()
        while (answer := self.client.get_shell_msg(60))["parent_header"]["msg_id"] != asked:
            pass
        assert answer["content"]["ename"] == "KeyboardInterrupt"

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def kernel(archive: Path) -> Iterator[Kernel]:
    made = Kernel(archive)
    yield made
    made.close()
    if (channel := background.question(archive)) is not None:
        channel.ask("shutdown")
        assert channel.wait_for_end(20)
        channel.close()


def test_in_the_background_nobody_notices(kernel: Kernel, archive: Path) -> None:
    kernel.station("background")
    pid = kernel.pid
    flood = Flood(kernel, first=1)
    flood.wait_for(20)
    kernel.interrupt()
    kernel.client.execute(BUSY)
    for now in (False, True):
        kernel.manager.restart_kernel(now=now)
        flood.wait_for(len(flood.so_far()) + MORE)
    kernel.station("background")
    assert kernel.pid == pid
    flood.wait_for(len(flood.so_far()) + MORE)
    with Station(archive) as station:
        assert len(station.listener.associations()) == 4
        acknowledged = flood.join()
        assert not flood.lost, "each of them came to its own end"
        station.stop_background()
    assert check_kept(archive, acknowledged) == len(acknowledged)


def test_in_the_kernel_an_interrupt_is_for_the_cell(kernel: Kernel, archive: Path) -> None:
    kernel.station("kernel")
    flood = Flood(kernel, first=1)
    flood.wait_for(20)
    kernel.interrupt()
    flood.wait_for(len(flood.so_far()) + MORE)
    flood.join()
    assert not flood.lost


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_in_the_kernel_a_restart_ends_it(kernel: Kernel, archive: Path, busy: bool) -> None:
    """Cleanly where the kernel gets a chance to: the senders hear an A-ABORT, and nothing is left to mend."""
    kernel.station("kernel")
    flood = Flood(kernel, first=1)
    flood.wait_for(20)
    if busy:
        kernel.client.execute(BUSY)
    pid = kernel.pid
    kernel.manager.restart_kernel(now=False)
    acknowledged = flood.join()
    assert len(flood.lost) == 4
    if not busy:
        assert all("ended the association" in reason for reason in flood.lost), flood.lost
        assert os.listdir(archive / "dirty") == []
    assert check_kept(archive, acknowledged) <= len(acknowledged) + 4
    kernel.station("kernel")
    assert kernel.pid != pid
    assert not psutil.pid_exists(pid)


def test_in_the_kernel_a_killed_one_loses_nothing(kernel: Kernel, archive: Path) -> None:
    kernel.station("kernel")
    flood = Flood(kernel, first=1)
    flood.wait_for(40)
    kernel.manager.restart_kernel(now=True)
    acknowledged = flood.join()
    assert len(flood.lost) == 4
    assert check_kept(archive, acknowledged) <= len(acknowledged) + 4
    kernel.station("kernel")
