"""The control channel itself: hostile, slow, many and strange clients, and where it is."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import socket
import stat
import sys
from pathlib import Path

import pytest

from pacskit.errors import (
    PacskitError,
)
from pacskit.events import EventBus
from pacskit.services.host import connection, log, places, server, wire
from pacskit.services.host.server import ControlServer
from pacskit.system import local
from tests import second_user
from tests.channel.conftest import Answers, Hearer, hello, is_closed, raw

# -- hostile, strange


def test_hostile_bytes(control: ControlServer, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes, before the hello and after it: that client goes, the others stay."""
    chance = random.Random(7)
    good = json.dumps({"id": 1, "ask": "sync", "with": {}})
    words = [
        b"\n",
        b"{}\n",
        b"[" * 5000 + b"\n",
        b'{"hello": 5}\n',
        b'{"hello": {"secret": 5}}\n',
        b'{"hello": {"secret": "\\ud800"}}\n',
        b'{"id": 1e999, "ask": "sync"}\n',
        b'{"id": true, "ask": "sync"}\n',
        b'{"id": 1, "ask": "sync", "with": []}\n',
        b'{"id": 1, "ask": "cancel", "with": {"id": []}}\n',
        b'{"id": 1, "ask": "count to", "with": {"to": []}}\n',
        b"\xff\xfe\n",
        b"A" * (wire.LONGEST_REQUEST + 10),
        good.encode()[:-3],
    ]
    for _ in range(150):
        text = bytearray(good, "ascii")
        for _ in range(chance.randrange(1, 6)):
            text[chance.randrange(len(text))] = chance.randrange(256)
        words.append(bytes(text).replace(b"\n", b"") + b"\n\n")
    for number, word in enumerate(words):
        for first in (b"", hello(control, follow=number % 3 == 0)):
            with raw(control) as sock:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(first + word)
                    sock.shutdown(socket.SHUT_WR)
                assert is_closed(sock)
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_failure_tells_no_patient(
    control: ControlServer, folder: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    handler = log.rotating(tmp_path / "log")
    logging.getLogger().addHandler(handler)
    channel = Hearer().follow(folder)
    try:
        with pytest.raises(PacskitError, match=r"failed \(KeyError\)") as failure:
            channel.ask("fail")
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    assert "Phantom^Ada" not in str(failure.value)
    text = (tmp_path / "log").read_text()
    assert "KeyError" in text
    assert "in answer" in text
    assert "Phantom^Ada" not in text
    channel.close()


def test_without_the_secret(control: ControlServer, folder: Path) -> None:
    for secret in ("", "0" * 32, control.place.secret[:-1]):
        with raw(control) as sock:
            sock.sendall(wire.encode({"hello": {"secret": secret, "protocol": 1, "follow": True}}))
            assert sock.recv(10) == b""


def test_another_protocol(control: ControlServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw(control) as sock:
        sock.sendall(hello(control, protocol=2, follow=True))
        stream = sock.makefile("rb")
        welcome = wire.read(stream, wire.LONGEST_ANSWER)
        assert welcome is not None
        assert welcome["welcome"]["protocol"] == wire.PROTOCOL
        assert stream.read() == b"", "it cannot follow"
        stream.close()


def test_silence_is_not_waited_for(control: ControlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HELLO_PATIENCE", 0.05)
    with raw(control) as sock:
        assert sock.recv(10) == b""


def test_too_many(control: ControlServer, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(server, "MOST", 1)
    channel = Hearer().follow(folder)
    with raw(control) as sock:
        assert is_closed(sock)
    assert channel.ask("count") == 0
    channel.close()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux tells who is at the other end")
def test_another_user_is_refused(events: EventBus, answers: Answers) -> None:
    """Though file modes let it in, and it has the secret."""
    user = second_user.needed()
    folder = user.shared()
    control = ControlServer(folder, events, answers, os.getpid())
    try:
        (folder / places.SOCKET).chmod(0o666)
        code = f"""
import socket
sock = socket.socket(socket.AF_UNIX)
sock.connect({str(folder / places.SOCKET)!r})
try:
    sock.sendall({hello(control)!r})
    print(sock.recv(100))
except ConnectionError:
    print(b'')
"""
        assert user.run([sys.executable, "-c", code], check=True).stdout == "b''\n"
        (folder / places.SOCKET).chmod(0o600)
        assert "PermissionError" in user.run([sys.executable, "-c", code]).stderr
        with raw(control) as sock:
            sock.sendall(hello(control))
            assert b"welcome" in sock.recv(100), "its own user may"
    finally:
        control.close()


# -- where it is


def test_a_long_path(tmp_path: Path, events: EventBus, answers: Answers) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    control = ControlServer(folder, events, answers, os.getpid())
    path = Path(control.place.address.removeprefix("unix:"))
    assert control.place.address.startswith("unix:")
    assert folder not in path.parents
    assert len(str(path)) <= local.LONGEST_PATH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    control.close()
    assert not path.exists()


def test_a_folder_that_can_have_no_socket(folder: Path, events: EventBus, answers: Answers) -> None:
    """As on a network drive."""
    (folder / places.SOCKET).mkdir()
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address.startswith("unix:")
    assert str(folder) not in control.place.address
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    control.close()


def test_without_unix_sockets(
    folder: Path, events: EventBus, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_FAMILY", None)
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address.startswith("tcp:")
    channel = Hearer().follow(folder)
    assert channel.ask("count") == 0
    channel.close()
    with raw(control) as sock:
        sock.sendall(wire.encode({"hello": {"secret": "guessed", "protocol": 1}}))
        assert is_closed(sock)
    control.close()


def test_what_a_killed_owner_left_is_replaced(folder: Path, events: EventBus, answers: Answers) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / places.SOCKET))
    left.close()
    control = ControlServer(folder, events, answers, os.getpid())
    assert control.place.address == f"unix:{folder / places.SOCKET}"
    channel = Hearer().follow(folder)
    channel.close()
    control.close()
