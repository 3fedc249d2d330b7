"""An archive for its owner alone becomes one that a group may read, or the other way round.

What is new is right from the start (access.py). What was there before is brought over once, in the
background: format.json remembers for whom the files are, so that no other start walks the archive.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pacskit import system
from pacskit.archive.access import ALONE, GROUP, create_file, modes_of
from pacskit.archive.files import ASIDE, DAMAGED, DIRTY, FORMAT, INCOMING, JOURNAL, STUDIES, SUMS, TRASH
from pacskit.archive.import_journal import IMPORTS
from pacskit.archive.place import NOTE
from pacskit.archive.stable import UNSTABLE
from pacskit.errors import ArchiveError

log = logging.getLogger(__name__)

FOLDERS = (STUDIES, INCOMING, DIRTY, ASIDE, TRASH, DAMAGED, SUMS)
FILES = (FORMAT, JOURNAL, NOTE, UNSTABLE, IMPORTS)
WALKED = (TRASH, STUDIES, ASIDE, SUMS, DAMAGED, INCOMING, DIRTY, TRASH)
"""The trash twice: files may be moved in and out meanwhile."""
TELL_SECONDS = 10.0
_REMEMBERED, _CHANGING = "group", "changing"


class Sharing:
    """The owner's. `start()` brings over what was there before; `close()` stops that until the next start."""

    def __init__(self, folder: Path, group: str | None) -> None:
        """The folders that new files are made in are right when this returns. Raises ArchiveError."""
        self._folder = folder
        self._modes = ALONE if group is None else GROUP
        self._gid = -1
        self._umask_hides = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed, self._first = 0, ""
        try:
            self._gid = -1 if group is None else system.group_number(group)
            wanted = None if group is None else self._gid
            self._changed = self._remembered() != wanted
            if group is None and (self._changed or modes_of(folder) is GROUP):
                folder.chmod(ALONE.folder)
            if group is not None or self._changed:
                self._open_or_close()
            if group is not None:
                self._umask_hides = self._is_hidden()
        except KeyError:
            raise ArchiveError(f"archive.group: there is no group {group} on this computer") from None
        except OSError as error:
            raise ArchiveError(self._refused(error)) from error
        if group is not None:
            self._look_above(folder)

    def create(self, path: str) -> int:
        """A new file for what is received, to write and read. Raises OSError."""
        return create_file(path, *self.new_files)

    @property
    def new_files(self) -> tuple[int, bool]:
        """How `create_file` makes them."""
        return self._modes.file, self._umask_hides

    def take_in(self, index: Path) -> None:
        """The index that SQLite has made or opened; its log and shared memory are read too.

        Raises ArchiveError.
        """
        if not self._changed and self._modes is ALONE:
            return
        try:
            if index.parent != self._folder:
                self._bring(index.parent)
                if self._modes is GROUP:
                    self._look_above(index.parent)
            for end in ("", "-wal", "-shm"):
                self._bring(index.with_name(index.name + end))
        except OSError as error:
            raise ArchiveError(self._refused(error)) from error

    def start(self) -> None:
        if self._changed:
            self._thread = threading.Thread(target=self._run, name="pacskit-sharing", daemon=True)
            self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Whether all files are brought over within so many seconds."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self._changed

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    # -- what is done at once

    def _open_or_close(self) -> None:
        """The folders of the archive, not what is in them."""
        if self._changed:
            self._remember(_CHANGING)
        for name in ("", *FOLDERS, *FILES):
            self._bring(os.path.realpath(self._folder / name))

    def _bring(self, path: Path | str) -> None:
        """Mode and group of one file or folder. A hard link's are also another file's, and stay."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        if not is_folder and (not stat.S_ISREG(status.st_mode) or status.st_nlink > 1):
            return
        mode = self._modes.folder if is_folder else self._modes.file
        try:
            if self._gid >= 0 and status.st_gid != self._gid:
                os.chown(path, -1, self._gid)
                status = os.lstat(path)
            if stat.S_IMODE(status.st_mode) != mode:
                os.chmod(path, mode)
        except FileNotFoundError:  # moved meanwhile: the walk meets it elsewhere, or has
            return

    def _is_hidden(self) -> bool:
        """Whether the umask takes the group's right away: then each new file needs a call more."""
        path = self._folder / INCOMING / f"probe-{os.urandom(6).hex()}"
        descriptor = create_file(str(path), self._modes.file, False)
        try:
            return stat.S_IMODE(os.fstat(descriptor).st_mode) != self._modes.file
        finally:
            os.close(descriptor)
            path.unlink()

    def _look_above(self, folder: Path) -> None:
        for above in folder.parents:
            status = above.stat()
            if not status.st_mode & 0o001 and not (status.st_mode & 0o010 and status.st_gid == self._gid):
                log.warning(
                    "archive.group: %s is closed to the group %s, who cannot reach %s in it",
                    above,
                    system.name_of_group(self._gid),
                    folder,
                )
                return

    def _refused(self, error: OSError) -> str:
        if self._gid < 0:
            return f"the archive {self._folder} cannot be made its owner's alone: {error}"
        why = error.strerror or str(error)
        if isinstance(error, PermissionError):
            why += ", or this user is not in that group (a new member has to log in again)"
        return f"the archive {self._folder} cannot be given to {system.name_of_group(self._gid)}: {why}"

    # -- what is remembered

    def _remembered(self) -> object:
        """The number of the group that all files are for; None: the owner alone."""
        return json.loads((self._folder / FORMAT).read_bytes()).get(_REMEMBERED)

    def _remember(self, value: object) -> None:
        path = self._folder / FORMAT
        content = json.loads(path.read_bytes())
        content[_REMEMBERED] = value
        system.replace_file(path, json.dumps(content).encode() + b"\n", self._modes.file)

    # -- what was there before

    def _run(self) -> None:
        system.lower_thread_priority()
        whom = f"the group {system.name_of_group(self._gid)}" if self._modes is GROUP else "its owner alone"
        log.info("the files of the archive become readable for %s", whom)
        count, told = 0, time.monotonic()
        for path in self._all():
            if self._closing.is_set():
                log.info("%d files are readable for %s; the next start begins again", count, whom)
                return
            try:
                self._bring(path)
            except OSError as error:
                self._failed += 1
                self._first = self._first or f"{path}: {error.strerror}"
            count += 1
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                log.info("%d files are readable for %s", count, whom)
        if self._failed:
            log.warning(
                "%d of %d files do not become readable for %s: %s", self._failed, count, whom, self._first
            )
            return
        try:
            self._remember(None if self._modes is ALONE else self._gid)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._folder / FORMAT, error.strerror)
            return
        self._changed = False
        log.info("all %d files of the archive are readable for %s", count, whom)

    def _all(self) -> Iterator[str]:
        """Each folder before what is in it: what is made in it from then on is right by itself."""
        pending = [str(self._folder / name) for name in reversed(WALKED)]
        while pending:
            folder = pending.pop()
            yield folder
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        else:
                            yield entry.path
            except OSError:  # gone meanwhile; one that cannot be read is told by whoever needs it
                continue
