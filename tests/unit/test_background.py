"""The station in a process of its own: it outlives whoever started it, and has the same face."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import KernelManager

from pacskit.archive import Archive
from pacskit.errors import ArchiveError, ArchiveOwned, PortTaken, ServiceError, SettingError
from pacskit.events import EventBus, EventQueue, InstanceStored, ServiceChanged, SettingsChanged
from pacskit.services.base import State
from pacskit.services.host import places, wire
from pacskit.simulator import Scanner
from pacskit.station import Station, background
from pacskit.widgets.services import ServicesPanel

LISTENER = {"enabled": True, "host": "127.0.0.1", "port": 0}
BACKGROUND = {"run_in": "background"}
TINY: dict[str, Any] = {"progress": False, "slices": 1, "size": 64}


def end(folder: Path) -> None:
    """Whatever the test left running for this archive."""
    if (channel := background.question(folder)) is not None:
        channel.ask("shutdown")
        assert channel.wait_for_end(20)
        channel.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "archive"
    end(tmp_path / "archive")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive with a background station that several tests attach to."""
    folder = tmp_path_factory.mktemp("running")
    Station(folder, listener=LISTENER, station=BACKGROUND).close()
    yield folder
    end(folder)


@pytest.fixture
def attached(running: Path) -> Iterator[Station]:
    with Station(running, listener={**LISTENER, "ae_title": "PACSKIT"}) as station:
        yield station


@contextmanager
def another(folder: Path, code: str, **settings: object) -> Iterator[subprocess.Popen[str]]:
    """Another process with a `station`, in a process group of its own; killed at the end."""
    head = f"import pacskit, json, sys; station = pacskit.Station({str(folder)!r}, **{settings!r})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended"
    return json.loads(line)


def until(queue: EventQueue[Any], true: Callable[[], bool], patience: float = 10.0) -> None:
    """Wait for events until it is so."""
    while not true():
        assert queue.get(patience) is not None, "nothing more happens"


def gone(pid: int) -> bool:
    """Ended, and no zombie, within 5 s."""
    try:
        psutil.Process(pid).wait(5)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        return False
    return not psutil.pid_exists(pid)


def alone(station: Station) -> bool:
    """Whether it is the only one attached: the owner hears a moment later that another has left."""
    return any(station.background.clients == 1 for _ in range(1000))


# -- it outlives


def test_nothing_is_lost_when_its_notebook_is_interrupted_and_killed(folder: Path) -> None:
    """Four transfers; the notebook that started it is busy, gets SIGINT with its group, then SIGKILL."""
    code = "print(station.background.pid, flush=True)\nwhile True:\n  try: sum(range(10**8))\n"
    code += "  except KeyboardInterrupt: print('1', flush=True)"
    with another(folder, code, listener=LISTENER, station=BACKGROUND) as notebook:
        pid = line_of(notebook)
        with Station(folder) as station, station.events.queue(InstanceStored) as stored:
            assert station.background.pid == pid not in (notebook.pid, os.getpid())
            assert station.background.clients == 2
            assert os.getsid(pid) == pid
            assert psutil.Process(pid).ppid() != notebook.pid
            reports: list[Any] = []

            def send(number: int) -> None:
                scanner = Scanner(station, ae_title=f"S{number}")
                reports.append(scanner.send("mr", progress=False, slices=30, size=64, seed=number + 1))

            senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
            for sender in senders:
                sender.start()
            assert stored.get(30) is not None
            os.killpg(notebook.pid, signal.SIGINT)
            assert line_of(notebook) == 1, "the interrupt met the notebook"
            notebook.kill()
            for sender in senders:
                sender.join()
            assert all(not report.failed for report in reports)
            assert station.studies()["instances"].sum() == sum(report.sent for report in reports)
            assert station.listener.totals().stored == sum(report.sent for report in reports)
            assert station.background.lost == ""


def test_a_kernel_that_is_interrupted_and_restarted(folder: Path) -> None:
    """A real kernel, in the middle of a transfer: nobody notices."""
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel()
    client = kernel.blocking_client()
    client.start_channels()

    def pid_there() -> int:
        client.wait_for_ready(60)
        code = f"import pacskit; station = pacskit.Station({str(folder)!r}, station={BACKGROUND!r})"
        wanted = {"pid": "station.background.pid"}
        answer = client.execute_interactive(code, timeout=60, user_expressions=wanted)
        return int(answer["content"]["user_expressions"]["pid"]["data"]["text/plain"])

    try:
        pid = pid_there()
        with Station(folder, listener=LISTENER) as station, station.events.queue(InstanceStored) as stored:
            reports: list[Any] = []
            scanner = Scanner(station)
            sender = threading.Thread(
                target=lambda: reports.append(scanner.send("mr", progress=False, slices=60, size=64))
            )
            client.execute("while True: sum(range(10**7))")
            sender.start()
            assert stored.get(30) is not None
            kernel.interrupt_kernel()
            kernel.restart_kernel(now=False)
            sender.join()
            assert reports[0].failed == []
            assert station.studies()["instances"].sum() == reports[0].sent
            assert not station.background.lost
            assert pid_there() == pid
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_without_keep_running_it_ends_with_the_last_notebook(folder: Path) -> None:
    settings = {"run_in": "background", "keep_running": False}
    with another(folder, "print(station.background.pid, flush=True); input()", station=settings) as notebook:
        pid = line_of(notebook)
        station = Station(folder)
        notebook.kill()
        notebook.wait()
        assert psutil.pid_exists(pid)
        assert not station.background.lost, "one is still there"
        station.close()
        assert gone(pid)
    with Station(folder) as station:
        assert not station.background.attached, "the archive is free"


def test_a_cell_that_runs_twice_is_still_there(folder: Path) -> None:
    settings = {"run_in": "background", "keep_running": False}
    first = Station(folder, station=settings)
    second = Station(folder, station=settings)
    assert first.closed
    assert second.background.pid == first.background.pid
    second.close()
    with Station(folder, station=settings) as third:
        assert third.background.pid == first.background.pid
        assert third.settings.station.keep_running is False


def test_keep_running_is_a_switch(folder: Path) -> None:
    station = Station(folder, station={"run_in": "background", "keep_running": False})
    station.apply({"station": {"keep_running": True}})
    assert station.background.keep_running
    pid = station.background.pid
    station.close()
    with Station(folder) as again:
        assert again.background.pid == pid
        again.apply({"station": {"keep_running": False}})
    assert gone(pid)


def test_it_moves_there_and_back(folder: Path) -> None:
    """The same Station, its panels and its receivers, while the services change their process."""
    with Station(folder, listener=LISTENER) as station, station.events.queue(ServiceChanged) as changed:
        assert not station.background.attached
        station.apply({"listener": {"ae_title": "MOVED"}})
        station.apply({"station": {"run_in": "background"}})
        assert station.background.attached
        assert station.background.run_in == "background"
        assert station.settings.listener.ae_title == "MOVED", "what was not saved goes along"
        Scanner(station).send("mr", **TINY)
        assert len(station.studies()) == 1
        until(changed, lambda: station.listener.status.running)
        pid = station.background.pid
        station.apply({"station": {"run_in": "kernel"}})
        assert gone(pid)
        assert not station.background.attached
        assert station.listener.status.running
        assert len(station.studies()) == 1


# -- the same face


def test_events_and_reads_follow_what_arrives(attached: Station) -> None:
    before = attached.listener.totals().stored
    with attached.events.queue(InstanceStored) as stored:
        report = Scanner(attached).send("mr", progress=False, slices=3, size=64, seed=77)
        assert attached.table("instance", Modality="MR").shape[0] >= report.sent
        assert len(stored.drain()) == report.sent, "who asks has heard before what he is told"
    assert attached.listener.totals().stored == before + report.sent
    uid = attached.table("series", Modality="MR")["series_uid"].iloc[0]
    assert attached.series(uid).volume().array.ndim == 3
    assert all(path.is_file() for path in attached.archive.series_paths(uid))
    assert attached.archive.writable
    assert "in process" in repr(attached)


def test_errors_come_as_they_were(attached: Station) -> None:
    with pytest.raises(SettingError, match="16 characters") as wrong:
        attached.apply({"listener": {"ae_title": "A" * 17}})
    assert (wrong.value.key, wrong.value.source) == ("listener.ae_title", "you")
    with pytest.raises(SettingError, match="dict of settings"):
        attached.apply({"listener": 5})  # type: ignore[dict-item]
    before = attached.listener.status
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} is taken") as taken:
            attached.apply({"listener": {"port": port}})
    assert taken.value.port == port
    assert taken.value.free_port
    assert f"pid {os.getpid()}" in taken.value.holder or str(os.getpid()) in taken.value.holder
    assert attached.listener.status == before
    assert attached.settings.explain("listener.host").source == "code"


@pytest.mark.parametrize("name", ["slot", "owner", "answer", "stop_", ""])
def test_only_questions_are_answered(running: Path, name: str) -> None:
    channel = background.question(running)
    assert channel is not None
    with pytest.raises(ValueError, match="there is no question"):
        channel.ask(name, **({"section": "listener"} if name == "slot" else {}))
    with pytest.raises(ValueError, match="there is no service 'x'"):
        channel.ask("start", section="x")
    with pytest.raises(TypeError):
        channel.ask("start", colour="red")
    assert channel.ask("status")["services"]["listener"]["state"] == "running", "it goes on"
    channel.close()


def test_start_and_stop(attached: Station) -> None:
    attached.listener.stop()
    assert attached.listener.status.state is State.STOPPED
    with pytest.raises(ServiceError, match="not running"):
        Scanner(attached).echo()
    attached.listener.start()
    assert attached.listener.status.running
    assert Scanner(attached).echo().done


def test_another_process_is_told(attached: Station) -> None:
    code = "station.apply({'listener': {'ae_title': 'OTHER'}}); print(1, flush=True); input()"
    with (
        attached.events.queue(SettingsChanged) as changed,
        another(attached.archive.folder, code) as other,
    ):
        assert line_of(other) == 1
        until(changed, lambda: attached.settings.listener.ae_title == "OTHER")
        assert attached.listener.settings.ae_title == "OTHER"
        attached.apply({"listener": {"ae_title": "PACSKIT"}})


def test_its_panels_work_without_a_browser(attached: Station) -> None:
    panel = attached.services
    assert isinstance(panel, ServicesPanel)
    assert panel.settle()
    service = panel.panels["listener"]
    service.form.fields["ae_title"].put("BY_PANEL")
    assert panel.settle()
    service.ok.click()
    assert panel.settle()
    assert attached.settings.listener.ae_title == "BY_PANEL"
    assert attached.listener.settings.ae_title == "BY_PANEL"
    board = attached.dashboard
    Scanner(attached).send("mr", **TINY)
    assert len(attached.studies())
    assert board.settle()
    assert "pk-running" in board._strip.html
    assert "from SCANNER" in board._strip.html


def test_code_given_to_a_running_one_counts(running: Path) -> None:
    with Station(running, listener={**LISTENER, "ae_title": "BY_CODE"}) as station:
        assert station.settings.listener.ae_title == "BY_CODE"
        pid, status = station.background.pid, station.listener.status
    with Station(running, listener={**LISTENER, "ae_title": "BY_CODE"}, station=BACKGROUND) as station:
        assert (station.background.pid, station.listener.status) == (pid, status), "nothing changed"
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.warns(RuntimeWarning, match="is taken"),
    ):
        Station(running, listener={**LISTENER, "port": other.getsockname()[1]}).close()


def test_a_notebook_s_own_station_can_be_attached_to(folder: Path) -> None:
    code = "print(1, flush=True); input()"
    with another(folder, code, listener=LISTENER) as notebook:
        assert line_of(notebook) == 1
        with Station(folder) as station:
            assert station.background.pid == notebook.pid
            assert station.background.run_in == "kernel"
            assert Scanner(station).echo().done
            with pytest.raises(ServiceError, match="close it there"):
                station.stop_background()
            with pytest.raises(ArchiveOwned, match=str(notebook.pid)):
                Station(folder, attach=False)
        with Station(folder) as station, station.events.queue(ServiceChanged) as changed:
            notebook.communicate("\n", timeout=20)
            until(changed, lambda: station.listener.status.state is State.STOPPED)
            assert "has ended: it was closed" in station.background.lost


# -- it crashes, or does not start


def test_a_killed_one_is_noticed_and_replaced(folder: Path) -> None:
    station = Station(folder, listener=LISTENER, station=BACKGROUND)
    Scanner(station).send("mr", **TINY)
    assert len(station.studies()) == 1
    pid = station.background.pid
    with station.events.queue(ServiceChanged) as changed:
        changed.drain()
        os.kill(pid, signal.SIGKILL)
        event = changed.get(2)
        assert event is not None
        assert event.state == State.FAILED
    assert f"({pid}) is gone" in station.listener.status.error
    assert str(folder / "log" / "station.log") in station.background.lost
    with pytest.raises(ServiceError, match="is gone"):
        station.apply({"listener": {"ae_title": "X"}})
    with pytest.raises(ServiceError, match="is gone"):
        station.listener.start()
    assert station.listener.associations() == []
    assert len(station.studies()) == 1
    assert station.log_lines()
    assert gone(pid)
    assert pid not in [child.pid for child in psutil.Process().children()], "a zombie"
    with Station(folder, listener=LISTENER, station=BACKGROUND) as again:
        assert again.background.pid != pid
        assert again.listener.status.running
        assert len(again.studies()) == 1


def test_two_that_start_at_once_share_one(folder: Path) -> None:
    code = "print(station.background.pid, flush=True); input()"
    with (
        another(folder, code, station=BACKGROUND) as first,
        another(folder, code, station=BACKGROUND) as second,
    ):
        assert line_of(first) == line_of(second)


def test_why_it_does_not_start(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Archive.create_or_open(folder, EventBus()), pytest.raises(ArchiveOwned, match=str(os.getpid())):
        Station(folder, station=BACKGROUND)
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="file"):
        Station(tmp_path / "file" / "archive", station=BACKGROUND)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "psutil.py").write_text("raise ImportError('a broken library')")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(ServiceError, match="ended as it started: ImportError: a broken library"):
        Station(folder, station=BACKGROUND)
    monkeypatch.delenv("PYTHONPATH")
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.warns(RuntimeWarning, match="is taken"),
        Station(folder, listener={**LISTENER, "port": other.getsockname()[1]}, station=BACKGROUND) as station,
    ):
        assert station.listener.status.state is State.FAILED


def test_another_version_is_told_apart(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PROTOCOL", 99)
    with pytest.raises(ServiceError, match="cannot talk to: `pacskit stop`"):
        Station(running)
    channel = background.question(running)
    assert channel is not None
    assert channel.ask("status")["run_in"] == "background", "status and stop go on working"
    channel.close()


# -- nothing is left, nothing is told


def test_fifty_visits_leave_nothing(running: Path) -> None:
    mine = psutil.Process()

    def held() -> list[int]:
        gc.collect()
        return [count for p in (mine, host) for count in (p.num_threads(), p.num_fds())]

    with Station(running) as station:
        host = psutil.Process(station.background.pid)
    for number in range(50):
        with Station(running) as station:
            assert alone(station), "the one before has left"
        if number == 5:
            before = held()
    assert all(now <= then + 2 for now, then in zip(held(), before, strict=True)), (held(), before)


def test_a_forgotten_one_detaches(running: Path) -> None:
    station = Station(running)
    del station
    gc.collect()
    with Station(running) as station:
        assert alone(station)


def test_only_its_user_can_read_what_lies_there(running: Path) -> None:
    with Station(running) as station:
        Scanner(station).send("mr", **TINY)
        station.studies()
        text = "\n".join(station.log_lines())
    assert "of SCANNER at 127.0.0.1: released" in text
    assert "phantom" not in text.casefold()
    for name in ("control.json", "control.sock", "log/station.log", "log/start.err"):
        assert stat.S_IMODE((running / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((running / "log").stat().st_mode) == 0o700
    assert (running / "log/start.err").read_text() == ""
    assert places.find(running) is not None
