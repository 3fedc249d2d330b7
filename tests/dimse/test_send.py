"""Our sender: files go out as they are stored where the peer takes them, and what cannot be sent is named."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from pacskit.archive.outgoing import PIECE, OutgoingFile, files_below
from pacskit.dimse.client import ClientAssociation, echo
from pacskit.dimse.send import associations, send
from pacskit.errors import AssociationError, AssociationRejected
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms

EXPLICIT = "1.2.840.10008.1.2.1"
NAMES = [
    "CT_small.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "ExplVR_LitEndNoMeta.dcm",
]


def real(name: str) -> Path:
    return Path(str(get_testdata_file(name)))


def stored_at(folder: Path) -> bytes:
    (path,) = folder.iterdir()
    found = OutgoingFile.read(path)
    return path.read_bytes()[found.offset :]


@pytest.mark.peer("storescp")
@pytest.mark.parametrize("name", NAMES)
def test_storescp_gets_the_bytes_of_the_file(name: str, tmp_path: Path, storescp) -> None:
    source = OutgoingFile.read(real(name))
    folder, peer = storescp("+xa", "+B")
    report = send(peer, [source])
    assert (report.sent, report.failed) == (1, [])
    sent = source.path.read_bytes()[source.offset :]
    assert stored_at(folder) == sent + b"\0" * (len(sent) % 2), "an odd deflated one is padded (PS3.5 A.5)"


@pytest.mark.peer("storescp")
def test_what_the_peer_does_not_take_is_decompressed(storescp) -> None:
    """storescp without options takes uncompressed syntaxes only."""
    folder, peer = storescp()
    report = send(peer, [OutgoingFile.read(real("JPEG2000.dcm"))])
    assert (report.sent, report.failed) == (1, [])
    (path,) = folder.iterdir()
    received, original = pydicom.dcmread(path), pydicom.dcmread(real("JPEG2000.dcm"))
    assert not received.file_meta.TransferSyntaxUID.is_compressed
    assert received.SOPInstanceUID == original.SOPInstanceUID
    assert (received.pixel_array == original.pixel_array).all()


def test_a_thousand_bytes_or_a_pdu_of_them(station) -> None:
    """Our sender to our listener, files of all kinds."""
    peer = PeerAddress("PACSKIT", "127.0.0.1", station.listener.status.port)
    report = send(peer, [OutgoingFile.read(real(name)) for name in NAMES[:4]])
    assert (report.sent, report.failed) == (4, [])
    for name in NAMES[:4]:
        source = OutgoingFile.read(real(name))
        rows = station.table(level="instance", SOPInstanceUID=source.sop_instance_uid)
        (series,) = rows["series_uid"]
        (path,) = station.series(series).paths
        kept = OutgoingFile.read(path)
        sent = source.path.read_bytes()[source.offset :]
        assert path.read_bytes()[kept.offset :] == sent + b"\0" * (len(sent) % 2)


def test_a_file_of_many_pieces(station, tmp_path: Path) -> None:
    """Larger than the buffer it is read with: each piece is sent before the next one is read."""
    (path,) = phantoms.write(tmp_path, ("us",))
    source = OutgoingFile.read(path)
    assert source.length > 2 * PIECE
    peer = PeerAddress("PACSKIT", "127.0.0.1", station.listener.status.port)
    assert send(peer, [source]).sent == 1
    (series,) = station.table(level="series")["series_uid"]
    (stored,) = station.series(series).paths
    assert stored.read_bytes()[OutgoingFile.read(stored).offset :] == path.read_bytes()[source.offset :]


def test_the_contexts_of_many_classes_fit_into_associations() -> None:
    class Instance:
        def __init__(self, number: int) -> None:
            self.sop_class_uid = f"1.2.{number}"
            self.transfer_syntax_uid = "1.2.840.10008.1.2.5"

    groups = list(associations([Instance(n) for n in range(100)]))
    assert sum(len(group) for _, group in groups) == 100
    assert all(len(contexts) <= 128 for contexts, _ in groups)


def test_refusals_are_sentences(station) -> None:
    port = station.listener.status.port
    with pytest.raises(AssociationRejected, match="called AE title") as caught:
        echo(PeerAddress("NOBODY", "127.0.0.1", port))
    assert (caught.value.source, caught.value.reason) == (1, 7)
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    with pytest.raises(AssociationError, match="cannot be reached"):
        echo(PeerAddress("X", "127.0.0.1", free))


def test_a_peer_that_says_nothing(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(AssociationError, match=r"did not answer for 0\.3 s"),
    ):
        echo(PeerAddress("X", "127.0.0.1", silent.getsockname()[1]), timeout=0.3)


def test_a_peer_that_talks_nonsense() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AssociationError, match="does not keep to DICOM"):
            echo(PeerAddress("X", "127.0.0.1", server.getsockname()[1]), timeout=5)
        thread.join(5)


def test_a_peer_that_hangs_up_in_the_middle() -> None:
    """The instance it was given and those behind it have failed, with the reason."""
    stop = threading.Event()

    def hang_up(event: evt.Event) -> int:
        stop.set()
        event.assoc.abort()
        return 0x0000

    ae = AE("BAD")
    ae.add_supported_context(CTImageStorage, EXPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, hang_up)])
    try:
        peer = PeerAddress("BAD", "127.0.0.1", server.server_address[1])
        report = send(peer, [OutgoingFile.read(real("CT_small.dcm"))] * 2)
    finally:
        server.shutdown()
    assert stop.is_set()
    assert report.sent == 0
    assert len(report.failed) == 2


def test_what_is_no_instance_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.dcm").touch()
    for path in files_below([tmp_path]):
        with pytest.raises(ValueError, match="not a DICOM"):
            OutgoingFile.read(path)
    with pytest.raises(ValueError, match="DICOMDIR"):
        OutgoingFile.read(real("DICOMDIR"))


def test_an_association_of_no_or_too_many_contexts() -> None:
    peer = PeerAddress("X", "127.0.0.1", 1)
    for contexts in ([], [("1.2", (EXPLICIT,))] * 129):
        with pytest.raises(ValueError, match="1 to 128"):
            ClientAssociation(peer, contexts)
