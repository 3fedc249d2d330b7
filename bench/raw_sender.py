"""A DICOM client as bare as can be, so that the receiver is what is measured."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable, Sequence

from bench.servers import AE_TITLE

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
PATIENCE = 60
"""Seconds a server may keep a sender waiting before the bench gives up."""
RELEASE_RQ = b"\x05\0\0\0\0\4\0\0\0\0"


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(contexts: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """The A-ASSOCIATE-RQ for these (abstract syntax, transfer syntaxes)."""
    proposed = b"".join(
        _item(
            0x20,
            bytes([2 * i + 1, 0, 0, 0])
            + _item(0x30, abstract.encode())
            + b"".join(_item(0x40, syntax.encode()) for syntax in syntaxes),
        )
        for i, (abstract, syntaxes) in enumerate(contexts)
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 131072)) + _item(0x52, b"1.2.826.0.1.3680043.10.9999.2"))
    titles = AE_TITLE.encode().ljust(16) + b"RAW".ljust(16)
    body = b"\0\1\0\0" + titles + bytes(32) + _item(0x10, APPLICATION_CONTEXT) + proposed + user
    return b"\x01\0" + struct.pack(">L", len(body)) + body


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", 0, number, len(value)) + value


def p_data_header(context: int, control: int, length: int) -> bytes:
    """PDU and PDV header before a fragment of `length` bytes."""
    return struct.pack(">BBLLBB", 4, 0, length + 6, length + 2, context, control)


def _command(context: int, body: bytes) -> bytes:
    command = _element(0, struct.pack("<L", len(body))) + body
    return p_data_header(context, 3, len(command)) + command


ECHO_RQ = _command(
    1,
    _element(2, VERIFICATION.encode())
    + _element(0x100, b"\x30\0")
    + _element(0x110, b"\1\0")
    + _element(0x800, b"\1\1"),
)


def store_rq(context: int, sop_class: str, sop_instance: str) -> bytes:
    return _command(
        context,
        _element(2, sop_class.encode())
        + _element(0x100, b"\1\0")
        + _element(0x110, b"\1\0")
        + _element(0x700, b"\0\0")
        + _element(0x800, b"\0\0")
        + _element(0x1000, sop_instance.encode()),
    )


def any_server() -> ssl.SSLContext:
    """TLS with whoever answers; each handshake is a full one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class RawAssociation:
    """Connected and accepted."""

    def __init__(
        self, port: int, request: bytes, *, nagle: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.sock.settimeout(None)  # one of Python's would cost a poll before each call
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not nagle)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock)
        self.sock.sendall(request)
        kind, body = self._pdu()
        if kind != 2:
            raise ConnectionError(f"the association was not accepted: PDU type {kind}")

        at = body.index(b"\x51\0\0\x04")
        self.most = int.from_bytes(body[at + 4 : at + 8], "big") or 131072
        """Bytes the peer takes in one P-DATA-TF."""

    def echo(self) -> None:
        self.sock.sendall(ECHO_RQ)
        self._pdu()

    def store(self, context: int, sop_class: str, sop_instance: str, data: Iterable[bytes]) -> int:
        """Send one instance in fragments; the status it was answered with."""
        self.sock.sendall(store_rq(context, sop_class, sop_instance))
        previous: bytes | None = None
        for fragment in data:
            if previous is not None:
                self._fragment(context, 0, previous)
            previous = fragment
        self._fragment(context, 2, previous or b"")
        return self._status()

    def store_at_once(self, buffers: list[bytes | memoryview]) -> int:
        """Send PDUs that are ready, in as few system calls as possible; the status answered."""
        left = buffers
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.sendall(b"".join(left))
            left = []
        while left:
            sent, done = self.sock.sendmsg(left), 0
            while done < len(left) and sent >= len(left[done]):
                sent -= len(left[done])
                done += 1
            left = left[done:]
            if sent:
                left[0] = memoryview(left[0])[sent:]
        return self._status()

    def store_piecewise(self, buffers: list[bytes | memoryview]) -> int:
        """The same with a system call for each buffer, as stock senders do."""
        for buffer in buffers:
            self.sock.sendall(buffer)
        return self._status()

    def _status(self) -> int:
        _, answer = self._pdu()
        at = answer.index(b"\0\0\0\x09\x02\0\0\0")
        return int.from_bytes(answer[at + 8 : at + 10], "little")

    def release(self) -> None:
        self.sock.sendall(RELEASE_RQ)
        self._pdu()
        self.sock.close()

    def _fragment(self, context: int, control: int, data: bytes) -> None:
        most = self.most - 6
        for start in range(0, len(data), most):
            piece = data[start : start + most]
            last = control if start + most >= len(data) else 0
            self.sock.sendall(p_data_header(context, last, len(piece)) + piece)

    def _pdu(self) -> tuple[int, bytes]:
        header = self._exactly(6)
        return header[0], self._exactly(struct.unpack(">L", header[2:])[0])

    def _exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            piece = self.sock.recv(count - len(received))
            if not piece:
                raise ConnectionError("the peer closed the connection")
            received += piece
        return received
