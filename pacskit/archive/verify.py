"""Is everything there, and is it what was stored? Reads every file of an archive; changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from pacskit.archive.checksums import Cancelled, measure, read_sums
from pacskit.archive.files import SUMS, walk_files
from pacskit.archive.index import IndexReader
from pacskit.archive.schema import instance


@dataclass(frozen=True, slots=True)
class VerifyProgress:
    """After each file."""

    done: int
    total: int
    """Instances of the index when it began."""
    path: Path


@dataclass(slots=True)
class VerifyReport:
    """What was found; each list names files."""

    checked: int = 0
    """Files that were read."""
    missing: list[Path] = field(default_factory=list)
    """The index or the checksums have them, the disk has not."""
    damaged: list[tuple[Path, str]] = field(default_factory=list)
    """Their content is not what was stored."""
    unknown: list[Path] = field(default_factory=list)
    """The index has not: `pacskit rebuild` takes those in that are instances."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """The disk does not give them."""
    cancelled: bool = False

    @property
    def ok(self) -> bool:
        return not (self.missing or self.damaged or self.unknown or self.unreadable)

    def sentences(self) -> Iterator[str]:
        """One for each thing that is wrong."""
        yield from (f"missing: {path}" for path in self.missing)
        yield from (f"damaged: {path}: {reason}" for path, reason in self.damaged)
        yield from (f"unreadable: {path}: {reason}" for path, reason in self.unreadable)
        yield from (f"not in the index: {path}" for path in self.unknown)


def verify(
    folder: Path,
    index: IndexReader,
    progress: Callable[[VerifyProgress], None] | None = None,
    cancel: threading.Event | None = None,
) -> VerifyReport:
    """Compare files, index and checksums; an owner may go on receiving and deleting meanwhile."""
    report = VerifyReport()
    stop = threading.Event().is_set if cancel is None else cancel.is_set
    known = _paths(index)
    seen: set[str] = set()
    study, sums = "", dict[str, str]()
    try:
        for relative, _ in walk_files(folder):
            if relative.split("/")[1] != study:
                study = relative.split("/")[1]
                sums = read_sums(folder, study)
            seen.add(relative)
            _one(folder, relative, sums.get(relative, ""), stop, report)
            report.checked += 1
            if progress is not None:
                progress(VerifyProgress(report.checked, len(known), folder / relative))
        for relative in sorted(known - seen):
            if not (folder / relative).is_file():
                report.missing.append(folder / relative)
        report.missing += [folder / relative for relative in _lost(folder, seen, known, stop)]
    except Cancelled:
        report.cancelled = True
        return report
    now = _paths(index)  # some came, some were deleted
    report.unknown = [folder / r for r in sorted(seen - known - now) if (folder / r).exists()]
    report.missing = [path for path in report.missing if not path.exists() and _expected(folder, path, now)]
    return report


def _one(folder: Path, relative: str, expected: str, stop: Callable[[], bool], report: VerifyReport) -> None:
    path = folder / relative
    if stop():
        raise Cancelled
    try:
        sha256, wrong = measure(path, stop)
    except FileNotFoundError:
        return  # deleted meanwhile; else it is missing
    except OSError as error:
        report.unreadable.append((path, error.strerror or str(error)))
        return
    if not wrong and expected and sha256 != expected:
        wrong = "its data are not what they were (sha256)"
    if wrong:
        report.damaged.append((path, wrong))


def _lost(folder: Path, seen: set[str], known: set[str], stop: Callable[[], bool]) -> Iterator[str]:
    """Files that have a checksum, and neither a row nor a place on the disk: a rebuild forgot their rows."""
    for path in sorted((folder / SUMS).glob("*.sha256")):
        if stop():
            raise Cancelled
        for relative in read_sums(folder, path.stem):
            if relative not in seen and relative not in known and not (folder / relative).exists():
                yield relative


def _expected(folder: Path, path: Path, now: set[str]) -> bool:
    """Whether it is missed still, and was not deleted meanwhile."""
    relative = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    return relative in now or relative in read_sums(folder, relative.split("/")[1])


def _paths(index: IndexReader) -> set[str]:
    index.drain()
    with index.connect() as connection:
        return set(connection.execute(select(instance.c.path)).scalars())
