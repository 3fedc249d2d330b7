"""When a study has been quiet for a while, it is said, once: it may be complete.

The studies not yet told stand in `unstable` in the archive's folder, so that a restart forgets none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pacskit import system
from pacskit.archive.access import file_mode, open_file
from pacskit.archive.uids import is_uid

log = logging.getLogger(__name__)

UNSTABLE = "unstable"


def unstable_studies(archive: Path) -> frozenset[str]:
    """Study Instance UIDs of which something came and that are not told as stable yet. Any process."""
    found: dict[str, None] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in (archive / UNSTABLE).read_text("ascii").split("\n")[:-1]:  # the last one may be torn
            sign, uid = line[:1], line[1:]
            if sign == "+" and is_uid(uid):
                found[uid] = None
            elif sign == "-":
                found.pop(uid, None)
    return frozenset(found)


class Quiet:
    """One thread for all studies, started by the first; without any, it waits and costs nothing.

    Time is the monotonic clock's: a computer whose clock is set tells nothing too early or never.
    """

    def __init__(self, archive: Path, after: float, stable: Callable[[str], None], safe: bool = True) -> None:
        """`stable` is called in the thread with a Study Instance UID, `after` seconds after its last row."""
        self._path, self._after, self._stable, self._safe = archive / UNSTABLE, after, stable, safe
        self._changed = threading.Condition()
        self._touched: dict[str, float] = {}
        """Study → when its last row came, the oldest first: each waits equally long."""
        self._held: set[str] = set()
        """Studies of which an import that still runs may bring more."""
        self._imports = 0
        self._noted = set(unstable_studies(archive))
        """What the file says."""
        self._descriptor = -1
        self._closing = False
        self._thread: threading.Thread | None = None
        if self._path.exists():
            self._write_anew()  # also without a torn end, to which the next line would be glued

    def start(self) -> None:
        """From now on who waited before a restart is counted anew."""
        with self._changed:
            self._start(self._noted)

    @property
    def after(self) -> float:
        """Seconds."""
        return self._after

    @after.setter
    def after(self, seconds: float) -> None:
        with self._changed:
            self._after = seconds
            self._changed.notify_all()

    def touch(self, study_uids: Iterable[str], imported: bool = False) -> None:
        """Rows of these studies were committed just now."""
        with self._changed:
            uids = [uid for uid in study_uids if is_uid(uid)]
            self._note([f"+{uid}" for uid in uids if uid not in self._noted])
            self._noted.update(uids)
            if imported and self._imports:
                self._held.update(uids)
                for uid in uids:
                    self._touched.pop(uid, None)
            else:
                self._start(uid for uid in uids if uid not in self._held)

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Nothing that an import brings is quiet before its end: files of one study may lie far apart."""
        with self._changed:
            self._imports += 1
        try:
            yield
        finally:
            with self._changed:
                self._imports -= 1
                if not self._imports:
                    held, self._held = self._held, set()
                    self._start(held)

    def close(self) -> None:
        """Who waits still is told after the next start. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._changed:
            self._close_file()

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _start(self, uids: Iterable[str]) -> None:
        now = time.monotonic()
        for uid in uids:
            self._touched.pop(uid, None)
            self._touched[uid] = now
        if self._touched and self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._run, name="pacskit-quiet", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while (uid := self._next()) is not None:
            try:
                self._stable(uid)
            except Exception:
                log.exception("a study could not be told as stable; it will be after the next start")
                continue
            with self._changed:
                if uid not in self._touched and uid not in self._held:  # nothing came meanwhile
                    self._noted.discard(uid)
                    self._note([f"-{uid}"])

    def _next(self) -> str | None:
        with self._changed:
            while not self._closing:
                uid = next(iter(self._touched), None)
                left = None if uid is None else self._touched[uid] + self._after - time.monotonic()
                if uid is not None and left is not None and left <= 0:
                    del self._touched[uid]
                    return uid
                self._changed.wait(left)
            return None

    # -- the file

    def _note(self, lines: list[str]) -> None:
        """A file that cannot be written must not stop the index: then a restart tells fewer studies."""
        if not lines:
            return
        try:
            if self._descriptor < 0:
                self._descriptor = open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if lines[0][0] == "-" and not self._noted:
                os.ftruncate(self._descriptor, 0)
                return
            os.write(self._descriptor, "".join(f"{line}\n" for line in lines).encode("ascii"))
            if self._safe and lines[0][0] == "+":
                system.sync_data(self._descriptor)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror or error)
        finally:
            if self._closing:  # the index still commits what waits
                self._close_file()

    def _write_anew(self) -> None:
        content = "".join(f"+{uid}\n" for uid in sorted(self._noted)).encode("ascii")
        try:
            system.replace_file(self._path, content, file_mode(self._path))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror or error)
