"""Which files an import is about: folders recursed, DICOMDIRs followed, in batches of one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from pacskit.archive.import_journal import Entry, ImportJournal
from pacskit.archive.import_report import Kind

BATCH = 64
"""Files of one folder that one worker takes at once."""

Skip = Callable[[Path, Kind, str], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of one folder (an absolute path)."""

    folder: str
    names: list[str]
    before: dict[str, Entry]
    """What the journal says of the folder's files, by name."""


class Walk:
    """Iterated once, by one thread."""

    def __init__(self, paths: Iterable[Path | str], own: Path, journal: ImportJournal, skip: Skip) -> None:
        self._paths = [Path(os.path.abspath(Path(path).expanduser())) for path in paths]
        self._skip, self._journal = skip, journal
        status = os.stat(own)
        self._own, self._own_folder = (status.st_dev, status.st_ino), own.resolve()
        self._journalled = frozenset(journal.folders())
        self._last: tuple[str, dict[str, Entry]] = ("", {})

    def __iter__(self) -> Iterator[Batch]:
        for path in self._paths:
            if not os.path.lexists(path):
                self._skip(path, "missing", "there is no such file or folder")
            elif path.is_dir():
                yield from self._below(path)
            elif self._own_folder in path.resolve().parents:
                self._skip(path, "refused", "it lies in this archive itself")
            elif path.name.upper() == "DICOMDIR":
                yield from self._listed(path)
            else:
                yield from self._batches(str(path.parent), [path.name])

    def _batches(self, folder: str, names: Sequence[str]) -> Iterator[Batch]:
        before = self._before(folder)
        for start in range(0, len(names), BATCH):
            yield Batch(folder, list(names[start : start + BATCH]), before)

    def _before(self, folder: str) -> dict[str, Entry]:
        if self._last[0] != folder:
            self._last = (folder, self._journal.of(folder) if folder in self._journalled else {})
        return self._last[1]

    def _tell_gone(self, folder: str, there: Iterable[str]) -> None:
        """Files imported in place before, and no longer there."""
        names = set(there)
        for name, entry in self._before(folder).items():
            if entry.how == "in-place" and name not in names:
                self._skip(Path(folder, name), "gone", "it was imported in place and is no longer there")

    def _below(self, root: Path) -> Iterator[Batch]:
        """Links to folders are not followed: they may lead in circles."""
        pending = [str(root)]
        seen: set[str] = set()
        while pending:
            folder = pending.pop()
            try:
                if self._is_own(folder):
                    continue
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda entry: entry.name)
            except OSError as error:
                self._skip(Path(folder), "unreadable", f"it cannot be read: {error.strerror or error}")
                continue
            seen.add(folder)
            folders: list[str] = []
            names: list[str] = []
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    self._skip(
                        Path(entry.path), "not followed", "it is a link to a folder: give the folder itself"
                    )
                elif entry.name.upper() == "DICOMDIR":
                    self._missing(Path(entry.path))
                else:
                    names.append(entry.name)
            pending += reversed(folders)
            self._tell_gone(folder, names)
            yield from self._batches(folder, names)
        inside = os.path.join(root, "")
        for folder in sorted(self._journalled - seen):
            if folder.startswith(inside) and not os.path.isdir(folder):
                self._tell_gone(folder, ())

    def _is_own(self, folder: str) -> bool:
        status = os.stat(folder)
        return (status.st_dev, status.st_ino) == self._own

    def _listed(self, path: Path) -> Iterator[Batch]:
        """The files a DICOMDIR names."""
        folders: dict[str, list[str]] = {}
        for found in self._records(path):
            folders.setdefault(str(found.parent), []).append(found.name)
        for folder, names in folders.items():
            yield from self._batches(folder, names)

    def _missing(self, path: Path) -> None:
        """A DICOMDIR met in a folder: its files are met there as well, those that are not are told."""
        for _ in self._records(path):
            pass

    def _records(self, path: Path) -> Iterator[Path]:
        """Files that records of a DICOMDIR name (PS3.3 F.3.2.2, PS3.10 8.2) and that are there."""
        try:
            records = dcmread(path, force=True).get("DirectoryRecordSequence")
            names = [_components(record.get("ReferencedFileID")) for record in records or ()]
        except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a damaged file
            self._skip(path, "unreadable", f"the DICOMDIR cannot be read: {error}")
            return
        if records is None:
            self._skip(path, "not DICOM", "it is named DICOMDIR and holds no directory of files")
            return
        listings: dict[Path, dict[str, str]] = {}
        for components in dict.fromkeys(filter(None, names)):
            if any(part in (".", "..") or set(part) & set("/\\:\0") for part in components):
                self._skip(path, "refused", f"it names a file outside of its folder: {'/'.join(components)}")
                continue
            found = _find(path.parent, components, listings)
            if found is None:
                named = path.parent.joinpath(*components)
                self._skip(named, "missing", "the DICOMDIR names this file, and it is not there")
            else:
                yield found


def _components(file_id: object) -> tuple[str, ...]:
    """Referenced File ID (0004,1500): one or several components; empty where there is none."""
    if file_id is None or file_id == "":
        return ()
    parts = [file_id] if isinstance(file_id, str) else list(file_id)  # type: ignore[call-overload]
    return tuple(str(part) for part in parts)


def _find(folder: Path, components: tuple[str, ...], listings: dict[Path, dict[str, str]]) -> Path | None:
    """The file, also where its disc was mounted with names in small letters or with versions (`;1`)."""
    for number, part in enumerate(components, 1):
        if folder not in listings:
            try:
                listings[folder] = {_plain(name): name for name in sorted(os.listdir(folder))}
            except OSError:
                listings[folder] = {}
        there = listings[folder].get(_plain(part))
        if there is None:
            return None
        folder = folder / there
        if number < len(components) and not folder.is_dir():
            return None
    return folder if folder.is_file() else None


def _plain(name: str) -> str:
    return name.upper().partition(";")[0].rstrip(".")
