"""Handshakes over real sockets: our server in a thread, and openssl's client."""

from __future__ import annotations

import queue
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pacskit.certificates import Handshakes, PeerCertificate, PeerRefused
from pacskit.certificates.authority import Issued
from tests.peers import find_peer

PATIENCE = 20.0


@dataclass(frozen=True)
class Outcome:
    """What the server saw of one connection."""

    peer: PeerCertificate | None = None
    reason: str = ""
    heard: bytes = b""
    version: str | None = None
    suite: str = ""
    resumed: bool | None = None


class Server:
    """Shakes hands with whoever comes, one after the other, and sends back what it hears."""

    running: ClassVar[list[Server]] = []

    def __init__(self, handshakes: Handshakes) -> None:
        self.handshakes = handshakes
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        Server.running.append(self)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE)
        Server.running.remove(self)

    def outcome(self) -> Outcome:
        return self.outcomes.get(timeout=PATIENCE)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            with self.handshakes.wrap(connection) as sock:
                try:
                    sock.do_handshake()
                    version, cipher = sock.version(), sock.cipher()
                    peer = self.handshakes.admit(sock)
                    heard = sock.recv(100)
                    sock.sendall(heard)
                    outcome = Outcome(
                        peer, "", heard, version, cipher[0] if cipher else "", sock.session_reused
                    )
                except (OSError, PeerRefused) as error:
                    outcome = Outcome(reason=self.handshakes.explain(error, sock))
                self.outcomes.put(outcome)


@dataclass(frozen=True)
class Client:
    """What openssl's client saw."""

    output: str
    errors: str

    @property
    def served(self) -> bool:
        return "knock" in self.output


def s_client(
    port: int, root: Path, issued: Issued | None = None, *options: str, version: str = "-tls1_3"
) -> Client:
    """`openssl s_client` that sends one word and waits for the answer."""
    openssl = find_peer("openssl")
    assert openssl
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(root), version, *options]
    command += ["-quiet", "-verify_return_error"]
    if issued is not None:
        command += ["-cert", str(issued.certificate), "-cert_chain", str(issued.certificate)]
        command += ["-key", str(issued.private_key)]
    run = subprocess.run(command, input="knock\n", capture_output=True, text=True, timeout=60, check=False)
    return Client(run.stdout, run.stderr)
