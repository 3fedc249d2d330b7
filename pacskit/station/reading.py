"""Reading: what a station knows of itself at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters of one moment. Those of the listener begin at zero when it starts."""

    at: float
    """Unix time in seconds."""
    clock: float
    """Seconds on a clock that nobody sets: for differences between readings of one process."""
    started: float
    """Unix time at which the process began."""
    listening: bool
    """Whether the DICOM Listener runs."""
    stored: int
    """Instances; the same again counts again."""
    refused: int
    """Instances."""
    bytes: int
    """Of the instances stored."""
    associations: int
    """Accepted, those open now included."""
    associations_refused: int
    open: int
    """Associations open now."""
    queued: int
    """Rows of stored instances that the index does not have yet."""
    disk_size: int | None
    """Bytes; None, as all of the disk, where it cannot be read."""
    disk_free: int | None
    disk_limit: int | None
    """Bytes that `archive.min_free` keeps free: below it, instances are refused."""
    disk_full_in: float | None
    """Seconds until that limit if it goes on as during the last day; None where it does not fill."""
    memory: int
    """Bytes, resident."""
    cpu: float
    """Seconds, user and system."""
    threads: int
