"""A message that changes its presentation context half-way is aborted, and nothing of it is stored."""

from __future__ import annotations

import socket
from pathlib import Path

import pacskit
from pacskit.dimse.command import store_rq
from pacskit.dimse.upper.pdu import Abort, AssociateRequest, ProposedContext

CT = "1.2.840.10008.5.1.4.1.1.2"


def _pdu(context: int, control: int, data: bytes) -> bytes:
    size = len(data)
    return b"\4\0" + (size + 6).to_bytes(4) + (size + 2).to_bytes(4) + bytes((context, control)) + data


def test_a_data_set_in_another_context_than_its_command(tmp_path: Path) -> None:
    request = AssociateRequest(
        called_ae_title="PACSKIT",
        calling_ae_title="HOSTILE",
        contexts=(
            ProposedContext(1, CT, ("1.2.840.10008.1.2",)),
            ProposedContext(3, CT, ("1.2.840.10008.1.2.1",)),
        ),
        implementation_class_uid="1.2.3",
        implementation_version_name="HOSTILE",
    )
    with pacskit.Station(
        archive=tmp_path / "archive", listener={"enabled": True, "host": "127.0.0.1", "port": 0}
    ) as station:
        status = station.listener.status
        with socket.create_connection((status.host, status.port), 10) as sock, sock.makefile("rb") as stream:
            sock.sendall(request.encode())
            stream.read(int.from_bytes(stream.read(6)[2:]))
            sock.sendall(_pdu(1, 3, store_rq(1, CT, "1.2.80")) + _pdu(3, 2, bytes(8)))
            assert stream.read() == Abort(2, 6).encode()
        assert station.studies().empty
        assert not list(tmp_path.rglob("*.part"))
