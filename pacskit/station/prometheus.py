"""A reading as Prometheus' text format 0.0.4, with the names and base units that it asks for.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pacskit.station.reading import Reading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge"]

# `pacskit_process_…`, since `process_…` is what the exporter that serves the text says of itself.
_METRICS: tuple[tuple[str, Kind, str, str], ...] = (
    ("listener_running", "gauge", "Whether the DICOM Listener runs.", "listening"),
    ("listener_instances_stored_total", "counter", "Instances stored since it started.", "stored"),
    ("listener_instances_refused_total", "counter", "Instances refused since it started.", "refused"),
    ("listener_stored_bytes_total", "counter", "Bytes of the instances stored since it started.", "bytes"),
    ("listener_associations_total", "counter", "Associations accepted since it started.", "associations"),
    (
        "listener_associations_refused_total",
        "counter",
        "Associations refused since it started.",
        "associations_refused",
    ),
    ("listener_associations_open", "gauge", "Associations open now.", "open"),
    ("index_queued_rows", "gauge", "Rows of stored instances that the index does not have yet.", "queued"),
    ("archive_disk_size_bytes", "gauge", "Size of the archive's disk.", "disk_size"),
    ("archive_disk_free_bytes", "gauge", "Free bytes on the archive's disk.", "disk_free"),
    (
        "archive_disk_limit_bytes",
        "gauge",
        "Bytes that archive.min_free keeps free: below it, instances are refused.",
        "disk_limit",
    ),
    ("process_resident_memory_bytes", "gauge", "Resident memory of the station's process.", "memory"),
    ("process_cpu_seconds_total", "counter", "CPU time of the station's process, user and system.", "cpu"),
    ("process_threads", "gauge", "Threads of the station's process.", "threads"),
    ("process_start_time_seconds", "gauge", "Unix time at which the station's process began.", "started"),
)
"""Name after `pacskit_`, type, help, field of Reading."""


def text(reading: Reading) -> str:
    """What is not known is left out."""
    return "".join(line + "\n" for line in _lines(reading))


def _lines(reading: Reading) -> Iterator[str]:
    for name, kind, said, field in _METRICS:
        value = getattr(reading, field)
        if value is None:
            continue
        yield f"# HELP pacskit_{name} {said}"
        yield f"# TYPE pacskit_{name} {kind}"
        yield f"pacskit_{name} {int(value) if isinstance(value, bool) else value!r}"
