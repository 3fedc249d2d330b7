"""`pacskit serve`: the services without a notebook, until SIGINT or SIGTERM."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import types
from typing import Annotated

import typer

from pacskit.cli.options import ArchiveOption, JsonOption, SetOption, layers
from pacskit.settings import SECTIONS, SERVICES, Layer
from pacskit.settings.stack import SettingsStack
from pacskit.station import Station

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def serve(
    archive: ArchiveOption = None,
    settings: SetOption = None,
    json_lines: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log problems only.")] = False,
) -> None:
    """Run what is enabled; where nothing is enabled, the DICOM Listener. Until SIGINT or SIGTERM."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING if quiet else logging.INFO, format=LOG_FORMAT
    )
    given = layers(settings, archive)
    known = SettingsStack(layers=given).settings
    if not any(known.section(name).enabled for name in SERVICES):
        given.append(Layer("nothing else is enabled", {"listener": {"enabled": True}}))
    stop = threading.Event()

    def on_signal(number: int, frame: types.FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    logging.captureWarnings(True)
    with Station(layers=given) as station:
        running = [name for name, slot in station.slots.items() if slot.status.running]
        for name in running:
            _ready(station, name, json_lines)
        if not running:
            sys.stderr.write("pacskit: no service could start\n")
            raise typer.Exit(1)
        stop.wait()


def _ready(station: Station, name: str, json_lines: bool) -> None:
    """One line as a service is ready."""
    slot = station.slots[name]
    status, title = slot.status, getattr(slot.settings, "ae_title", None)
    if json_lines:
        ready = {"service": name, "host": status.host, "port": status.port}
        if title:
            ready["ae_title"] = title
        sys.stdout.write(json.dumps(ready) + "\n")
    else:
        sys.stdout.write(
            f"{SECTIONS[name].label}{f' {title}' if title else ''} at {status.host}:{status.port}, "
            f"archive {station.archive.folder}. Ctrl+C ends it.\n"
        )
    sys.stdout.flush()


def register(app: typer.Typer) -> None:
    app.command()(serve)
