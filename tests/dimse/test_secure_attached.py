"""A station in the background: who is attached sees the associations and refusals of its Secure DICOM Listener."""

from __future__ import annotations

import socket
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

import pacskit
from pacskit.events import AssociationClosed, AssociationOpened
from tests.certificates.hospital import Lab
from tests.dimse.secured import HERE, Callers, associate_rq, settings

CT = Path(str(get_testdata_file("CT_small.dcm")))


@pytest.mark.timeout(120)
def test_attached(tmp_path: Path, lab: Lab) -> None:
    background = {"run_in": "background"}
    with pacskit.Station(tmp_path / "a", secure_listener=settings(lab), station=background) as station:
        try:
            slot = station.secure_listener
            callers = Callers(lab, lambda: slot.status.port)
            with station.events.queue(AssociationOpened) as opened:
                association = callers.pynetdicom(lab.clients["right"])
                event = opened.get(20)
            assert event is not None
            (info,) = slot.associations()
            assert (event.tls, event.identity) == (info.tls, info.identity)
            assert info.tls.startswith("TLSv1.3 ")
            assert info.identity == "ct-scanner, pacskit teaching authority"
            assert len(info.fingerprint) == 95
            with socket.create_connection((HERE, callers.port), 10) as plain:
                plain.sendall(associate_rq())
                while plain.recv(100):
                    pass
            with station.events.queue(AssociationClosed) as closed:
                assert association.send_c_store(pydicom.dcmread(CT)).Status == 0
                association.release()
                assert closed.get(20) is not None
            (refusal,) = slot.refusals()
            assert "does not speak TLS here" in refusal.reason
            assert slot.totals().stored == 1
            assert len(station.studies()) == 1
        finally:
            station.stop_background()
