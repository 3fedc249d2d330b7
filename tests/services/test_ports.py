"""Who holds a port, which one is free, which one was used: with real sockets and second processes."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from pacskit.services import ports
from pacskit.services.base import listen
from pacskit.services.ports import NEXT, PortMemory, free_port, holder_of

ROOT = Path(__file__).resolve().parents[2]
LISTEN = """
import socket, sys
sock = socket.create_server(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""
AS_NOBODY = """
import os, sys
from pathlib import Path
from pacskit.services.ports import PortMemory, holder_of
os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""
only_root_can_become_another = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)


def ipv6() -> bool:
    try:
        listen("::1", 0).close()
    except Exception:  # noqa: BLE001 - whatever the reason, there is none
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not ipv6(), reason="this computer has no IPv6")


@pytest.fixture
def held() -> Iterator[Callable[..., int]]:
    """Listen until the test's end: held(host, port) -> the port."""
    with ExitStack() as stack:

        def hold(host: str = "127.0.0.1", port: int = 0) -> int:
            sock = stack.enter_context(listen(host, port))
            number: int = sock.getsockname()[1]
            return number

        yield hold


@contextmanager
def another_process(*arguments: str) -> Iterator[tuple[int, int]]:
    """A Python that listens: its pid and port."""
    command = [sys.executable, "-c", LISTEN, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def as_nobody(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AS_NOBODY + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)


def refuse(*_: object) -> None:
    raise psutil.AccessDenied


def lack(*_: object) -> None:
    raise NotImplementedError


# holder_of


def test_this_process_holds_it(held: Callable[..., int]) -> None:
    assert holder_of(held()) == f"this notebook's own process (pid {os.getpid()})"


def test_another_process_holds_it() -> None:
    with another_process() as (pid, port):
        assert holder_of(port) == f"process {pid} ({psutil.Process(pid).name()})"


def test_another_notebook_holds_it() -> None:
    with another_process("-m", "ipykernel_launcher") as (pid, port):
        assert holder_of(port) == f"process {pid} ({psutil.Process(pid).name()}, another notebook)"


@needs_ipv6
def test_a_holder_on_ipv6(held: Callable[..., int]) -> None:
    assert holder_of(held("::1")) == f"this notebook's own process (pid {os.getpid()})"


@pytest.mark.skipif(os.name == "nt", reason="sockets are inherited by number on POSIX only")
def test_a_child_with_the_same_socket_is_not_blamed() -> None:
    with listen("127.0.0.1", 0) as sock:
        code = "import sys; print(flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[sock.fileno()],
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert "own process" in holder_of(sock.getsockname()[1])
            child.kill()


def test_a_free_port_has_no_holder(held: Callable[..., int]) -> None:
    assert holder_of(free_port("127.0.0.1", held())) == ""


def test_a_connection_is_no_holder(held: Callable[..., int]) -> None:
    with socket.create_connection(("127.0.0.1", held())) as client:
        assert holder_of(client.getsockname()[1]) == ""


@pytest.mark.parametrize("port", [-1, 0, 65536, 10**9])
def test_no_port_has_no_holder(port: int) -> None:
    assert holder_of(port) == ""


@only_root_can_become_another
def test_a_program_of_another_user(held: Callable[..., int]) -> None:
    found = as_nobody("print(holder_of(int(sys.argv[1])))", held())
    assert found.stdout == "a program of another user\n"


@pytest.mark.parametrize("no", [refuse, lack])
def test_where_the_whole_table_is_refused(
    held: Callable[..., int], monkeypatch: pytest.MonkeyPatch, no: Callable[..., None]
) -> None:
    """As on macOS: each process of one's own still tells."""
    monkeypatch.setattr(ports, "PATIENCE", 60)  # this computer may be busy
    monkeypatch.setattr(psutil, "net_connections", no)
    with another_process() as (pid, port):
        assert holder_of(port).startswith(f"process {pid} (")
        assert "own process" in holder_of(held())


@pytest.mark.parametrize("no", [refuse, lack])
def test_where_nothing_is_told(
    held: Callable[..., int], monkeypatch: pytest.MonkeyPatch, no: Callable[..., None]
) -> None:
    monkeypatch.setattr(psutil.Process, "net_connections", no)
    monkeypatch.setattr(psutil, "net_connections", no)
    assert holder_of(held()) == ""
    monkeypatch.setattr(psutil, "pids", no)
    assert holder_of(held()) == ""


@pytest.mark.parametrize("no", [refuse, lack])
def test_where_no_name_is_told(monkeypatch: pytest.MonkeyPatch, no: Callable[..., None]) -> None:
    with another_process() as (pid, port):
        name = psutil.Process(pid).name()
        monkeypatch.setattr(psutil.Process, "cmdline", no)
        assert holder_of(port) == f"process {pid} ({name})"
        monkeypatch.setattr(psutil.Process, "name", no)
        assert holder_of(port) == f"process {pid}"


# free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", *(["::1", "::"] if ipv6() else [])])
def test_one_just_above_is_found(held: Callable[..., int], host: str) -> None:
    start = held()
    port = free_port(host, start)
    assert start < port <= start + NEXT
    listen(host, port).close()  # closed again, and at once


def test_the_taken_and_the_avoided_are_passed_over(held: Callable[..., int]) -> None:
    start = held()
    first = free_port("127.0.0.1", start)
    second = free_port("127.0.0.1", start, avoid=[first])
    assert first < second <= start + NEXT
    held(port=first)
    assert free_port("127.0.0.1", start) not in (start, first)


def test_one_bound_but_not_yet_listening_is_taken() -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        bound = sock.getsockname()[1]
        assert free_port("127.0.0.1", bound - 1) != bound


@pytest.mark.parametrize("host", ["0.0.0.0", *(["::"] if ipv6() else [])])
def test_one_taken_on_a_single_address_is_not_free_on_all(held: Callable[..., int], host: str) -> None:
    taken = held()
    assert free_port(host, taken - 1) != taken


def test_where_those_above_are_avoided_the_system_gives_one(held: Callable[..., int]) -> None:
    start = held()
    avoid = range(start, start + NEXT + 1)
    port = free_port("127.0.0.1", start, avoid)
    assert port
    assert port not in avoid
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize("start", [-5, 0, 104, 1023])
def test_none_below_1024(start: int) -> None:
    assert 1024 <= free_port("127.0.0.1", start) < 1024 + NEXT


@pytest.mark.parametrize("start", [65535, 65536, 10**6])
def test_none_above_65535(start: int) -> None:
    assert 1024 <= free_port("127.0.0.1", start) <= 65535


def test_none_is_free() -> None:
    assert free_port("127.0.0.1", 11111, avoid=range(65536)) == 0


@pytest.mark.parametrize(
    "host", ["203.0.113.7", "2001:db8::7", "no-such-host.invalid", "300.1.1.1", "a\0b", "a" * 300, ":::"]
)
def test_no_address_of_this_computer(host: str) -> None:
    assert free_port(host, 11112) == 0


# PortMemory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


def test_remembered_across_instances(path: Path) -> None:
    assert PortMemory(path).recall("listener") == 0
    PortMemory(path).remember("listener", 11113)
    PortMemory(path).remember("web", 8080)
    PortMemory(path).remember("listener", 11114)
    assert json.loads(path.read_text()) == {"listener": 11114, "web": 8080}
    assert (PortMemory(path).recall("listener"), PortMemory(path).recall("web")) == (11114, 8080)
    assert os.listdir(path.parent) == [path.name]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_port_is_not_written_again(path: Path) -> None:
    memory = PortMemory(path)
    memory.remember("listener", 11113)
    before = path.stat()
    memory.remember("listener", 11113)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    "value", ["0", "-1", "65536", "1e400", "11113.0", "true", "null", '"11113"', "[1]", "{}"]
)
def test_what_is_no_port_is_unknown(path: Path, value: str) -> None:
    path.write_text(f'{{"listener": {value}, "web": 8080}}')
    assert PortMemory(path).recall("listener") == 0
    assert PortMemory(path).recall("web") == 8080


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"listener": 11113',
        b"[11113]",
        b"11113",
        b"null",
        bytes(range(256)),
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"listener": ' + b"9" * 20_000 + b"}",
        b'{"listener": 11113}' + b" " * (1 << 17),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_damaged_file_is_unknown_and_made_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    memory = PortMemory(path)
    assert memory.recall("listener") == 0
    memory.remember("listener", 11115)
    assert json.loads(path.read_bytes()) == {"listener": 11115}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    assert PortMemory(path).recall("listener") == 0


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_what_is_no_port_is_not_remembered(path: Path, port: int) -> None:
    PortMemory(path).remember("listener", port)
    assert not path.exists()


@pytest.mark.parametrize("name", ["missing/ports.json", "file/ports.json", "folder", "a\0b"])
def test_what_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    memory = PortMemory(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        memory.remember("listener", 11113)
    assert "port 11113 of listener is not remembered" in caplog.text
    assert memory.recall("listener") == 0
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@only_root_can_become_another
def test_a_folder_that_only_another_may_write() -> None:
    # Not in pytest's folders, which nobody but their owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "ports.json"
        PortMemory(path).remember("listener", 11113)
        path.chmod(0o644)
        code = (
            "memory = PortMemory(Path(sys.argv[1])); memory.remember('listener', 11114);"
            "print(memory.recall('listener'))"
        )
        ran = as_nobody(code, path)
        assert ran.stdout == "11113\n"
        assert "port 11114 of listener is not remembered" in ran.stderr
        path.chmod(0)
        assert as_nobody("print(PortMemory(Path(sys.argv[1])).recall('listener'))", path).stdout == "0\n"


def test_threads_do_not_lose_each_other(path: Path) -> None:
    memory = PortMemory(path)
    numbers = range(2000, 2016)
    threads = [threading.Thread(target=memory.remember, args=(f"section {n}", n)) for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [memory.recall(f"section {n}") for n in numbers] == list(numbers)
