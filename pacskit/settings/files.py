"""Settings files: reading them whatever they hold, writing them so that nothing is lost.

A change touches the fields it means and no others, under a lock, and replaces the file in one step.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacskit import system
from pacskit.errors import NotSaved
from pacskit.settings import migration, values
from pacskit.settings.document import LONGEST, Document
from pacskit.settings.layers import SITE, USER, Layer, Problem, Source
from pacskit.settings.models import DicomSection
from pacskit.settings.places import default_folder, site_path, user_path

__all__ = ["Changes", "Content", "SettingsFile", "default_folder", "site_path", "user_path"]

_NO_TEXT = "it is not text in UTF-8, so it is no settings file; save it as UTF-8, or move it away"
LOCK_PATIENCE = 10.0
"""Seconds to wait for another process that saves."""

Changes = Mapping[str, Mapping[str, Any]]
"""section → field → TOML value; None takes it out."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a settings file said when it was read."""

    layer: Layer
    problems: tuple[Problem, ...]
    stamp: tuple[int, ...]
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All its sections, of the site's also those that are not shared."""
    gone: bool = False
    """The file was there, and is no longer."""


class SettingsFile:
    """One file; `source` is USER or SITE."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self.mode = 0o600 if source == USER else 0o644
        """A user's file may hold a password's hash or a token; all users read the site's."""

    def stamp(self) -> tuple[int, ...]:
        """Differs after every change; empty where there is no file."""
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode

    def read(self) -> Content:
        """Never raises: what cannot be read is a Problem, the rest still counts."""
        stamp = self.stamp()
        try:
            text, status = self._text()
        except FileNotFoundError:
            return Content(Layer(self.source, {}, False, self.path), (), ())
        except (OSError, ValueError) as error:
            return Content(Layer(self.source, {}, False, self.path), (self._problem(_why(error)),), stamp)
        document = Document.parse(text)
        problems = [
            self._problem(f"{fault.sentence}; this part is not used", fault.section, fault.line)
            for fault in document.faults
        ]
        if (owner := self._foreign(status)) and self.source == USER:
            problems.append(
                self._problem(f"it belongs to {owner}, so it is not changed here", effect="ignored")
            )
        if not text.strip():
            problems.append(self._problem("it is empty, so nothing is set in it", effect="ignored"))
        stored, line, newer = self._migrated(document, problems)
        layer = Layer(self.source, self.counting(stored), False, self.path, line, newer)
        return Content(layer, tuple(problems), stamp, stored)

    def counting(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The sections that count: of the site's only those that are shared."""
        return {n: v for n, v in stored.items() if self.source != SITE or _is_shared(v)}

    def change(self, changes: Changes) -> None:
        """Set and take out these fields and nothing else. Raises NotSaved; the file is then as it was."""
        if any(changes.values()):
            self._write(changes)

    def check(self, changes: Changes) -> None:
        """What `change` would say, as far as that is known before. Raises NotSaved; nothing is written."""
        if any(changes.values()):
            try:
                self._prepared(changes)
            except (OSError, ValueError) as error:
                raise self._not_saved(error) from error

    def create(self) -> None:
        """An empty file where there is none, for an editor to open. Raises NotSaved."""
        if not self.stamp():
            self._write({})

    def writable(self) -> bool:
        """Whether this user can write the file: tried, by a file beside it that is taken away again."""
        made: list[Path] = []
        try:
            status, target = self._status(), self._target()
            self._make_folder(target.parent, made)
            descriptor, trial = tempfile.mkstemp(
                prefix=f".{target.name}.", suffix=system.TEMPORARY, dir=target.parent
            )
            os.close(descriptor)
            Path(trial).unlink(missing_ok=True)
            if status is not None:
                os.close(os.open(target, os.O_WRONLY | system.BINARY))
                return not self._foreign(status)
        except (OSError, ValueError):
            return False
        finally:
            for folder in reversed(made):
                with suppress(OSError):  # somebody else put something there meanwhile
                    folder.rmdir()
        return True

    def _write(self, changes: Changes) -> None:
        try:
            self._status()
            target = self._target()
            self._make_folder(target.parent, [])
            with self._lock(target):
                system.remove_leftovers(target)
                self._change(target, changes)
        except (OSError, ValueError) as error:
            raise self._not_saved(error) from error

    def _not_saved(self, error: OSError | ValueError) -> NotSaved:
        return NotSaved(f"{self.path} is not saved: {_why(error)}")

    def _target(self) -> Path:
        """What a link leads to: the link stays."""
        return Path(os.path.realpath(self.path))

    def _status(self) -> os.stat_result | None:
        """None where there is no file yet. Raises OSError, ValueError for what is none."""
        try:
            return _checked(self.path.stat())
        except FileNotFoundError:
            return None

    def _make_folder(self, folder: Path, made: list[Path]) -> None:
        """With the folders above it, whatever the umask; `made` gets those that were missing."""
        mode = 0o700 if self.source == USER else 0o755
        for missing in reversed([folder, *folder.parents]):
            if not missing.exists():
                with suppress(FileExistsError):
                    missing.mkdir(mode=mode)
                    made.append(missing)
                    missing.chmod(mode)

    def _text(self) -> tuple[str, os.stat_result]:
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | system.BINARY)
        with os.fdopen(descriptor, "rb") as stream:
            status = _checked(os.fstat(descriptor))
            content = stream.read(LONGEST + 1)
        if len(content) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} bytes, so it is no settings file")
        if b"\0" in content:
            raise ValueError(_NO_TEXT)
        return content.decode("utf-8-sig"), status

    def _migrated(self, document: Document, problems: list[Problem]) -> tuple[dict[str, Any], Any, bool]:
        found = dict(document.values)
        try:
            newer = migration.schema_of(found) > migration.SCHEMA
        except ValueError as error:
            problems.append(self._problem(str(error), line=document.line("schema")))
            newer = False
            del found["schema"]
        if newer:
            sentence = (
                f"a newer pacskit wrote it (schema {found['schema']}, this one knows {migration.SCHEMA}); "
                "what is understood is used, and nothing is written to it"
            )
            problems.append(self._problem(sentence, effect="ignored"))
        steps = migration.moves(found)
        found = migration.moved(found, steps)
        found.pop("schema", None)
        former: dict[tuple[str, ...], tuple[str, ...]] = {}
        for old, new in (map(_pair, step) for step in steps):
            if not document.line(*new):
                former[new] = former.pop(old, old)

        def line(section: str, name: str = "") -> int:
            return document.line(*former.get((section, name), (section, name)))

        return found, line, newer

    def _prepared(self, changes: Changes) -> tuple[bytes, os.stat_result | None]:
        """The content after these changes. Raises ValueError or OSError where the file must stay as it is."""
        text, status = "", self._status()
        if status is not None:
            text, status = self._text()
            if owner := self._foreign(status):
                raise ValueError(f"it belongs to {owner}; ask them, or use a PACSKIT_HOME of your own")
            if not status.st_mode & 0o200:
                raise ValueError("it is read-only; allow writing, if it is meant to change")
        document = Document.parse(text)
        if migration.schema_of(document.values) > migration.SCHEMA:
            raise ValueError("a newer pacskit wrote it, and this one could do harm: use the newer one")
        for old, new in migration.moves(document.values):
            before, after = _pair(old), _pair(new)
            value = document.values[before[0]][before[1]]
            document = Document.parse(document.changed(before[0], {before[1]: None}))
            if after[1] not in document.values.get(after[0], {}):
                document = Document.parse(document.changed(after[0], {after[1]: value}))
        for section, fields in changes.items():
            if fields:
                document = Document.parse(document.changed(section, fields))
        if document.values.get("schema") != migration.SCHEMA:
            document = Document.parse(document.changed("", {"schema": migration.SCHEMA}))
        if len(content := document.text.encode()) > LONGEST:
            raise ValueError(f"it would have {len(content)} bytes, more than the {LONGEST} that are read")
        return content, status

    def _change(self, target: Path, changes: Changes) -> None:
        content, status = self._prepared(changes)
        mode = self.mode if status is None else stat.S_IMODE(status.st_mode)
        if self.source == USER:
            mode = 0o600
        system.replace_file(target, content, mode, status if _is_root() else None)

    @contextmanager
    def _lock(self, target: Path) -> Iterator[None]:
        path = target.with_name(f".{target.name}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | system.BINARY, 0o600)
        try:
            deadline = time.monotonic() + LOCK_PATIENCE
            pause = threading.Event()
            while not system.try_lock(descriptor):  # a lock that waits cannot be given up again
                if time.monotonic() > deadline:
                    raise ValueError("another process has been saving it for too long")
                pause.wait(0.01)
            try:
                yield
            finally:
                system.unlock(descriptor)
        finally:
            os.close(descriptor)

    def _foreign(self, status: os.stat_result) -> str:
        """The owner's name where it is somebody else's file; root may do all."""
        if not hasattr(os, "geteuid") or _is_root() or status.st_uid == os.geteuid():
            return ""
        return system.name_of_user(status.st_uid)

    def _problem(self, sentence: str, key: str = "", line: int = 0, effect: Any = "blocks") -> Problem:
        return Problem(key, sentence, Source(self.source, self.path, line), effect, key)


def _pair(key: str) -> tuple[str, str]:
    section, _, name = key.partition(".")
    return section, name


def _is_shared(fields: Any) -> bool:
    """A word that is neither true nor false is found wrong later on: until then the section counts."""
    if not isinstance(fields, Mapping):
        return True
    try:
        return bool(values.validated(DicomSection, "shared", fields.get("shared", False)))
    except ValueError:
        return True


def _checked(status: os.stat_result) -> os.stat_result:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file; move it away")
    return status


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return _NO_TEXT
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a file; move it away"
    if isinstance(error, NotADirectoryError):
        return "what should be its folder is a file; move that away"
    if isinstance(error, PermissionError):
        return "you are not permitted to; its owner or an administrator is"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
