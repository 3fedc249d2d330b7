"""Where things stand in an archive's folder. Paths are short, hold no names, follow from the header.

studies/<date>-<hash of study>/<series number>-<modality>-<hash of series>/<instance number>-<hash>.dcm
incoming/       instances being received
index.sqlite    a cache: `rebuild()` makes it again from the files
owner.lock      whose archive it is now
format.json     the version of this layout
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from pacskit.archive.header import Header
from pacskit.errors import ArchiveError

STUDIES, INCOMING, INDEX, LOCK, FORMAT = "studies", "incoming", "index.sqlite", "owner.lock", "format.json"
FORMAT_VERSION = 1
FOLDER_MODE, FILE_MODE = 0o700, 0o600
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def _hash(uid: str, length: int) -> str:
    """Lower-case base32 (safe where file names fold case); 12 characters are 60 bits."""
    return base64.b32encode(hashlib.sha256(uid.encode()).digest()).decode("ascii").lower()[:length]


def _number(value: object, digits: int) -> str:
    """Digits that sort; x where the header has no number or one that does not fit."""
    if isinstance(value, int) and 0 <= value < 10**digits:
        return f"{value:0{digits}d}"
    return "x" * digits


def relative_path(header: Header) -> str:
    """Path below the archive's folder, with `/`: 92 characters at most, of [a-z0-9-./] only."""
    found = header.attributes
    modality = "".join(c for c in str(found["Modality"]).lower() if c in _LETTERS)[:10] or "x"
    return "/".join(
        (
            STUDIES,
            f"{found['StudyDate'] or 'undated'}-{_hash(header.study_uid, 12)}",
            f"{_number(found['SeriesNumber'], 4)}-{modality}-{_hash(header.series_uid, 12)}",
            f"{_number(found['InstanceNumber'], 6)}-{_hash(header.sop_instance_uid, 16)}.dcm",
        )
    )


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
        draft = folder / INCOMING / f"format-{os.urandom(4).hex()}"
        draft.write_text(json.dumps({"format": FORMAT_VERSION, "made by": "pacskit"}) + "\n")
        draft.replace(path)
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


def cannot_write(folder: Path, error: OSError) -> str:
    """What a person reads when the disk says no."""
    reason = error.strerror or str(error)
    return f"the archive {folder} cannot be written: {reason}. Check its permissions and its disk's space"


def walk_files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(relative path with `/`, entry) of every file stored, in the order of their names."""
    pending = [STUDIES]
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
