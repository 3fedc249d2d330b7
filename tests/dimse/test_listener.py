"""The DICOM Listener with real peers: DCMTK and pynetdicom."""

from __future__ import annotations

import socket
import struct
import threading
import time
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, MRImageStorage, Verification

import pacskit
from pacskit.errors import PortTaken, ServiceError
from pacskit.events import AssociationClosed, AssociationOpened, AssociationRefused, InstanceRefused

CT = Path(str(get_testdata_file("CT_small.dcm")))
EXPLICIT = "1.2.840.10008.1.2.1"
RELEASE_RQ = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def dataset_bytes(path: Path) -> bytes:
    """What follows the file's meta information."""
    raw = path.read_bytes()
    length = struct.unpack_from("<L", raw, 140)[0]
    return raw[144 + length :]


@pytest.mark.peer("echoscu")
def test_echo(dcmtk) -> None:
    assert dcmtk("echoscu").returncode == 0


@pytest.mark.peer("echoscu")
def test_wrong_called_ae_title_is_refused_with_the_standards_reason(dcmtk, station) -> None:
    with station.events.queue(AssociationRefused) as refused:
        result = dcmtk("echoscu", "-v", called="NOBODY")
        event = refused.get(5)
    assert result.returncode != 0
    assert "Called AE Title Not Recognized" in result.stdout + result.stderr
    assert event is not None
    assert "NOBODY" in event.reason


@pytest.mark.peer("storescu")
def test_storescu_sends_a_study_that_is_listed(dcmtk, station) -> None:
    result = dcmtk("storescu", files=(CT,))
    assert result.returncode == 0, result.stderr
    table = station.studies()
    assert list(table["patient_name"]) == ["CompressedSamples^CT1"]
    assert list(table["received_from"]) == ["STORESCU"]
    assert list(table["instances"]) == [1]


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "rtplan.dcm"])
def test_raw_bytes_come_back_as_sent(station, name: str) -> None:
    """pynetdicom sends the file's own bytes; the archive's file holds them unchanged."""
    path = Path(str(get_testdata_file(name)))
    header = pydicom.dcmread(path)
    ae = AE("RAW")
    ae.add_requested_context(header.SOPClassUID, header.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", station.listener.status.port, ae_title="PACSKIT")
    assert association.is_established
    assert association.send_c_store(path).Status == 0
    association.release()
    (series_uid,) = station.table(level="series")["series_uid"]
    (stored,) = station.series(series_uid).paths
    assert dataset_bytes(stored) == dataset_bytes(path)
    meta = pydicom.dcmread(stored, stop_before_pixels=True).file_meta
    assert meta.TransferSyntaxUID == header.file_meta.TransferSyntaxUID
    assert meta.SourceApplicationEntityTitle == "RAW"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"StudyInstanceUID": None}, 0xA900),
        ({"SeriesInstanceUID": None}, 0xA900),
        ({"StudyInstanceUID": "../../etc"}, 0xA900),
        ({"SeriesInstanceUID": "1." * 32 + "1"}, 0xA900),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_bad_uids_are_refused_and_touch_nothing(station, change: dict[str, str | None], status: int) -> None:
    dataset = pydicom.dcmread(CT)
    for keyword, value in change.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    with station.events.queue(InstanceRefused) as refused:
        assert _send(station, dataset).Status == status
        assert refused.get(5) is not None
    assert station.studies().empty
    assert not list((station.archive.folder / "incoming").iterdir())


@pytest.mark.parametrize("uid", ["../../../x", "/etc/passwd", "1.2\0.3", "1" * 65, "1..2"])
def test_hostile_sop_instance_uid_in_the_command(station, uid: str) -> None:
    dataset = pydicom.dcmread(CT)
    status = _raw_store(station, uid.encode(), b"\x08\x00\x16\x00UI\x02\x001\x00")
    assert status == 0xA900
    assert station.studies().empty
    assert dataset is not None


@pytest.mark.parametrize(("duplicates", "status"), [("aside", 0), ("first", 0xC001), ("replace", 0)])
def test_same_uid_with_other_content(tmp_path: Path, duplicates: str, status: int) -> None:
    """`archive.duplicates` decides; a refusal says why in its Error Comment."""
    with pacskit.Station(
        archive={"folder": tmp_path / "archive", "durability": "fast", "duplicates": duplicates},
        listener={"enabled": True, "host": "127.0.0.1", "port": 0},
    ) as station:
        dataset = pydicom.dcmread(CT)
        assert _send(station, dataset).Status == 0
        assert _send(station, dataset).Status == 0, "the same content again is no error"
        dataset.PatientComments = "other"
        answer = _send(station, dataset)
        assert answer.Status == status
        assert ("first is kept" in str(answer.get("ErrorComment", ""))) == (duplicates == "first")
        assert list(station.studies()["instances"]) == [1]
        table = station.table("instance", columns=["PatientComments"])
        assert list(table["PatientComments"]) == ["other" if duplicates == "replace" else ""]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_larger_object_than_is_allowed(tmp_path: Path, at_once: bool) -> None:
    """A700 with the reason and nothing left behind; the association goes on."""
    with pacskit.Station(
        archive={"folder": tmp_path / "archive", "durability": "fast"},
        listener={"enabled": True, "host": "127.0.0.1", "port": 0, "max_object": 1},
    ) as station:
        dataset = pydicom.dcmread(CT)
        dataset.PixelData = bytes(1_000_000 if at_once else 5_000_000)
        with station.events.queue(InstanceRefused) as refused:
            answer = _send(station, dataset)
            assert answer.Status == 0xA700
            assert "1 MB" in answer.ErrorComment
            told = refused.get(5)
            assert told is not None
            assert "max_object" in told.reason
        assert not list((station.archive.folder / "incoming").iterdir())
        assert _send(station, pydicom.dcmread(CT)).Status == 0
        assert station.studies().instances.sum() == 1


def test_taken_port_is_an_error_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.warns(RuntimeWarning, match=f"port {port} is taken"):
            station = pacskit.Station(
                archive=tmp_path, listener={"enabled": True, "host": "127.0.0.1", "port": port}
            )
        with station, pytest.raises(PortTaken, match="is taken by this notebook"):
            station.listener.start()


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    with (
        pacskit.Station(archive=tmp_path, listener={"host": "192.0.2.1", "port": 0}) as station,
        pytest.raises(ServiceError, match=r"192\.0\.2\.1 is not an address"),
    ):
        station.listener.start()


def test_stop_frees_the_port_and_the_threads(station) -> None:
    port = station.listener.status.port
    idle = _connect(station)
    idle.sendall(_associate_rq())
    assert idle.recv(10)[0] == 2
    station.listener.stop()
    socket.create_server(("127.0.0.1", port)).close()
    assert not [t for t in threading.enumerate() if t.name.startswith("pacskit-a")]
    station.listener.start()
    assert station.listener.status.running
    idle.close()


def test_half_a_pdu_then_silence_leaves_nothing(tmp_path: Path) -> None:
    with (
        pacskit.Station(
            archive=tmp_path,
            listener={"enabled": True, "host": "127.0.0.1", "port": 0, "network_timeout": 0.5},
        ) as station,
        station.events.queue(AssociationClosed) as closed,
    ):
        peer = _connect(station)
        peer.sendall(_associate_rq())
        assert peer.recv(4096)[0] == 2
        peer.sendall(_store_rq(b"1.2.3") + b"\x04\x00\x00\x00\x10\x00\x00\x00\x0f\xf0\x01\x00half a data set")
        event = closed.get(10)
        assert event is not None
        assert event.how == "timeout"
        assert not list((station.archive.folder / "incoming").iterdir())
        assert station.listener.associations() == []
        peer.close()


def test_abort_in_the_middle_of_a_data_set(station) -> None:
    with station.events.queue(AssociationClosed) as closed:
        peer = _connect(station)
        peer.sendall(_associate_rq())
        assert peer.recv(4096)[0] == 2
        peer.sendall(_store_rq(b"1.2.3") + b"\x04\x00\x00\x00\x00\x07\x00\x00\x00\x03\x01\x00x")
        peer.sendall(b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        event = closed.get(10)
    assert event is not None
    assert event.how == "aborted"
    assert not list((station.archive.folder / "incoming").iterdir())
    peer.close()


def test_silent_connections_cost_nothing_and_go(tmp_path: Path) -> None:
    """200 of them: no thread, no processor time, a good sender unharmed, gone after the ARTIM time."""
    with pacskit.Station(
        archive=tmp_path, listener={"enabled": True, "host": "127.0.0.1", "port": 0, "artim_timeout": 3.0}
    ) as station:
        threads = threading.active_count()
        with station.events.queue(AssociationRefused) as gone:
            silent = [_connect(station) for _ in range(200)]
            assert _send(station, pydicom.dcmread(CT)).Status == 0
            assert threading.active_count() <= threads + 4
            process = psutil.Process()
            before = sum(process.cpu_times()[:2])
            time.sleep(1.0)  # measures that nothing happens
            assert sum(process.cpu_times()[:2]) - before < 0.2
            for peer in silent:
                assert peer.recv(1) == b""
                peer.close()
            while (told := gone.get(1)) is not None:
                assert told.reason == "said nothing for 3 s"
        assert [refusal.count for refusal in station.listener.refusals()] == [200]


def test_too_many_associations_are_told_so(tmp_path: Path) -> None:
    with (
        pacskit.Station(
            archive=tmp_path,
            listener={"enabled": True, "host": "127.0.0.1", "port": 0, "max_associations": 1},
        ) as station,
        station.events.queue(AssociationOpened) as opened,
    ):
        first = _connect(station)
        first.sendall(_associate_rq())
        assert opened.get(5) is not None
        second = _connect(station)
        second.sendall(_associate_rq())
        answer = second.recv(10)
        assert (answer[0], tuple(answer[7:10])) == (3, (2, 3, 2))
        first.close()
        second.close()


def test_noise_on_the_port(station) -> None:
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 100, b"\0" * 1000):
        peer = _connect(station)
        peer.sendall(noise)
        while peer.recv(4096):
            pass
        peer.close()
    assert _send(station, pydicom.dcmread(CT)).Status == 0


def test_unknown_callers_from_elsewhere_may_only_echo(station) -> None:
    """Storage contexts are refused, Verification is not: negotiated as for an address outside."""
    from pacskit.peers import Verb, allowed_verbs

    assert allowed_verbs("192.0.2.7", accept_unknown=False) == {Verb.ECHO}
    assert allowed_verbs("192.0.2.7", accept_unknown=True) == {Verb.ECHO, Verb.STORE}
    assert allowed_verbs("127.0.0.1", accept_unknown=False) == {Verb.ECHO, Verb.STORE}
    assert allowed_verbs("::ffff:127.0.0.1", accept_unknown=False) == {Verb.ECHO, Verb.STORE}


def test_a_message_that_is_not_ours_is_answered(station) -> None:
    """C-FIND in a storage context: unrecognized operation (PS3.7 C.5.23), and the association lives."""
    ae = AE("ODD")
    ae.add_requested_context(MRImageStorage, EXPLICIT)
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", station.listener.status.port, ae_title="PACSKIT")
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()


def _send(station: pacskit.Station, dataset: pydicom.Dataset):
    ae = AE("SENDER")
    ae.add_requested_context(CTImageStorage, EXPLICIT)
    association = ae.associate("127.0.0.1", station.listener.status.port, ae_title="PACSKIT")
    assert association.is_established
    try:
        return association.send_c_store(dataset)
    finally:
        association.release()


def _connect(station: pacskit.Station) -> socket.socket:
    return socket.create_connection(("127.0.0.1", station.listener.status.port), 10)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _associate_rq() -> bytes:
    context = _item(
        0x20, b"\x01\0\0\0" + _item(0x30, CTImageStorage.encode()) + _item(0x40, EXPLICIT.encode())
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3"))
    body = (
        b"\0\1\0\0"
        + b"PACSKIT".ljust(16)
        + b"HAND".ljust(16)
        + bytes(32)
        + _item(0x10, b"1.2.840.10008.3.1.1.1")
        + context
        + user
    )
    return b"\x01\0" + struct.pack(">L", len(body)) + body


def _store_rq(uid: bytes) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value

    body = (
        element(2, CTImageStorage.encode())
        + element(0x100, b"\1\0")
        + element(0x110, b"\1\0")
        + element(0x700, b"\0\0")
        + element(0x800, b"\1\0")
        + element(0x1000, uid)
    )
    command = element(0, struct.pack("<L", len(body))) + body
    return struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command


def _raw_store(station: pacskit.Station, uid: bytes, data: bytes) -> int:
    with _connect(station) as peer:
        peer.sendall(_associate_rq())
        assert peer.recv(4096)[0] == 2
        peer.sendall(_store_rq(uid) + struct.pack(">BBLLBB", 4, 0, len(data) + 6, len(data) + 2, 1, 2) + data)
        answer = peer.recv(4096)
        peer.sendall(RELEASE_RQ)
    at = answer.index(b"\0\0\0\x09\x02\0\0\0")
    return int.from_bytes(answer[at + 8 : at + 10], "little")
