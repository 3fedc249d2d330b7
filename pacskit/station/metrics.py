"""What a station measures of itself, at no cost to who receives: once a second, counters that exist are read.

now = station.metrics().now
history = station.metrics().history   # numpy: history.seconds, history.stored, history.bytes, ...
print(station.metrics().prometheus())
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from pacskit.archive import Archive
from pacskit.dimse.slot import ListenerSlot
from pacskit.dimse.totals import Totals
from pacskit.errors import ArchiveError
from pacskit.services.host import plain
from pacskit.station import prometheus
from pacskit.station.reading import Reading

EVERY = 1.0
"""Seconds between two readings."""
KEPT = 600
"""Readings: ten minutes."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class History:
    """Arrays of one length, oldest first; rates are those between a reading and the one before."""

    seconds: Array
    """Before the newest reading: 0 is the last, the others are negative."""
    stored: Array
    """Instances a second."""
    refused: Array
    """Instances a second."""
    bytes: Array
    """A second; an instance counts when it is stored, not while it comes."""
    associations: Array
    """Open at that moment."""
    queued: Array
    """Rows that the index did not have yet."""
    disk_free: Array
    """Bytes; nan where the disk could not be read."""
    cpu: Array
    """Cores that the process was busy with."""
    memory: Array
    """Bytes, resident."""
    threads: Array


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of the process that runs the services."""

    now: Reading
    readings: tuple[Reading, ...] = ()
    """Of the last ten minutes, oldest first."""

    @property
    def history(self) -> History:
        """Empty arrays within the first second."""

        def column(name: str) -> Array:
            return np.array([getattr(reading, name) for reading in self.readings], dtype=np.float64)

        clock = column("clock")
        steps = np.diff(clock)

        def rate(name: str) -> Array:
            values = column(name)
            grown = np.diff(values)
            grown = np.where(grown < 0, values[1:], grown)  # the listener was started again: from zero
            return np.asarray(grown / steps)

        return History(
            seconds=clock[1:] - clock[-1:],
            stored=rate("stored"),
            refused=rate("refused"),
            bytes=rate("bytes"),
            associations=column("open")[1:],
            queued=column("queued")[1:],
            disk_free=column("disk_free")[1:],
            cpu=rate("cpu"),
            memory=column("memory")[1:],
            threads=column("threads")[1:],
        )

    def prometheus(self) -> str:
        """Prometheus' text format 0.0.4, to be served as `prometheus.CONTENT_TYPE` or written to a file."""
        return prometheus.text(self.now)


class Meter:
    """One thread; ends with `close()`, or when the meter is garbage."""

    def __init__(self, listeners: Sequence[ListenerSlot], archive: Archive) -> None:
        self._listeners, self._archive = listeners, archive
        self._process = psutil.Process()
        self._started = self._process.create_time()
        self._used = (0, 0.0, 0)
        self._lock = threading.Lock()
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._sample()
        self._ended = threading.Event()
        # The disk is asked in a thread of its own: a network drive that hangs holds up nobody else.
        self._thread = threading.Thread(
            target=_run, args=(weakref.ref(self), self._ended), name="pacskit-metrics", daemon=True
        )
        self._thread.start()

    def metrics(self) -> Metrics:
        """Counters of this moment; the disk's figures are up to a second old. Waits for nothing."""
        with self._lock:
            readings = tuple(self._readings)
        last = readings[-1]
        disk = (last.disk_size, last.disk_free, last.disk_limit, last.disk_full_in)
        return Metrics(self._read(disk), readings)

    def close(self) -> None:
        self._ended.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _sample(self) -> None:
        try:
            found = self._archive.storage()
        except ArchiveError:  # it is told where somebody needs it
            reading = self._read((None, None, None, None))
        else:
            reading = self._read((found.total, found.free, found.limit, found.full_in))
        with self._lock:
            self._readings.append(reading)

    def _read(self, disk: tuple[int | None, int | None, int | None, float | None]) -> Reading:
        totals = Totals.sum(listener.totals() for listener in self._listeners)
        memory, cpu, threads = self._use()
        size, free, limit, full_in = disk
        return Reading(
            at=time.time(),
            clock=time.monotonic(),
            started=self._started,
            listening=any(listener.status.running for listener in self._listeners),
            stored=totals.stored,
            refused=totals.refused,
            bytes=totals.bytes,
            associations=totals.associations,
            associations_refused=totals.associations_refused,
            open=sum(len(listener.associations()) for listener in self._listeners),
            queued=self._archive.queued,
            disk_size=size,
            disk_free=free,
            disk_limit=limit,
            disk_full_in=full_in,
            memory=memory,
            cpu=cpu,
            threads=threads,
        )

    def _use(self) -> tuple[int, float, int]:
        try:
            with self._process.oneshot():
                cpu = self._process.cpu_times()
                memory, threads = self._process.memory_info().rss, self._process.num_threads()
        except (psutil.Error, OSError):  # no descriptor is left: as it was
            return self._used
        self._used = (memory, round(cpu.user + cpu.system, 3), threads)
        return self._used


def _run(reference: weakref.ref[Meter], ended: threading.Event) -> None:
    while not ended.wait(EVERY):
        if (meter := reference()) is None:
            return
        meter._sample()
        del meter


Ask = Callable[..., Any]
"""`ask("metrics", after=...)`: the owner's answer."""


class FollowedMeter:
    """The meter of another process, as an attached station has it: only what is new is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readings: deque[Reading] = deque(maxlen=KEPT)

    def metrics(self, ask: Ask) -> Metrics:
        """Raises what `ask` raises."""
        with self._lock:
            told = of_plain(ask("metrics", after=self._readings[-1].clock if self._readings else 0.0))
            self._readings.extend(told.readings)
            return Metrics(told.now, tuple(self._readings))


def to_plain(metrics: Metrics, after: float | None) -> dict[str, Any]:
    """With the readings later than `after` on their clock; None: without any."""
    later = [reading for reading in metrics.readings if after is not None and reading.clock > after]
    return {"now": plain.record(metrics.now), "readings": [plain.record(reading) for reading in later]}


def of_plain(told: Mapping[str, Any]) -> Metrics:
    now, *readings = (plain.record_of(Reading, data) for data in (told["now"], *told["readings"]))
    return Metrics(now, tuple(readings))
