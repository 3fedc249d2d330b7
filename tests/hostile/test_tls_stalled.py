"""Handshakes that stall at each stage: they cost little, hold up nobody, and end with the ARTIM time."""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacskit.events import AssociationRefused
from tests.archive.serving import Server
from tests.certificates.hospital import Lab
from tests.dimse.secured import (
    HERE,
    PATIENCE,
    RELEASE_RP,
    RELEASE_RQ,
    Callers,
    Secured,
    associate_rq,
    running,
)
from tests.growth import GROWTH
from tests.hostile.test_tls_wire import ByHand

CT = Path(str(get_testdata_file("CT_small.dcm")))
LATE = "did not finish the handshake of TLS within 0.5 s"


def hello(port: int) -> tuple[socket.socket, bytes]:
    """A connection, and a ClientHello to send."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return socket.create_connection((HERE, port), PATIENCE), outgoing.read()


def nothing(secured: Secured) -> socket.socket:
    return hello(secured.port)[0]


def half_a_hello(secured: Secured) -> socket.socket:
    sock, content = hello(secured.port)
    sock.sendall(content[: len(content) // 2])
    return sock


def only_hello(secured: Secured) -> socket.socket:
    sock, content = hello(secured.port)
    sock.sendall(content)
    return sock


def all_but_finished(version: ssl.TLSVersion) -> Callable[[Secured], socket.socket]:
    def stall(secured: Secured) -> socket.socket:
        sock = socket.create_connection((HERE, secured.port), PATIENCE)
        last = ByHand(secured, sock, version).shake_but_finished()
        sock.sendall(last[:-1])
        return sock

    return stall


def no_request(secured: Secured) -> socket.socket:
    sock = socket.create_connection((HERE, secured.port), PATIENCE)
    return secured.context(secured.lab.clients["right"]).wrap_socket(sock, server_hostname="localhost")


STAGES: dict[str, tuple[Callable[[Secured], socket.socket], str]] = {
    "nothing": (nothing, LATE),
    "half a hello": (half_a_hello, LATE),
    "hello": (only_hello, LATE),
    "all but finished, 1.2": (all_but_finished(ssl.TLSVersion.TLSv1_2), LATE),
    "all but finished, 1.3": (all_but_finished(ssl.TLSVersion.TLSv1_3), LATE),
    "no request": (no_request, "said nothing for 0.5 s"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_ends_with_its_time(tmp_path: Path, lab: Lab, stage: str) -> None:
    stall, sentence = STAGES[stage]
    with (
        running(tmp_path, lab, artim_timeout=0.5) as secured,
        secured.station.events.queue(AssociationRefused) as refused,
        stall(secured) as sock,
    ):
        event = refused.get(PATIENCE)
        assert event is not None
        assert event.reason == sentence
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while sock.recv(4096):
                pass
        assert secured.pynetdicom(lab.clients["right"]).is_established


def test_byte_by_byte_is_served(secured: Secured) -> None:
    with socket.create_connection((HERE, secured.port), PATIENCE) as sock:
        peer = ByHand(secured, sock, ssl.TLSVersion.TLSv1_3)

        def trickle(content: bytes) -> None:
            for at in range(len(content)):
                sock.sendall(content[at : at + 1])

        peer.send = lambda: trickle(peer.outgoing.read())  # type: ignore[method-assign]
        trickle(peer.shake())
        trickle(peer.write(associate_rq() + RELEASE_RQ))
        heard = b""
        while RELEASE_RP not in heard:
            try:
                heard += peer.tls.read(4096)
            except ssl.SSLWantReadError:
                peer.receive()


def test_no_more_wait_than_may(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, max_waiting=10) as secured, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(only_hello(secured)) for _ in range(12)]
        assert secured.reasons() == ["was the oldest of too many that had not asked for an association"]
        for sock in socks[:2]:
            sock.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass
        acceptor = secured.slot.current._acceptor
        assert acceptor is not None
        assert acceptor.waiting <= 10


@pytest.mark.timeout(200)
def test_a_thousand_half_open_connections(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good sender goes through meanwhile; afterwards memory, threads and descriptors are back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"{hard} file descriptors are too few: ulimit -H -n 4096")
    values = {
        "enabled": "true",
        "host": HERE,
        "port": "0",
        "certificate": lab.server.certificate,
        "private_key": lab.server.private_key,
        "trusted": lab.ours.root,
        "verify_peer": "true",
        "max_waiting": "2000",
        "artim_timeout": "300",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"PACSKIT_SECURE_LISTENER__{name.upper()}", str(value))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with Server() as server:
            server.serve(tmp_path / "a", durability="fast")
            port = server.peer.port
            process, callers = psutil.Process(server.pid), Callers(lab, lambda: port)

            def send() -> None:
                dataset = pydicom.dcmread(CT)
                dataset.SOPInstanceUID += f".{time.monotonic_ns()}"
                association = callers.pynetdicom(lab.clients["right"])
                assert association.is_established
                assert association.send_c_store(dataset).Status == 0
                association.release()

            def open_many() -> list[socket.socket]:
                first, content = hello(port)
                socks = [first, *(socket.create_connection((HERE, port), PATIENCE) for _ in range(999))]
                for number, sock in enumerate(socks):
                    sock.sendall((b"", content[:100], content)[number % 3])
                return socks

            def measured(most: int) -> tuple[int, int, int]:
                """Descriptors, once they are as few as that; threads, bytes."""
                deadline = time.monotonic() + PATIENCE
                while (count := process.num_fds()) > most and time.monotonic() < deadline:
                    time.sleep(0.05)
                return count, process.num_threads(), process.memory_info().rss

            send()
            fds, threads = process.num_fds(), process.num_threads()
            memory = []
            for _ in range(3):
                socks = open_many()
                for _ in range(3):
                    send()
                assert process.num_fds() >= fds + 990, "they are all there"
                assert process.num_threads() <= threads + 2, "none has a thread"
                for sock in socks:
                    sock.close()
                left, left_threads, resident = measured(fds + 2)
                assert left <= fds + 2, "the index may have opened a reader more, of two files"
                assert left_threads <= threads + 1
                memory.append(resident)
            assert memory[-1] - memory[0] < GROWTH
            server.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
