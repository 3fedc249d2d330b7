"""Figures: Prometheus' text read back by its own parser's rules, and rates from looks at a counter."""

from __future__ import annotations

import re

import pytest

from pacskit.services.metrics import Meter, Metric, prometheus

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\.)*"(,[a-z_]+="([^"\\\n]|\\.)*")*\})? -?[0-9.e+]+')


def test_the_text_is_prometheus() -> None:
    text = prometheus(
        [
            Metric("pacskit_up", "Whether it runs", "gauge", {(("service", 'a"b\\c\nd'),): 1}),
            Metric("pacskit_bytes_total", "Bytes", "counter", {(): 12345678901}),
        ]
    )
    lines = text.splitlines()
    assert lines[0] == "# HELP pacskit_up Whether it runs"
    assert lines[1] == "# TYPE pacskit_up gauge"
    assert lines[2] == 'pacskit_up{service="a\\"b\\\\c\\nd"} 1'
    assert lines[5] == "pacskit_bytes_total 12345678901"
    assert all(LINE.fullmatch(line) for line in lines if not line.startswith("#"))
    assert text.endswith("\n")


def test_rates() -> None:
    meter = Meter(span=10, least=1)
    assert meter.rates() == []
    for at, count in ((0, 0), (2, 20), (4, 20), (6, 50)):
        meter.look(count, at)
    assert meter.rates() == [(4, 10), (2, 0), (0, 15)]
    meter.look(51, 6.2)
    meter.look(52, 6.4)
    assert len(meter.rates()) == 4, "looks that follow each other closely are one"
    meter.look(100, 30)
    assert len(meter.rates()) <= 2, "what is old is forgotten"
    meter.look(3, 32)
    assert meter.rates() == [], "a counter that went back was started anew"


def test_it_does_not_grow() -> None:
    meter = Meter(span=60, least=1)
    for second in range(10_000):
        meter.look(second, second / 10)
    assert len(meter.rates()) <= 65
    assert meter.rates()[-1][1] == pytest.approx(10)
