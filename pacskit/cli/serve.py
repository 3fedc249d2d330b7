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
from pacskit.settings import Layer, Settings, environment_layer
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
    if not Settings.resolve([environment_layer(), *given]).listener.enabled:
        given.append(Layer("nothing else is enabled", {"listener": {"enabled": True}}))
    stop = threading.Event()

    def on_signal(number: int, frame: types.FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    logging.captureWarnings(True)
    with Station(layers=given) as station:
        status = station.listener.status
        if not status.running:
            sys.stderr.write(f"pacskit: DICOM Listener: {status.error}\n")
            raise typer.Exit(1)
        ready = {
            "service": "listener",
            "host": status.host,
            "port": status.port,
            "ae_title": station.settings.listener.ae_title,
        }
        if json_lines:
            sys.stdout.write(json.dumps(ready) + "\n")
        else:
            sys.stdout.write(
                f"DICOM Listener {ready['ae_title']} at {status.host}:{status.port}, "
                f"archive {station.archive.folder}. Ctrl+C ends it.\n"
            )
        sys.stdout.flush()
        stop.wait()


def register(app: typer.Typer) -> None:
    app.command()(serve)
