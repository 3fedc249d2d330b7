"""What an import does and did: progress while it runs, as a line for people, and the report at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

import pandas as pd

How = Literal["copy", "link", "in-place"]
HOWS: tuple[How, ...] = ("copy", "link", "in-place")
Kind = Literal[
    "not DICOM",
    "damaged",
    "other content",
    "refused",
    "unreadable",
    "missing",
    "gone",
    "changed",
    "not followed",
    "stuck",
]
"""Why a file was skipped, to count by. gone: imported in place before, and no longer there."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """At most ten times a second, and at the end. `total` grows until the folders are `walked`."""

    done: int
    total: int
    walked: bool
    bytes: int
    """Size of the files done that were read; what was known already counts nothing."""
    seconds: float
    path: Path | None = None
    """The file taken last; it may name a patient: for the screen, never for a log."""

    @property
    def rate(self) -> float:
        """Files a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left at this rate; None while it cannot be told."""
        return (self.total - self.done) / self.rate if self.walked and self.done else None

    def __str__(self) -> str:
        total = f"{self.total}" if self.walked else f"{self.total}+"
        speed = f"{self.rate:.0f} files/s, {megabytes(self.bytes / max(self.seconds, 1e-9))}/s"
        left = self.left
        rest = "" if left is None or self.done == self.total else f", {duration(left)} left"
        return f"{self.done} of {total} files, {megabytes(self.bytes)}, {speed}{rest}"


@dataclass(slots=True)
class ImportReport:
    """What became of each file."""

    how: How = "copy"
    stored: int = 0
    duplicates: int = 0
    """Files whose content was here already, as a comparison showed."""
    known: int = 0
    """Files imported before that have not changed since, by size and time: not read again."""
    copied: int = 0
    """Of the stored ones: copied, since they could not be linked."""
    bytes: int = 0
    """Size of the files that were read."""
    seconds: float = 0.0
    cancelled: bool = False
    """It was ended before its end: what is stored stays, and doing it again goes on from there."""
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """(file, why it was not taken)."""
    kinds: list[Kind] = field(default_factory=list)
    """The kind of each of `skipped`."""

    def skip(self, path: Path, kind: Kind, reason: str) -> None:
        self.skipped.append((path, reason))
        self.kinds.append(kind)

    @property
    def here(self) -> int:
        """Files that were here already."""
        return self.duplicates + self.known

    @property
    def grouped(self) -> dict[str, int]:
        """Kind → how many were skipped for it, most first."""
        return dict(Counter(self.kinds).most_common())

    def table(self) -> pd.DataFrame:
        """One row a skipped file: path, kind, reason. `report.table().to_csv(...)` keeps it."""
        return pd.DataFrame(
            {
                "path": pd.Series([str(path) for path, _ in self.skipped], dtype="str"),
                "kind": pd.Series(list(self.kinds), dtype="str"),
                "reason": pd.Series([reason for _, reason in self.skipped], dtype="str"),
            }
        )

    def __str__(self) -> str:
        parts = [f"{self.stored} stored", f"{self.here} were here already", f"{len(self.skipped)} skipped"]
        if self.skipped:
            parts[-1] += f" ({', '.join(f'{count} {kind}' for kind, count in self.grouped.items())})"
        if self.copied:
            parts.append(f"{self.copied} copied, since they could not be linked")
        end = "; cancelled: doing it again goes on from here" if self.cancelled else ""
        return f"{', '.join(parts)}; {megabytes(self.bytes)} in {duration(self.seconds)}{end}"


class ProgressLine:
    """One line that is overwritten, in a notebook or on a terminal, at most ten times a second.

    Called with anything whose `str` is a sentence; `end()` leaves a last one standing, `clear()` none.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what, self._stream, self._width = what, stream or sys.stdout, 0
        self._shown = float("-inf")
        self._lock = threading.Lock()

    def __call__(self, state: object) -> None:
        with self._lock:
            if time.monotonic() - self._shown >= 0.1:
                self._shown = time.monotonic()
                self._write(str(state))

    def end(self, state: object) -> None:
        with self._lock:
            self._write(str(state))
            self._stream.write("\n")

    def clear(self) -> None:
        """Nothing of it stays."""
        with self._lock:
            self._stream.write(f"\r{' ' * (len(self._what) + 2 + self._width)}\r")
            self._stream.flush()

    def _write(self, text: str) -> None:
        self._width = max(self._width, len(text))
        self._stream.write(f"\r{self._what}: {text.ljust(self._width)}")
        self._stream.flush()


def megabytes(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
