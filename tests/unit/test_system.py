"""Each fallback of pacskit/system, forced: what a call is missing for is done all the same.

What cannot be forced here: Windows' locks (msvcrt), access lists (icacls) and exclusive ports. They were
written from the documentation and never run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pacskit import system
from pacskit.system import files, local, sockets

ROOT = Path(__file__).resolve().parents[2]
# Runs before anything of pacskit is imported.
POOR = """
import ctypes, os, select, socket, sys, types

for name in ("writev", "pwrite", "pread", "fdatasync", "setpriority", "sendfile"):
    delattr(os, name)
for name in ("epoll", "poll"):
    delattr(select, name)
for name in ("fcntl", "pwd", "grp"):
    sys.modules[name] = None
del socket.TCP_QUICKACK

@property
def missing(self):
    raise AttributeError("sendmsg")
socket.socket.sendmsg = missing

import numpy, pandas, psutil, pydicom, pydicom.pixels, sqlalchemy  # these need the two names that go now

family, library = socket.AF_UNIX, ctypes.CDLL
del socket.AF_UNIX, ctypes.CDLL
from pacskit import system
from pacskit.system import files, local, sockets
socket.AF_UNIX, ctypes.CDLL = family, library
sockets.sys = types.SimpleNamespace(platform="win32")  # which has no SO_RCVTIMEO in seconds
system.CLOSE_TO_RENAME = True

gone = (files._fcntl, files._pwd, files._grp, files._renameat2, sockets.TCP_QUICKACK, local._FAMILY)
assert gone == (None,) * 6, gone
"""
WHOLE = (
    POOR
    + """
import hashlib
from pathlib import Path
import pacskit
from pacskit.settings.models import ArchiveSettings
from pacskit.simulator import Scanner
from pacskit.simulator.phantoms import STUDIES

folder = Path(sys.argv[1])
options = {"slices": 6, "size": 128, "seed": 1}
images = [image.PixelData for image in STUDIES["ct"](**options)]
with pacskit.Station(archive=folder, listener={"enabled": True, "host": "127.0.0.1", "port": 0}) as station:
    scanner = Scanner(station)
    assert scanner.echo().done
    for again in range(2):
        report = scanner.send("ct", progress=False, study_datetime=None, **options)
        assert (report.sent, report.failed) == (6, []), report.failed
    archive = station.archive
    assert list(archive.studies().instances) == [6], "the second time they were here already"
    assert archive.verify().ok, archive.verify()
    uid = archive.studies().study_uid[0]
    archive.restore(archive.delete(uid).id)
    assert (folder / "control.json").read_text().count("tcp:") == 1
with pacskit.open(folder) as archive:
    found = archive.series(archive.table("series").series_uid[0]).datasets()
    assert sorted(one.PixelData for one in found) == sorted(images)
print("whole")
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with (
        sockets.listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()) as here,
    ):
        listening.setblocking(True)
        there, _ = listening.accept()
        with there:
            yield here, there


def test_a_station_without_all_of_them(tmp_path: Path) -> None:
    """Stores over a real socket, judges duplicates, deletes, restores and reads."""
    command = [sys.executable, "-c", WHOLE, str(tmp_path / "archive")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "whole"), done.stderr


# -- files


@pytest.mark.parametrize("gathering", [True, False])
def test_all_is_written(file: int, monkeypatch: pytest.MonkeyPatch, gathering: bool) -> None:
    """More buffers than one call takes, some of them empty; and a system that takes a little at a time."""
    if gathering:
        gather = os.writev
        monkeypatch.setattr(os, "writev", lambda fd, pieces: gather(fd, [pieces[0], pieces[1][:1]]))
    else:
        monkeypatch.delattr(os, "writev")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:2])))
    pieces = [bytes([number % 251]) * (number % 4) for number in range(files.GATHER * 2 + 7)]
    assert system.write_all(file, [b"abc", memoryview(b"de"), bytearray(), *pieces]) == 5 + sum(
        map(len, pieces)
    )
    os.lseek(file, 0, os.SEEK_SET)
    assert os.read(file, 1 << 16) == b"abcde" + b"".join(pieces)


@pytest.mark.parametrize("missing", [(), ("pread", "pwrite")])
def test_read_and_written_in_the_middle(
    file: int, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    for name in missing:
        monkeypatch.delattr(os, name)
    system.write_all(file, [b"0123456789"])
    system.write_at(file, b"ab", 3)
    assert system.read_at(file, 4, 2) == b"2ab5"
    assert system.read_at(file, 100, 8) == b"89"


@pytest.mark.parametrize("missing", [False, True])
def test_synced(file: int, monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: called.append("fsync"))
    monkeypatch.setattr(os, "fdatasync", lambda fd: called.append("fdatasync"))
    if missing:
        monkeypatch.delattr(os, "fdatasync")
    system.sync_data(file)
    assert called == ["fsync" if missing else "fdatasync"]


@pytest.mark.parametrize("able", [True, False])
def test_synced_on_macos(file: int, monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    """There only F_FULLFSYNC empties the drive's cache; some file systems have none."""
    called: list[object] = []

    def control(descriptor: int, command: int) -> None:
        called.append((descriptor, command))
        if not able:
            raise OSError(errno.ENOTSUP, "")

    monkeypatch.setattr(files, "_fcntl", SimpleNamespace(F_FULLFSYNC=51, fcntl=control))
    monkeypatch.setattr(os, "fsync", lambda fd: called.append("fsync"))
    system.sync_data(file)
    assert called == [(file, 51), *([] if able else ["fsync"])]


@pytest.mark.parametrize("one_step", [True, False])
def test_renamed_to_where_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool) -> None:
    if one_step and files._renameat2 is None:
        pytest.skip("this system has no renameat2")
    if not one_step:
        monkeypatch.setattr(files, "_renameat2", None)
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        system.rename_new(f"{tmp_path}/new", f"{tmp_path}/old")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"new", "old": b"old"}
    system.rename_new(f"{tmp_path}/new", f"{tmp_path}/other")
    with pytest.raises(FileNotFoundError):
        system.rename_new(f"{tmp_path}/new", f"{tmp_path}/third")
    assert {path.name for path in tmp_path.iterdir()} == {"old", "other"}


def test_a_file_system_that_cannot_rename_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_renameat2", lambda *_: -1)
    monkeypatch.setattr(files, "ctypes", SimpleNamespace(get_errno=lambda: errno.EINVAL))
    (tmp_path / "new").touch()
    system.rename_new(f"{tmp_path}/new", f"{tmp_path}/other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_locked_once(tmp_path: Path, file: int) -> None:
    other = os.open(tmp_path / "file", os.O_RDWR)
    try:
        assert (system.try_lock(file), system.try_lock(other)) == (True, False)
        system.unlock(file)
        assert system.try_lock(other)
    finally:
        os.close(other)


def test_a_system_without_locks(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_fcntl", None)
    assert system.try_lock(file)
    system.unlock(file)


def test_replaced_without_modes_and_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings"
    path.write_bytes(b"old")
    monkeypatch.delattr(os, "fchmod")
    monkeypatch.delattr(os, "fchown")
    system.replace_file(path, b"new", 0o600, like=path.stat())
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_without_users_groups_and_priorities(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.name_of_user(0) == "root"
    assert system.name_of_group(system.group_number("0")) == "root"
    monkeypatch.setattr(files, "_pwd", None)
    monkeypatch.setattr(files, "_grp", None)
    monkeypatch.delattr(os, "setpriority")
    assert (system.name_of_user(7), system.name_of_group(7)) == ("user 7", "7")
    with pytest.raises(OSError, match="no groups"):
        system.group_number("root")
    system.lower_thread_priority()


# -- sockets


@pytest.mark.parametrize("missing", [False, True])
def test_all_is_sent(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    """Also where the system takes only a part at a time."""
    here, there = pair
    sendmsg = socket.socket.sendmsg
    if not missing:
        monkeypatch.setattr(socket.socket, "sendmsg", lambda self, left: sendmsg(self, [left[0][:100_003]]))
    else:
        gone = property(lambda self: _raise(AttributeError("sendmsg")))
        monkeypatch.setattr(socket.socket, "sendmsg", gone, raising=False)
        assert not hasattr(here, "sendmsg")
    buffers: list[bytes | memoryview] = [b"head", memoryview(bytes(range(256)) * 40_000), b"", b"tail"]
    sent = b"".join(buffers)
    got = bytearray()

    def receive() -> None:
        while len(got) < len(sent) and (piece := there.recv(65_536)):
            got.extend(piece)

    reader = threading.Thread(target=receive)
    reader.start()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sockets.send_buffers(here, buffers)
    reader.join(30)
    assert bytes(got) == sent


def _raise(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("platform", ["linux", "win32"])
def test_silence_ends(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sockets, "sys", SimpleNamespace(platform=platform))
    here, there = pair
    sockets.receive_timeout(here, 0.05)
    with pytest.raises((BlockingIOError, TimeoutError)):
        here.recv_into(bytearray(10))
    there.sendall(b"word")
    assert here.recv_into(bytearray(10)) == 4


@pytest.mark.parametrize("option", [sockets.TCP_QUICKACK, None, 99_999])
def test_acknowledged_at_once_where_that_can_be(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, option: int | None
) -> None:
    """None: the system has no such option; 99999: it refuses it."""
    monkeypatch.setattr(sockets, "TCP_QUICKACK", option)
    here, there = pair
    sockets.quick_ack(here)
    sockets.no_delay(here)
    assert here.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    here.close()
    sockets.quick_ack(here)
    sockets.no_delay(here)
    assert there.recv(1) == b""


def test_a_port_is_nobody_elses() -> None:
    with sockets.listen("127.0.0.1", 0) as sock, pytest.raises(OSError) as failure:
        sockets.listen("127.0.0.1", sock.getsockname()[1])
    assert failure.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("family", [local._FAMILY, None])
def test_a_socket_of_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily | None
) -> None:
    monkeypatch.setattr(local, "_FAMILY", family)
    listening, address = local.listen([tmp_path / ("long" * 50), tmp_path / "sock"])
    assert address.startswith("unix:" if family else "tcp:")
    with contextlib.closing(listening), local.connect(address, 5) as here:
        there, _ = listening.accept()
        with there:
            assert not local.is_stranger(there)
            here.sendall(b"word")
            assert there.recv(4) == b"word"


def test_a_system_that_does_not_tell_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the socket's folder, its mode and the secret have to do; with it: tests/channel/test_channel_hostile.py."""
    here, there = socket.socketpair()
    with here, there:
        assert not local.is_stranger(here)
        monkeypatch.setattr(local, "_CREDENTIALS", None)
        assert not local.is_stranger(here)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads glibc's own account")
def test_threads_share_one_heap() -> None:
    """In a child: glibc's report names each heap that was made."""
    program = """
import ctypes, sys, threading
from pacskit import system
if sys.argv[1] == "one":
    print(system.one_heap())
held = [threading.Thread(target=lambda: [bytes(1000) for _ in range(1000)] and gate.wait()) for _ in range(4)]
gate = threading.Event()
for thread in held: thread.start()
gate.set()
for thread in held: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
    heaps = {}
    for how in ("one", "many"):
        done = subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, text=True, cwd=ROOT, check=True
        )
        heaps[how] = done.stderr.count("Arena ")
    assert heaps["one"] == 1 < heaps["many"]
