"""A station, its panel and a person who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pacskit
from pacskit.certificates import Authority
from tests.widgets.secure_panels import Person


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "hospital", name="Hospital CA")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[pacskit.Station]:
    with pacskit.Station(tmp_path / "archive") as running:
        yield running


@pytest.fixture
def person(station: pacskit.Station) -> Person:
    return Person(station)
