"""Scanner: acquires phantom studies and sends them, each time a new study."""

from __future__ import annotations

import datetime as dt
import itertools
import sys
import time
from typing import Literal

from pacskit.certificates import Handshakes
from pacskit.dimse.client import Response, echo
from pacskit.dimse.send import InMemory, SendReport, send
from pacskit.errors import ServiceError
from pacskit.peers import PeerAddress
from pacskit.simulator.phantoms import STUDIES
from pacskit.station import Station

Kind = Literal["ct", "mr", "us"]


class Scanner:
    """A simulated scanner that knows one station.

    `target`: a Station, `AET@HOST:PORT`, or a PeerAddress. With `tls` (`Handshakes.client(...)`) it calls
    the station's Secure DICOM Listener.
    """

    def __init__(
        self,
        target: Station | PeerAddress | str,
        *,
        ae_title: str = "SCANNER",
        tls: Handshakes | None = None,
    ) -> None:
        self._target, self._tls = target, tls
        self.ae_title = ae_title
        self._numbers = itertools.count(1)

    @property
    def peer(self) -> PeerAddress:
        """Where it sends to; a station's address is looked up each time, since its port may change."""
        if isinstance(self._target, PeerAddress):
            return self._target
        if isinstance(self._target, str):
            return PeerAddress.parse(self._target)
        slot, name = self._target.listener, "DICOM Listener is not running: station.listener.start()"
        if self._tls is not None:
            slot = self._target.secure_listener
            name = "Secure DICOM Listener is not running: station.secure_listener.start()"
        status = slot.status
        if not status.running:
            raise ServiceError(f"the station's {name}")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(status.host, status.host)
        return PeerAddress(slot.settings.ae_title, host, status.port)

    def echo(self) -> Response:
        """C-ECHO: is the station there, and does it know us? Raises AssociationError with the reason."""
        return echo(self.peer, calling_ae=self.ae_title, tls=self._tls)

    def send(self, kind: Kind = "ct", *, progress: bool = True, **options: object) -> SendReport:
        """Acquire one phantom study (`ct`, `mr` or `us`) and send it; `options` go to the phantom.

        Each call is a new study. Progress is a line that is overwritten; it names no patient.
        """
        if kind not in STUDIES:
            raise ValueError(f"there is no phantom {kind!r}: take one of {', '.join(STUDIES)}")
        options.setdefault("study_datetime", dt.datetime.now())
        options.setdefault("seed", next(self._numbers))
        line = _Line(f"{kind.upper()} phantom to {self.peer}") if progress else None
        datasets = STUDIES[kind](**options)
        report = send(
            self.peer,
            (InMemory.of(dataset) for dataset in datasets),
            calling_ae=self.ae_title,
            progress=line.show if line else None,
            tls=self._tls,
        )
        if line:
            line.end(report)
        return report


class _Line:
    """One line of progress, at most ten times a second."""

    def __init__(self, what: str) -> None:
        self._what, self._shown, self._width = what, 0.0, 0
        self._write("acquiring ...")

    def show(self, report: SendReport) -> None:
        if time.monotonic() - self._shown >= 0.1:
            self._shown = time.monotonic()
            self._write(str(report))

    def end(self, report: SendReport) -> None:
        self._write(str(report) + "\n")

    def _write(self, text: str) -> None:
        self._width = max(self._width, len(text))
        sys.stdout.write(f"\r{self._what}: {text.ljust(self._width)}")
        sys.stdout.flush()
