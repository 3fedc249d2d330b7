"""Two authorities, certificates of every kind, and a TLS server to shake hands with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hospital import LONG_AGO, Lab
from pairs import Bench
from shaking import Server

from pacskit.certificates import Authority
from pacskit.certificates.authority import Issued


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("authorities")
    ours = Authority.create(folder / "ours", name="Hospital Root")
    other = Authority.create(folder / "other", name="Other Root")
    ward = Authority.create(folder / "ward", name="Ward CA", parent=ours)
    old = Authority.create(folder / "old", name="Hospital Root", start=LONG_AGO)
    clients: dict[str, Issued | None] = {
        "none": None,
        "right": ours.issue("ct-scanner", use="client"),
        "wrong root": other.issue("stranger", use="client"),
        "expired": ours.issue("old-scanner", use="client", start=LONG_AGO, days=30),
        "not yet valid": ours.issue("new-scanner", use="client", start=datetime.now(UTC) + timedelta(days=9)),
        "revoked": ours.issue("stolen-scanner", use="client"),
        "wrong use": ours.issue("web-server", use="server"),
        "right, by intermediate": ward.issue("ward-scanner", use="client"),
        "same name, other key": old.issue("imposter", use="client"),
    }
    stolen = clients["revoked"]
    assert stolen
    return Lab(ours, other, ward, ours.issue("pacs"), clients, ours.revoke(stolen.certificate))


@pytest.fixture
def serve() -> Iterator[type[Server]]:
    """`Server(handshakes)`: closed when the test ends."""
    yield Server
    for server in Server.running[:]:
        server.close()


@pytest.fixture
def bench(tmp_path: Path, lab: Lab) -> Bench:
    for source in (lab.server.certificate, lab.server.private_key):
        shutil.copy(source, tmp_path / f"good{source.suffix}")
    return Bench(tmp_path, lab.ours)
