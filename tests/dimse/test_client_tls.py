"""Our own sender over TLS: to our Secure DICOM Listener and to DCMTK's, and why it does not come in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pacskit
from pacskit.certificates import Authority, Handshakes, Identity, TrustedList
from pacskit.errors import AssociationError
from pacskit.events import AssociationRefused
from pacskit.simulator import Scanner


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "authority")


@pytest.fixture
def station(tmp_path: Path, authority: Authority) -> Iterator[pacskit.Station]:
    server = authority.issue("server")
    settings = {
        "enabled": True,
        "host": "127.0.0.1",
        "port": 0,
        "certificate": server.certificate,
        "private_key": server.private_key,
        "trusted": [authority.root],
        "verify_peer": True,
    }
    with pacskit.Station(tmp_path / "archive", secure_listener=settings) as station:
        yield station


def client(trusted: Authority, certified: Authority | None) -> Handshakes:
    """Of a scanner that trusts one authority and has a certificate of another (None: it has none)."""
    identity = None
    if certified is not None:
        issued = certified.issue("scanner", use="client")
        identity = Identity(issued.certificate, issued.private_key).read()
    return Handshakes.client("rfc9325", trusted=TrustedList().add(trusted.root), identity=identity)


def test_a_scanner_sends_over_tls(station: pacskit.Station, authority: Authority) -> None:
    scanner = Scanner(station, tls=client(authority, authority))
    assert scanner.echo().done
    report = scanner.send("ct", slices=3, size=64, progress=False)
    assert (report.sent, report.failed) == (3, [])
    assert station.studies()["instances"].tolist() == [3]
    assert station.secure_listener.totals().stored == 3
    assert station.listener.totals().associations == 0


def test_why_it_does_not_come_in(station: pacskit.Station, authority: Authority, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", name="Somebody else")
    refused = station.events.queue(AssociationRefused)
    with pytest.raises(AssociationError, match="wants a certificate of ours"):
        Scanner(station, tls=client(authority, None)).echo()
    with pytest.raises(AssociationError, match="does not know who signed our certificate"):
        Scanner(station, tls=client(authority, other)).echo()
    with pytest.raises(
        AssociationError, match="signed by pacskit teaching root, which is not on the trusted"
    ):
        Scanner(station, tls=client(other, authority)).echo()
    reasons = [told.reason for _ in range(3) if (told := refused.get(20)) is not None]
    refused.close()
    assert len(reasons) == len(station.secure_listener.refusals()) == 3
    assert any("showed no certificate" in reason for reason in reasons)
    assert any("signed by Somebody else, which is not on the trusted list" in reason for reason in reasons)


def test_a_plain_caller_and_one_with_tls_at_the_wrong_port(
    station: pacskit.Station, authority: Authority
) -> None:
    station.apply({"listener": {"enabled": True, "host": "127.0.0.1", "port": 0}})
    secure, plain = station.secure_listener.status.port, station.listener.status.port
    with station.events.queue(AssociationRefused) as refused:
        with pytest.raises(AssociationError):
            Scanner(f"PACSKIT_TLS@127.0.0.1:{secure}").echo()
        assert (told := refused.get(20)) is not None
        assert "does not speak TLS" in told.reason
        with pytest.raises(AssociationError, match="does not speak TLS"):
            Scanner(f"PACSKIT@127.0.0.1:{plain}", tls=client(authority, authority)).echo()
        assert (told := refused.get(20)) is not None
        assert "speaks TLS" in told.reason
