"""A connection before its association: the handshake of TLS, where there is one, then its A-ASSOCIATE-RQ."""

from __future__ import annotations

import socket
import ssl
import time

from pacskit.certificates import Handshakes, PeerRefused
from pacskit.dimse.secured import Secured
from pacskit.dimse.upper.connection import AnyEvent, Connection
from pacskit.system.sockets import quick_ack

NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What `advance` raises where it has to wait, for bytes or (SSLWantWriteError) for room."""


class NotAdmitted(Exception):
    """The handshake failed; the sentence says why."""


class Waiting:
    """Not blocking. After its refusal (Sta13) it only waits for the peer to close."""

    __slots__ = ("address", "connection", "handshakes", "number", "refused", "secured", "since", "sock")

    def __init__(
        self, sock: socket.socket, address: str, connection: Connection, handshakes: Handshakes | None
    ) -> None:
        self.sock, self.address, self.connection, self.handshakes = sock, address, connection, handshakes
        self.number = sock.fileno()
        """The file descriptor: it stays when `sock` becomes one with TLS."""
        self.secured: Secured | None = None
        """Once the handshake is done."""
        self.since = time.monotonic()
        self.refused = False

    @property
    def begun(self) -> bool:
        """Whether its handshake has begun."""
        return isinstance(self.sock, ssl.SSLSocket)

    def undress(self) -> None:
        """Go on without TLS, and without the memory that OpenSSL has for it."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = socket.socket(fileno=self.sock.detach())
            self.sock.setblocking(False)

    @property
    def shaking(self) -> bool:
        """Whether it owes a handshake."""
        return self.handshakes is not None and self.secured is None

    def advance(self) -> AnyEvent | None:
        """Go on as far as that goes without waiting; None: the peer has closed.

        Raises what is in NOT_YET, NotAdmitted, ProtocolError, OSError.
        """
        if self.handshakes is not None and self.secured is None and not self._shake(self.handshakes):
            return None
        sock, connection = self.sock, self.connection
        while True:
            count = sock.recv_into(connection.get_buffer())
            if not count:
                return None
            quick_ack(sock)
            connection.buffer_updated(count)
            event = connection.next_event()
            if event is not None:
                return event

    def _shake(self, handshakes: Handshakes) -> bool:
        """False: the peer has closed before it said anything."""
        sock = self.sock
        if not isinstance(sock, ssl.SSLSocket):
            if not sock.recv(1, socket.MSG_PEEK):  # a silent one costs no memory of OpenSSL's
                return False
            self.sock = sock = handshakes.wrap(sock)
        try:
            sock.do_handshake()
            self.secured = Secured.of(sock, handshakes.admit(sock))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except (OSError, PeerRefused) as error:
            raise NotAdmitted(handshakes.explain(error, sock)) from None
        return True

    def why(self, error: OSError) -> str:
        """Why it was lost."""
        if self.handshakes is None:
            return f"was lost: {error.strerror or error}"
        return self.handshakes.explain(error, self.sock if isinstance(self.sock, ssl.SSLSocket) else None)
