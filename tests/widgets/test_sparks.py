"""The small live plots without a browser: their shape, their words, and that nothing new gives the same text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import pacskit
from pacskit.simulator import Scanner
from pacskit.station.metrics import Metrics
from pacskit.station.reading import Reading
from pacskit.widgets import sparks

NOTHING = Reading(
    at=1.8e9, clock=9000.0, started=1.7e9, listening=True, stored=0, refused=0, bytes=0, associations=0,
    associations_refused=0, open=0, queued=0, disk_size=100_000_000_000, disk_free=40_000_000_000,
    disk_limit=1_000_000_000, disk_full_in=None, memory=10**8, cpu=1.0, threads=9,
)  # fmt: skip


def readings(seconds: int, **last: float) -> tuple[Reading, ...]:
    """One a second without anything happening; the last one differs."""
    found = [dataclasses.replace(NOTHING, clock=NOTHING.clock + i) for i in range(seconds)]
    return (*found[:-1], dataclasses.replace(found[-1], **last))  # type: ignore[arg-type]


def drawn(seconds: int, **last: float) -> str:
    made = readings(seconds, **last)
    return "".join(sparks._plots(Metrics(made[-1], made)))


def points(svg: str, part: str = "pk-line") -> list[list[tuple[float, float]]]:
    """Of each run of the line."""
    found = ElementTree.fromstring(svg).find(f"path[@class='{part}']")
    assert found is not None
    pairs = [[pair.split(",") for pair in run.split()] for run in found.attrib["d"].split("M") if run]
    return [[(float(x), float(y)) for x, y in run] for run in pairs]


def test_a_line_goes_through_its_values() -> None:
    values = np.full(sparks.STEPS, np.nan)
    values[-3:] = (0, 10, 5)
    (line,) = points(sparks.spark(values, "x"))
    assert [x for x, _ in line] == [97, 98, 99]
    low, high, middle = (y for _, y in line)
    assert low == sparks.HEIGHT - 1
    assert high == pytest.approx(1, abs=0.1), "ten fills it"
    assert middle == pytest.approx((low + high) / 2, abs=0.1)


def test_gaps_stay_gaps_and_what_is_level_takes_two_points() -> None:
    values = np.full(sparks.STEPS, 3.0)
    values[40:60] = np.nan
    left, right = points(sparks.spark(values, "x", top=3))
    assert [x for x, _ in left] == [0, 39]
    assert [x for x, _ in right] == [60, 99]
    only = np.full(sparks.STEPS, np.nan)
    assert points(sparks.spark(only, "x")) == []
    only[-1] = 0
    assert len(points(sparks.spark(only, "x"))[0]) == 2, "a single value can be seen"


def test_a_step_has_one_figure_of_all_its_values() -> None:
    clock = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = sparks.steps(clock, np.array([1.0, 2.0, 6.0, 4.0, 8.0]), np.mean)
    assert found[-2:].tolist() == [3, 6]
    assert np.isnan(found[:-2]).all()
    late = sparks.steps(clock + np.array([-4000, 0, 0, 0, 0]), np.arange(5.0), np.max)
    assert late[-2:].tolist() == [2, 4], "what is too old is left out"


def test_what_stays_as_it_is_gives_the_same_text() -> None:
    assert drawn(400) == drawn(401) == drawn(550)
    assert drawn(400, stored=1) != drawn(400)
    assert drawn(400, disk_free=1) != drawn(400)
    assert drawn(13) == drawn(14), "within one step"


def test_all_is_said_in_words_too() -> None:
    html = f"<div>{drawn(400, stored=30, bytes=6_000_000, open=2)}</div>"
    labels = [svg.attrib["aria-label"] for svg in ElementTree.fromstring(html).iter("svg")]
    assert labels == [
        "Instances: 10/s, 5-min peak 30/s",
        "Throughput: 2.0 MB/s, 5-min peak 6.0 MB/s",
        "Associations: 2 open, 5-min peak 2",
        "Free disk: 40.0 GB, of 100 GB",
    ]
    assert {svg.attrib["role"] for svg in ElementTree.fromstring(html).iter("svg")} == {"img"}


@pytest.mark.parametrize(
    ("seconds", "said"), [(3 * 86_400, "full in 3 days"), (7300, "full in 2 h"), (600, "full in 10 min")]
)
def test_a_disk_that_fills_says_when(seconds: float, said: str) -> None:
    assert said in drawn(20, disk_full_in=float(seconds))
    assert "full in" not in drawn(20, disk_full_in=float(100 * 86_400))


def test_a_disk_that_cannot_be_read_is_left_out() -> None:
    made = tuple(dataclasses.replace(r, disk_free=None, disk_size=None) for r in readings(9))
    shown = "".join(sparks._plots(Metrics(made[-1], made)))
    assert "Free disk" not in shown
    assert shown.count("<svg") == 3


def test_a_scale_has_room_and_seldom_changes() -> None:
    assert [sparks._round_up(value) for value in (0, 1, 1.5, 4.9, 7, 10, 1001)] == [1, 1, 2, 5, 10, 10, 2000]


@pytest.fixture
def station(tmp_path: Path) -> Iterator[pacskit.Station]:
    listener = {"enabled": True, "port": 0, "host": "127.0.0.1"}
    with pacskit.Station(tmp_path / "archive", listener=listener) as running:
        yield running


def test_the_panel_shows_them_and_empties_them_at_the_end(station: pacskit.Station) -> None:
    assert station.services.settle()
    plots = station.services.panels["listener"].plots
    station.owner._meter._sample()
    Scanner(station).send("mr", slices=3, size=64, progress=False)
    station.owner._meter._sample()
    station.services._ask("plots")
    assert station.services.settle()
    (peak,) = re.findall(r"Instances: [^\"]*peak ([\d. ]+)/s", plots.html)
    assert float(peak.replace(" ", "")) > 0
    assert plots.html.count("<svg") == 4
    station.close()
    assert plots.html == ""
