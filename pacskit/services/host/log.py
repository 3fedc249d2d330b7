"""The log of a station without a terminal: a rotating file for its user alone, without patients."""

from __future__ import annotations

import copy
import logging
import os
import traceback
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from pacskit.archive.files import FILE_MODE
from pacskit.errors import PacskitError

FORMAT = "%(asctime)s %(levelname)s %(message)s"
FILES, BYTES = 5, 1_000_000


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


class _Handler(RotatingFileHandler):
    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def rotating(path: Path) -> logging.Handler:
    """5 files of 1 MB. Raises OSError."""
    handler = _Handler(path, maxBytes=BYTES, backupCount=FILES - 1)
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
