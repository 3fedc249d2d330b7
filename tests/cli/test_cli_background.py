"""`pacskit serve --background`, `status` and `stop`: real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pacskit.simulator import Scanner
from pacskit.station import Station, background

LISTENER = ("--set", "listener.host=127.0.0.1", "--set", "listener.port=0")


def pacskit(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pacskit", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "archive"
    if (channel := background.question(tmp_path / "archive")) is not None:
        os.kill(channel.about["pid"], signal.SIGKILL)
        channel.close()


def test_from_start_to_stop(archive: Path) -> None:
    nothing = pacskit("status", "--archive", archive, code=1)
    assert "no station runs" in nothing.stderr
    assert "no station runs" in pacskit("stop", "--archive", archive, code=1).stderr
    assert not archive.exists(), "asking makes nothing"

    ready = json.loads(pacskit("serve", "--background", "--json", "--archive", archive, *LISTENER).stdout)
    assert ready["service"] == "listener"
    assert Scanner(f"PACSKIT@127.0.0.1:{ready['port']}").echo().done

    found = json.loads(pacskit("status", "--json", "--archive", archive).stdout)
    listener = found["services"]["listener"]
    assert (found["run_in"], found["archive"], found["clients"]) == ("background", str(archive), 0)
    assert (listener["state"], listener["port"], listener["ae_title"]) == (
        "running",
        ready["port"],
        "PACSKIT",
    )
    assert listener["totals"]["associations"] == 1
    assert Path(found["log"]).is_file()
    assert found["uptime"] >= 0
    shown = pacskit("status", "--archive", archive).stdout
    assert f"DICOM Listener PACSKIT running at 127.0.0.1:{ready['port']}" in shown
    assert found["log"] in shown

    again = pacskit("serve", "--background", "--json", "--archive", archive, *LISTENER)
    assert f"it runs already, in process {found['pid']}" in again.stderr
    assert json.loads(again.stdout) == ready
    assert str(found["pid"]) in pacskit("serve", "--archive", archive, code=1).stderr

    with Station(archive) as station:
        assert station.background.pid == found["pid"]
        assert "has ended" in pacskit("stop", "--archive", archive).stdout
    with socket.create_server(("127.0.0.1", ready["port"])):
        pass
    assert not psutil.pid_exists(found["pid"]) or psutil.Process(found["pid"]).wait(5) is None


def test_no_service_can_start(archive: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = f"listener.port={other.getsockname()[1]}"
        arguments = ("--set", "listener.host=127.0.0.1", "--set", port)
        result = pacskit("serve", "--background", "--archive", archive, *arguments, code=1)
    assert "is taken" in result.stderr
    assert "no service could start" in result.stderr
    pacskit("status", "--archive", archive, code=1)


def test_a_notebook_has_it(archive: Path) -> None:
    code = f"import pacskit; s = pacskit.Station({str(archive)!r}); print(1, flush=True); input()"
    notebook = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert notebook.stdout is not None
    assert notebook.stdout.readline()
    try:
        result = pacskit("serve", "--background", "--archive", archive, *LISTENER, code=1)
        assert f"notebook or script (process {notebook.pid})" in result.stderr
        assert "in a notebook or script" in pacskit("status", "--archive", archive).stdout
        assert "close it there" in pacskit("stop", "--archive", archive, code=1).stderr
    finally:
        notebook.communicate("\n", timeout=20)


def test_one_in_a_terminal(archive: Path) -> None:
    """`pacskit serve`, ended by `pacskit stop` as by Ctrl+C."""
    command = [sys.executable, "-m", "pacskit", "serve", "--json", "--archive", str(archive), *LISTENER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["service"] == "listener"
    assert "by pacskit serve" in pacskit("status", "--archive", archive).stdout
    pacskit("stop", "--archive", archive)
    assert "Traceback" not in process.communicate(timeout=20)[1]
    assert process.returncode == 0


def test_a_terminated_one_ends_cleanly(archive: Path) -> None:
    pacskit("serve", "--background", "--archive", archive, *LISTENER)
    channel = background.question(archive)
    assert channel is not None
    os.kill(channel.about["pid"], signal.SIGHUP)
    assert channel.ask("status")["run_in"] == "background", "a terminal that closes does not end it"
    os.kill(channel.about["pid"], signal.SIGTERM)
    assert channel.wait_for_end(20)
    assert channel.ending, "it said that it ends: it was not killed"
