"""The process of its own: a station without a terminal, until it is told to end, or nobody needs it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from pacskit.errors import PacskitError, ServiceError
from pacskit.services.host import places, plain
from pacskit.services.host.log import rotating
from pacskit.services.host.spawn import LONGEST_BOOT
from pacskit.settings import Layer
from pacskit.station.station import Station

log = logging.getLogger(__name__)

FIRST_PATIENCE = 60.0
"""Seconds until somebody attaches to a station that is to end with its last notebook."""
AGAIN_PATIENCE = 1.0
"""Seconds until somebody comes again: a cell that is run a second time leaves and comes."""


def run() -> int:
    """Take `boot` from standard input, say ready or why not on standard output, run. The exit code."""
    # Warnings before the log is there go to standard error, which the starter reads.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    logging.captureWarnings(True)
    for name in ("SIGHUP", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        boot = json.loads(sys.stdin.buffer.read(LONGEST_BOOT))
        layers = [Layer(source, values) for source, values in boot["layers"]]
        station = Station(layers=layers, attach=False, **boot["code"])
    except PacskitError as error:
        _say(plain.error(error))
        return 1
    with station:
        try:
            log_folder = places.log_folder(station.archive.folder)
            handler = rotating(log_folder / places.LOG)
            owner = station.owner
            if owner.control is None:
                raise ServiceError(owner.unreachable)
        except (PacskitError, OSError) as error:
            failure = error if isinstance(error, PacskitError) else ServiceError(f"no log: {error}")
            _say(plain.error(failure))
            return 1
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.INFO)
        company = _Company(station, lasting=bool(boot["lasting"]))
        owner.answers.left = company.count
        owner.hosted("background", company.end, log_folder / places.LOG)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=company.end).start())
        log.info("process %d runs the station of %s", os.getpid(), station.archive.folder)
        _say({"ready": True})
        company.wait()
        log.info("the station ends")
    log.info("the station has ended")
    return 0


class _Company:
    """Whether anybody is there, or need not be."""

    def __init__(self, station: Station, *, lasting: bool) -> None:
        self._station, self._lasting = station, lasting
        self._changed = threading.Condition()
        self._clients = 0
        self._came = self._ended = False

    def count(self, clients: int) -> None:
        """Called when a client came or left."""
        with self._changed:
            self._clients = clients
            self._came |= clients > 0
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Until it is told to end, or nobody needs it."""
        with self._changed:
            while not self._ended:
                patience = None if self._needed() else (AGAIN_PATIENCE if self._came else FIRST_PATIENCE)
                if not self._changed.wait(patience) and not self._needed():
                    log.info("the last notebook has left")
                    return

    def _needed(self) -> bool:
        return self._lasting or self._clients > 0 or self._station.settings.station.keep_running


def _say(message: Mapping[str, Any]) -> None:
    """The one line for the starter; standard input and output are nothing from then on."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)
