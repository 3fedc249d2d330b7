"""A DICOM client as bare as can be, so that the receiver is what is measured."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from bench.servers import AE_TITLE

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
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


def _command(context: int, body: bytes) -> bytes:
    command = _element(0, struct.pack("<L", len(body))) + body
    return struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, context, 3) + command


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


class RawAssociation:
    """Connected and accepted."""

    def __init__(self, port: int, request: bytes) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
            header = struct.pack(">BBLLBB", 4, 0, len(piece) + 6, len(piece) + 2, context, last)
            self.sock.sendall(header + piece)

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
