"""The log of a station without a terminal: a rotating file for its user alone, without patients."""

from __future__ import annotations

import copy
import logging
import os
import threading
import traceback
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from pacskit.archive.files import FILE_MODE
from pacskit.errors import PacskitError

FORMAT = "%(asctime)s %(levelname)s %(message)s"
FILES, BYTES = 5, 1_000_000
PATIENCE = 1.0
"""Seconds for the disk to take a line; then nobody waits for it until it has taken all."""
WAITING = 10_000
"""Lines kept for a disk that hangs; the oldest go first."""


class PrivateFormatter(logging.Formatter):
    """Tracebacks without the words of errors that are not ours: those may quote a data set."""

    def format(self, record: logging.LogRecord) -> str:
        own = copy.copy(record)
        own.exc_text = None  # what another formatter made of it, with all its words
        return super().format(own)

    def formatException(self, ei: Any) -> str:
        _, error, trace = ei
        lines = traceback.format_list(traceback.extract_tb(trace))
        while error is not None:
            says = f": {error}" if isinstance(error, PacskitError | OSError) else ""
            lines.append(f"{type(error).__name__}{says}\n")
            error = error.__cause__
        return "".join(lines).rstrip()


class _File(RotatingFileHandler):
    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


class _Handler(logging.Handler):
    """One thread writes. Who logs waits for his line, but not for a disk that hangs (a network drive)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = _File(path, maxBytes=BYTES, backupCount=FILES - 1)
        self._changed = threading.Condition()
        self._lines: deque[str] = deque(maxlen=WAITING)
        self._writing = self._hangs = self._closing = False
        self._thread = threading.Thread(target=self._write, name="pacskit-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)
            return
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()
            if not self._hangs:
                self._hangs = not self._changed.wait_for(self._is_written, PATIENCE)

    def close(self) -> None:
        """What waits is written, where the disk takes it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)
        super().close()

    def _is_written(self) -> bool:
        return not self._lines and not self._writing

    def _write(self) -> None:
        while (line := self._next()) is not None:
            self._file.emit(logging.makeLogRecord({"msg": line}))
        self._file.close()

    def _next(self) -> str | None:
        with self._changed:
            self._writing = False
            self._hangs &= bool(self._lines)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines or self._closing)
            if not self._lines:
                return None
            self._writing = True
            return self._lines.popleft()


def rotating(path: Path) -> logging.Handler:
    """5 files of 1 MB. Raises OSError."""
    handler = _Handler(path)
    handler.setFormatter(PrivateFormatter(FORMAT))
    return handler


def tail(path: Path, count: int) -> list[str]:
    """The last lines, oldest first, also of the file before; none where there is no log."""
    lines: deque[str] = deque(maxlen=max(count, 0))
    for name in (f"{path}.1", path):
        try:
            with open(name, encoding="utf-8", errors="replace") as stream:
                lines.extend(line.rstrip("\n") for line in stream)
        except OSError:
            continue
    return list(lines)
