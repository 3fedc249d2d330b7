"""Where things stand in an archive's folder. Paths are short, hold no names, follow from the header.

studies/<date>-<hash of study>/<series number>-<modality>-<hash of series>/<instance number>-<hash>.dcm
incoming/       instances being received
dirty/          a mark for each study whose newest rows may not be on the disk (marks.py)
aside/          other contents of stored instances, not served (asides.py)
trash/          what was deleted or replaced (trash.py)
damaged/        what a machine's failure left half in studies/
sums/           sha256 of the files of each study (checksums.py)
journal.jsonl   what persons said of studies (journal.py)
backups/        copies of the index (backup.py)
retention.json  which limits of retention are known, and since when (retention.py)
index.sqlite    a cache: `rebuild()` makes it again from the files
owner.lock      whose archive it is now
format.json     the version of this layout
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pacskit import system
from pacskit.archive.access import FILE_MODE as FILE_MODE
from pacskit.archive.access import FOLDER_MODE as FOLDER_MODE
from pacskit.archive.access import make_folder, open_file
from pacskit.archive.header import Header
from pacskit.errors import ArchiveError

STUDIES, INCOMING, INDEX, LOCK, FORMAT = "studies", "incoming", "index.sqlite", "owner.lock", "format.json"
DIRTY, ASIDE, TRASH, DAMAGED, SUMS = "dirty", "aside", "trash", "damaged", "sums"
JOURNAL = "journal.jsonl"
FORMAT_VERSION = 1
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(one + other for one in _BASE32 for other in _BASE32)
"""By ten bits. The base64 module encodes twenty times slower, and this is done for each instance."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def short_hash(content: str | bytes, length: int) -> str:
    """Lower-case base32 (safe where file names fold case), 16 letters at most; 12 are 60 bits."""
    data = content.encode() if isinstance(content, str) else content
    n, p = int.from_bytes(hashlib.sha256(data).digest()[:10], "big"), _PAIRS
    first = p[n >> 70] + p[n >> 60 & 1023] + p[n >> 50 & 1023] + p[n >> 40 & 1023]
    return (first + p[n >> 30 & 1023] + p[n >> 20 & 1023] + p[n >> 10 & 1023] + p[n & 1023])[:length]


@lru_cache(maxsize=1024)
def study_hash(study_uid: str) -> str:
    """How a study's folders end."""
    return short_hash(study_uid, 12)


def _number(value: object, digits: int) -> str:
    """Digits that sort; x where the header has no number or one that does not fit."""
    if isinstance(value, int) and 0 <= value < 10**digits:
        return f"{value:0{digits}d}"
    return "x" * digits


def relative_path(header: Header) -> str:
    """Path below the archive's folder, with `/`: 92 characters at most, of [a-z0-9-./] only."""
    found = header.attributes
    folder = _series_folder(
        found["StudyDate"], header.study_uid, found["SeriesNumber"], found["Modality"], header.series_uid
    )
    return f"{folder}/{_number(found['InstanceNumber'], 6)}-{short_hash(header.sop_instance_uid, 16)}.dcm"


@lru_cache(maxsize=1024)
def _series_folder(date: str, study_uid: str, number: object, modality: str, series_uid: str) -> str:
    letters = "".join(c for c in str(modality).lower() if c in _LETTERS)[:10] or "x"
    study = f"{date or 'undated'}-{study_hash(study_uid)}"
    return f"{STUDIES}/{study}/{_number(number, 4)}-{letters}-{short_hash(series_uid, 12)}"


def lay_out(folder: Path) -> None:
    """Make the folders of an archive and prove that they can be written. Raises ArchiveError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for name in (STUDIES, INCOMING):
            (folder / name).mkdir(exist_ok=True, mode=FOLDER_MODE)
        probe = folder / INCOMING / f"probe-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            probe.write_bytes(bytes(65536))
        finally:
            probe.unlink(missing_ok=True)
        _write_format(folder)
    except OSError as error:
        raise ArchiveError(cannot_write(folder, error)) from error


def _write_format(folder: Path) -> None:
    path = folder / FORMAT
    if not path.exists():
        content = json.dumps({"format": FORMAT_VERSION, "made by": "pacskit"}) + "\n"
        system.replace_file(path, content.encode(), FILE_MODE)
        return
    try:
        version = int(json.loads(path.read_text())["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(
            f"{path} is not the format file of an archive: move it away, or take another folder"
        ) from error
    if version > FORMAT_VERSION:
        raise ArchiveError(
            f"the archive {folder} has format {version}: a newer pacskit made it, please update"
        )


def cannot_write(folder: Path | str, error: OSError) -> str:
    """What a person reads when the disk says no. The reason first: an Error Comment has 64 characters."""
    reason = error.strerror or str(error)
    return f"the archive cannot be written: {reason}. Check permissions and free space of {folder}"


def study_folder(relative: str) -> str:
    """The study folder's name in a relative path; empty for a file that is not ours to keep."""
    parts = relative.split("/")
    return parts[1] if len(parts) == 4 and parts[0] == STUDIES else ""


def make_folders(folder: Path, below: Path, safe: bool) -> None:
    """Make `folder` and what is missing between it and `below`, each name on the disk where `safe`."""
    missing = []
    while folder != below and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        make_folder(one, below)
        if safe:
            system.sync_folder(one.parent)


def append_line(path: Path, line: bytes, sync: bool) -> None:
    """Add a line to a file, which is made where it is missing. Raises OSError.

    What a power cut left half stays a line of its own.
    """
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        torn = size and system.read_at(descriptor, 1, size - 1) != b"\n"
        system.write_all(descriptor, [b"\n" + line if torn else line])
        if sync:
            system.sync_data(descriptor)
    finally:
        os.close(descriptor)
    if sync and not size:
        system.sync_folder(path.parent)


def walk_files(folder: Path, start: str = STUDIES) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(relative path with `/`, entry) of every file stored below `start`, in the order of their names."""
    pending = [start]
    while pending:
        relative = pending.pop()
        try:
            entries = sorted(os.scandir(folder / relative), key=lambda entry: entry.name, reverse=True)
        except FileNotFoundError:
            continue
        files = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{relative}/{entry.name}")
            elif entry.name.endswith(".dcm") and entry.is_file(follow_symlinks=False):
                files.append(entry)
        for entry in reversed(files):
            yield f"{relative}/{entry.name}", entry
