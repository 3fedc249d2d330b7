"""The Secure DICOM Listener with real peers: DCMTK, pynetdicom, openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pydicom
import pytest
from cryptography.hazmat.primitives import serialization
from pydicom.data import get_testdata_file

import pacskit
from pacskit.certificates import NOBODY
from pacskit.certificates.contents import certificates_in
from pacskit.certificates.naming import fingerprint
from pacskit.dimse.client import echo
from pacskit.errors import ServiceError, SettingError
from pacskit.events import AssociationClosed, AssociationOpened, AssociationRefused, ServiceChanged
from pacskit.imaging.part10 import META_LIMIT, read_head
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms
from tests.certificates.hospital import Lab
from tests.dimse.secured import HERE, PATIENCE, RELEASE_RP, RELEASE_RQ, Secured, associate_rq, running

CT = Path(str(get_testdata_file("CT_small.dcm")))
SCANNER = "ct-scanner, pacskit teaching authority"


def body(path: Path) -> bytes:
    """What follows the file's meta information."""
    raw = path.read_bytes()
    return raw[read_head(raw[:META_LIMIT]).offset :]


def kept(station: pacskit.Station) -> dict[str, bytes]:
    """SOP Instance UID to data set, as the archive has it."""
    table = station.table("instance", columns=["path"])
    return {row.sop_instance_uid: body(Path(row.path)) for row in table.itertuples()}


@pytest.fixture
def study(tmp_path: Path) -> dict[str, Path]:
    paths = phantoms.write(tmp_path / "phantoms", ("ct", "mr"), slices=4, size=64)
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}


@pytest.mark.peer("echoscu", "storescu")
def test_dcmtk(secured: Secured, study: dict[str, Path]) -> None:
    right = secured.lab.clients["right"]
    assert secured.dcmtk("echoscu", right).returncode == 0
    result = secured.dcmtk("storescu", right, files=tuple(study.values()))
    assert result.returncode == 0, result.stderr
    assert kept(secured.station) == {uid: body(path) for uid, path in study.items()}


def test_pynetdicom_and_who_it_is(secured: Secured) -> None:
    issued = secured.lab.clients["right"]
    assert issued
    with secured.station.events.queue(AssociationOpened) as opened:
        association = secured.pynetdicom(issued)
        assert association.is_established
        assert association.send_c_echo().Status == 0
        event = opened.get(5)
    (info,) = secured.slot.associations()
    certificate = certificates_in(issued.certificate.read_bytes(), "")[0]
    assert info.tls == "TLSv1.3 TLS_AES_256_GCM_SHA384"
    assert (info.identity, info.fingerprint) == (SCANNER, fingerprint(certificate))
    assert event is not None
    assert (event.tls, event.identity) == (info.tls, SCANNER)
    assert association.send_c_store(pydicom.dcmread(CT)).Status == 0
    association.release()
    assert secured.slot.totals().stored == 1
    assert len(secured.station.studies()) == 1


@pytest.mark.peer("openssl")
def test_openssl_and_the_end_of_tls(secured: Secured) -> None:
    """Released, and then a close_notify: without one openssl tells of an unexpected end."""
    done = secured.openssl(secured.lab.clients["right"])
    assert RELEASE_RP in done.stdout, done.stderr
    assert done.stdout.endswith(b"closed\n")
    assert done.returncode == 0
    assert b"unexpected eof" not in done.stderr


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (associate_rq("NOBODY"), b"\3\0\0\0\0\4\0\1\1\7"),
        (b"GET / HTTP/1.1\r\n\r\n", b"\7\0\0\0\0\4\0\0\2\1"),
    ],
)
def test_a_refused_association_ends_properly_too(secured: Secured, said: bytes, answer: bytes) -> None:
    done = secured.openssl(secured.lab.clients["right"], send=said)
    assert answer in done.stdout
    assert b"unexpected eof" not in done.stderr


@pytest.mark.peer("storescu")
def test_both_listeners_receive_at_once_into_one_archive(
    tmp_path: Path, lab: Lab, study: dict[str, Path]
) -> None:
    """Each sender waits connected until both are there; then they send in turns."""
    with (
        running(tmp_path, lab, {"enabled": True}) as secured,
        secured.station.events.queue(AssociationClosed) as closed,
    ):
        files = list(study.values())
        station = secured.station
        plain = ["storescu", "-aec", "PACSKIT", HERE, str(station.listener.status.port), *map(str, files[:5])]
        secret = secured.dcmtk_command("storescu", lab.clients["right"], files=files[3:])
        held = secured.pynetdicom(lab.clients["right"])  # one of each is open all the time
        senders = [subprocess.Popen(command) for command in (plain, secret)]
        assert [sender.wait(60) for sender in senders] == [0, 0]
        assert [closed.get(10) is not None for _ in senders] == [True, True]
        held.release()
        assert kept(station) == {uid: body(path) for uid, path in study.items()}
        assert station.listener.totals().stored == 5
        assert station.secure_listener.totals().stored == len(files) - 3
        assert station.metrics().now.stored == len(files) + 2, "both are counted"
    assert station.closed


def test_the_open_one_stays_off(secured: Secured) -> None:
    assert not secured.station.listener.status.running
    assert secured.slot.status.running


def test_its_own_ae_title(secured: Secured) -> None:
    right = secured.lab.clients["right"]
    with secured.station.events.queue(AssociationRefused) as refused:
        assert secured.pynetdicom(right, called="PACSKIT").is_rejected
        event = refused.get(5)
    assert event is not None
    assert event.reason == "it called 'PACSKIT', our AE title is 'PACSKIT_TLS'"
    assert secured.slot.totals().associations_refused == 1


def test_verify_off_lets_anybody_in_and_knows_nobody(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, verify_peer=False) as secured:
        for kind in ("none", "wrong root"):
            association = secured.pynetdicom(lab.clients[kind])
            assert association.is_established
            (info,) = secured.slot.associations()
            assert info.tls.startswith("TLSv1.3")
            assert (info.identity, info.fingerprint) == ("", "")
            with secured.station.events.queue(AssociationClosed) as closed:
                association.release()
                assert closed.get(5) is not None


def test_the_ports_must_differ(secured: Secured) -> None:
    with pytest.raises(SettingError, match="port"):
        secured.station.apply(
            {"listener": {"enabled": True, "port": 3100}, "secure_listener": {"port": 3100}}
        )
    assert secured.slot.status.running


@pytest.mark.filterwarnings("ignore:Secure Dicom Listener cannot be run")
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"certificate": None}, "No certificate. "),
        ({"private_key": None}, "No private key. "),
        ({"certificate": "gone.crt"}, "Incorrect certificate. "),
        ({"private_key": "gone.key"}, "Incorrect private key. "),
        ({"private_key": "locked.key"}, "Private key needs a password. "),
        ({"private_key": "other.key"}, "Certificate and private key do not match. "),
    ],
)
def test_an_identity_that_cannot_be_used(
    tmp_path: Path, lab: Lab, values: dict[str, Any], sentence: str
) -> None:
    """It stays stopped with the seed's sentence; the open listener runs, and it comes up once it can."""
    locked(lab, tmp_path / "locked.key", b"secret")
    (tmp_path / "other.key").write_bytes(
        lab.other.issue(f"x{sentence[:9]}".replace(" ", ""), folder=tmp_path).private_key.read_bytes()
    )
    values = {name: value and tmp_path / value for name, value in values.items()}
    wanted = f"Secure Dicom Listener cannot be run. Error message: {sentence}"
    with running(tmp_path, lab, {"enabled": True}, **values) as secured:
        slot, listener = secured.slot, secured.station.listener.status
        assert slot.status.error.startswith(wanted)
        with pytest.raises(ServiceError) as raised:
            slot.start()
        assert str(raised.value).startswith(wanted)
        assert not slot.status.running
        assert echo(PeerAddress("PACSKIT", HERE, listener.port)).done
        secured.change(certificate=lab.server.certificate, private_key=lab.server.private_key)
        if not slot.status.running:
            slot.start()
        assert secured.pynetdicom(lab.clients["right"]).is_established


def locked(lab: Lab, path: Path, password: bytes) -> Path:
    """Our private key, encrypted."""
    key = serialization.load_pem_private_key(lab.server.private_key.read_bytes(), None)
    cipher = serialization.BestAvailableEncryption(password)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("way", ["file", "environment"])
def test_an_encrypted_key(tmp_path: Path, lab: Lab, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = locked(lab, tmp_path / "pacs.key", b"long secret")
    more: dict[str, Any] = {"private_key": key}
    if way == "file":
        more["key_password_file"] = tmp_path / "password"
        (tmp_path / "password").write_text("long secret\n")
        (tmp_path / "password").chmod(0o600)
    else:
        monkeypatch.setenv("PACSKIT_SECURE_LISTENER__KEY_PASSWORD", "long secret")
    with running(tmp_path, lab, **more) as secured:
        association = secured.pynetdicom(lab.clients["right"])
        assert association.is_established
        association.release()
        assert "long secret" not in repr(secured.slot.settings) + repr(secured.slot.current.__dict__)


def test_verify_with_nobody_on_the_list(tmp_path: Path, lab: Lab) -> None:
    """Allowed, and said."""
    with running(tmp_path, lab, enabled=False, trusted=[]) as secured:
        with secured.station.events.queue(ServiceChanged) as changed:
            secured.slot.start()
            while not (event := changed.get(5)).error:
                pass
        assert event.error == NOBODY
        assert secured.slot.status.running
        assert not secured.pynetdicom(lab.clients["right"]).is_established
        assert secured.reasons() == [NOBODY[0].lower() + NOBODY[1:]]


def test_a_large_instance(tmp_path: Path, lab: Lab) -> None:
    """50 MB, in PDUs of every size a peer may choose."""
    dataset = pydicom.dcmread(CT)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 5000, 5000, 1
    dataset.PixelData = bytes(range(256)) * (50_000_000 // 256) + bytes(128)
    with running(tmp_path, lab) as secured:
        association = secured.pynetdicom(lab.clients["right"])
        assert association.send_c_store(dataset).Status == 0
        association.release()
        (path,) = secured.station.table("instance", columns=["path"]).path
        assert pydicom.dcmread(path).PixelData == dataset.PixelData


@pytest.mark.parametrize("ours", [4096, 16384 + 7, 1 << 20])
@pytest.mark.parametrize("theirs", [0, 4096])
def test_lengths_of_pdus(tmp_path: Path, lab: Lab, ours: int, theirs: int, study: dict[str, Path]) -> None:
    """They end within, at and beyond a record of TLS."""
    with running(tmp_path, lab, max_pdu=ours) as secured:
        association = secured.pynetdicom(lab.clients["right"], max_pdu=theirs)
        assert association.acceptor.maximum_length == ours
        for _ in range(3):
            assert association.send_c_store(pydicom.dcmread(CT)).Status == 0
        association.release()
        assert set(kept(secured.station).values()) == {body(CT)}


def test_a_silent_association_is_aborted(tmp_path: Path, lab: Lab) -> None:
    with (
        running(tmp_path, lab, network_timeout=0.3) as secured,
        secured.station.events.queue(AssociationClosed) as closed,
        secured.hand() as sock,
        sock.makefile("rb") as stream,
    ):
        sock.sendall(associate_rq())
        assert stream.read().endswith(b"\7\0\0\0\0\4\0\0\2\0"), "A-ABORT, then close_notify"
        event = closed.get(5)
        assert event is not None
        assert (event.how, event.reason) == ("timeout", "silent for 0.3 s")


def test_pieces_of_a_request(secured: Secured) -> None:
    """The A-ASSOCIATE-RQ in one record a byte, and what follows in the same record as its end."""
    with secured.hand() as sock, sock.makefile("rb") as stream:
        request = associate_rq()
        for at in range(len(request) - 1):
            sock.sendall(request[at : at + 1])
        sock.sendall(request[-1:] + RELEASE_RQ)
        assert stream.read().endswith(RELEASE_RP)


def test_a_peer_that_is_gone_after_its_request(secured: Secured) -> None:
    with secured.station.events.queue(AssociationClosed) as closed:
        with secured.hand() as sock:
            sock.sendall(associate_rq() + RELEASE_RQ[:5])
        event = closed.get(PATIENCE)
    assert event is not None
    assert event.how == "lost"
