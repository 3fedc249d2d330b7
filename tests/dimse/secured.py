"""A Secure DICOM Listener and the peers that call it: DCMTK, pynetdicom, openssl, Python's ssl."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, Verification

import pacskit
from pacskit.certificates.authority import Issued
from pacskit.dimse.command import store_rq
from pacskit.dimse.upper.pdu import AssociateRequest, ProposedContext
from tests.certificates.hospital import Lab
from tests.peers import find_peer

HERE = "127.0.0.1"
TITLE = "PACSKIT_TLS"
PATIENCE = 20.0
EXPLICIT_LE = "1.2.840.10008.1.2.1"
RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
RELEASE_RP = b"\x06\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def associate_rq(called: str = TITLE, calling: str = "HAND") -> bytes:
    contexts = (
        ProposedContext(1, CTImageStorage, (EXPLICIT_LE,)),
        ProposedContext(3, Verification, (EXPLICIT_LE,)),
    )
    return AssociateRequest(
        called_ae_title=called,
        calling_ae_title=calling,
        contexts=contexts,
        implementation_class_uid="1.2.3",
        implementation_version_name="HAND",
    ).encode()


def store_begins(length: int, sent: bytes) -> bytes:
    """A C-STORE-RQ of CT with a data set that claims `length` bytes more in its PDU than it has."""
    command = store_rq(1, CTImageStorage, "1.2.3.4")
    first = struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command
    return first + struct.pack(">BBLLBB", 4, 0, length + 6, length + 2, 1, 2) + sent


class Callers:
    """Peers that call a Secure DICOM Listener of this computer."""

    def __init__(self, lab: Lab, port: Callable[[], int]) -> None:
        self.lab, self._port = lab, port

    @property
    def port(self) -> int:
        return self._port()

    def dcmtk(
        self,
        program: str,
        issued: Issued | None,
        *options: str | Path,
        called: str = TITLE,
        files: Sequence[Path] = (),
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.dcmtk_command(program, issued, *options, called=called, files=files),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def dcmtk_command(
        self,
        program: str,
        issued: Issued | None,
        *options: str | Path,
        called: str = TITLE,
        files: Sequence[Path] = (),
    ) -> list[str]:
        """`issued` None: without a certificate."""
        found = find_peer(program)
        assert found
        shown = ["+tls", issued.private_key, issued.certificate, "-pw"] if issued else ["+tla"]
        known = ["+cf", self.lab.ours.root]
        return [str(x) for x in (found, "-aec", called, *shown, *known, *options, HERE, self.port, *files)]

    def context(self, issued: Issued | None) -> ssl.SSLContext:
        """Of a client written with Python's ssl, which verifies us."""
        context = ssl.create_default_context(cafile=str(self.lab.ours.root))
        if issued is not None:
            context.load_cert_chain(issued.certificate, issued.private_key)
        return context

    def pynetdicom(self, issued: Issued | None, called: str = TITLE, **more: Any) -> Association:
        ae = AE("PYNETDICOM")
        ae.add_requested_context(CTImageStorage, EXPLICIT_LE)
        ae.add_requested_context(Verification)
        return ae.associate(
            HERE, self.port, ae_title=called, tls_args=(self.context(issued), "localhost"), **more
        )

    def openssl(
        self, issued: Issued | None, *options: str | Path, send: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """`s_client` that sends those bytes (else an association that is released at once), reads to the end."""
        return subprocess.run(
            self.openssl_command(issued, "-ign_eof", "-nocommands", *options),
            input=send or associate_rq(calling="OPENSSL") + RELEASE_RQ,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def openssl_command(self, issued: Issued | None, *options: str | Path) -> list[str]:
        command: list[object] = [find_peer("openssl"), "s_client", "-connect", f"{HERE}:{self.port}"]
        command += ["-CAfile", self.lab.ours.root, "-verify_return_error", *options]
        if issued is not None:
            command += ["-cert", issued.certificate, "-cert_chain", issued.certificate]
            command += ["-key", issued.private_key]
        return [*map(str, command)]

    @contextmanager
    def hand(self, kind: str = "right", **options: Any) -> Iterator[ssl.SSLSocket]:
        """A connection after its handshake, to be written to by hand."""
        with (
            socket.create_connection((HERE, self.port), PATIENCE) as sock,
            self.context(self.lab.clients[kind]).wrap_socket(
                sock, server_hostname="localhost", **options
            ) as secure,
        ):
            yield secure


class Secured(Callers):
    """A station whose Secure DICOM Listener runs, and how peers call it."""

    def __init__(self, station: pacskit.Station, lab: Lab) -> None:
        super().__init__(lab, lambda: station.secure_listener.status.port)
        self.station, self.slot = station, station.secure_listener

    def change(self, **values: Any) -> None:
        self.station.apply({"secure_listener": values})

    def reasons(self) -> list[str]:
        """Why connections were refused, the last one first; those that came before this call are in it."""
        association = self.pynetdicom(self.lab.clients["right"])  # one thread takes them in order
        if association.is_established:
            association.release()
        return [refusal.reason for refusal in self.slot.refusals()]


def settings(lab: Lab) -> dict[str, Any]:
    """Our certificate, and `Verify peer certificate` on."""
    return {
        "enabled": True,
        "host": HERE,
        "port": 0,
        "certificate": lab.server.certificate,
        "private_key": lab.server.private_key,
        "trusted": [str(lab.ours.root)],
        "verify_peer": True,
    }


@contextmanager
def running(
    folder: Path, lab: Lab, listener: dict[str, Any] | None = None, **secure: Any
) -> Iterator[Secured]:
    """A station with our certificate and, unless told otherwise, `Verify peer certificate` on."""
    with pacskit.Station(
        archive={"folder": folder / "archive", "durability": "fast"},
        listener={"enabled": False, "host": HERE, "port": 0, **(listener or {})},
        secure_listener={**settings(lab), **secure},
    ) as station:
        yield Secured(station, lab)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab.create(tmp_path_factory.mktemp("authorities"))


@pytest.fixture
def secured(tmp_path: Path, lab: Lab) -> Iterator[Secured]:
    with running(tmp_path, lab) as made:
        yield made
