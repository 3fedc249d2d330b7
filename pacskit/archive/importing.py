"""Files and folders into the archive: Part 10 files, and data sets without preamble or file meta."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pacskit import system
from pacskit.archive.elements import guess_transfer_syntax
from pacskit.archive.header import STATUS_CANNOT_UNDERSTAND, Origin, read_attributes
from pacskit.archive.incoming import Incoming
from pacskit.archive.uids import is_uid
from pacskit.errors import ArchiveError, PacskitError, Refused
from pacskit.imaging.part10 import META_LIMIT, read_head

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """After each file; `total` grows as folders are read."""

    done: int
    total: int
    path: Path


@dataclass(slots=True)
class ImportReport:
    """What became of each file."""

    stored: int = 0
    duplicates: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """(file, why it was not taken), in the order met."""


class Begin(Protocol):
    def __call__(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str,
    ) -> Incoming: ...


def import_paths(
    paths: Iterable[Path | str], own: Path, begin: Begin, progress: Callable[[ImportProgress], None] | None
) -> ImportReport:
    """Import every file; what cannot be taken is reported by name and the rest goes on.

    Raises ArchiveError only where the archive itself cannot be written.
    """
    report = ImportReport()
    own = own.resolve()
    files: list[Path] = []
    for given in (Path(path) for path in paths):
        if not given.exists():
            report.skipped.append((given, "there is no such file or folder"))
            continue
        files.extend(_files(given, own, report))
    for number, path in enumerate(files, 1):
        try:
            duplicate = _import_one(path, begin)
        except ArchiveError:
            raise
        except (PacskitError, OSError, ValueError) as error:
            report.skipped.append((path, _reason(error)))
        else:
            report.duplicates += duplicate
            report.stored += not duplicate
        if progress is not None:
            progress(ImportProgress(number, len(files), path))
    return report


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be read: {error.strerror or error}"
    return str(error)


def _files(path: Path, own: Path, report: ImportReport) -> Iterator[Path]:
    """Links to folders are not followed: they may lead in circles."""
    if not path.is_dir():
        yield path
        return

    def failed(error: OSError) -> None:
        report.skipped.append((Path(error.filename), _reason(error)))

    for folder, folders, names in os.walk(path, onerror=failed):
        folders[:] = sorted(name for name in folders if (Path(folder) / name).resolve() != own)
        if Path(folder).resolve() == own:
            folders.clear()
            continue
        for name in sorted(names):
            yield Path(folder) / name


def _import_one(path: Path, begin: Begin) -> bool:
    """Whether it was a duplicate. Raises Refused, OSError or ValueError with the reason."""
    if not path.is_file():
        raise ValueError("it is not a regular file")
    descriptor = os.open(path, os.O_RDONLY | system.BINARY)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            raise ValueError("the file is empty")
        head = read_head(system.read_at(descriptor, META_LIMIT, 0))
        if head.text(0x0002) == DICOMDIR_CLASS or path.name.upper() == "DICOMDIR":
            raise ValueError("a DICOMDIR is a directory of files, not an instance")
        syntax = head.transfer_syntax_uid
        if syntax and not is_uid(syntax):
            raise ValueError("its transfer syntax is not a UID")
        if not syntax:
            syntax = guess_transfer_syntax(system.read_at(descriptor, 16, head.offset))
        try:
            found = read_attributes(
                lambda length, at: system.read_at(descriptor, length, at), head.offset, size, syntax
            )
        except Refused as error:
            if not head.part10 and not head.elements and error.status == STATUS_CANNOT_UNDERSTAND:
                raise ValueError("it is not a DICOM file") from error
            raise
        origin = Origin(received_at=time.time(), imported=True)
        incoming = begin(found["SOPClassUID"], found["SOPInstanceUID"], syntax, origin, head.text(0x0016))
        try:
            at = head.offset
            while piece := system.read_at(descriptor, _PIECE, at):
                incoming.write([piece])
                at += len(piece)
            return incoming.commit().duplicate
        finally:
            incoming.discard()
    finally:
        os.close(descriptor)
