"""Two authorities, certificates of every kind, and a TLS server to shake hands with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hospital import Lab
from pairs import Bench
from shaking import Server


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab.create(tmp_path_factory.mktemp("authorities"))


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
