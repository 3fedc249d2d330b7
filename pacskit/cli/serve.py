"""`pacskit serve`: the services without a notebook, until SIGINT or SIGTERM; or in the background."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pacskit import system
from pacskit.cli import background
from pacskit.cli.options import ArchiveOption, JsonOption, SetOption, archive_folder, layers
from pacskit.events import SettingsChanged
from pacskit.settings import SECTIONS, SERVICES, Layer
from pacskit.settings.stack import SettingsStack
from pacskit.station import Station, hosting
from pacskit.station.core import AnySlot

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"

log = logging.getLogger(__name__)


def serve(
    archive: ArchiveOption = None,
    settings: SetOption = None,
    json_lines: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log problems only.")] = False,
    in_background: Annotated[
        bool, typer.Option("--background", help="In a process of its own, until pacskit stop.")
    ] = False,
    host_control: Annotated[bool, typer.Option("--host-control", hidden=True)] = False,
) -> None:
    """Run what is enabled; where nothing is enabled, the DICOM Listener. Until SIGINT or SIGTERM."""
    system.one_heap()
    if host_control:
        raise typer.Exit(hosting.run())
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING if quiet else logging.INFO, format=LOG_FORMAT
    )
    warnings.formatwarning = _sentence
    logging.captureWarnings(True)
    given = layers(settings, archive)
    known = SettingsStack(layers=given).settings
    if not any(known.section(name).enabled for name in SERVICES):
        given.append(Layer("nothing else is enabled", {"listener": {"enabled": True}}))
    if in_background:
        folder = archive_folder(archive)
        with background.started(given, folder) as attached:
            if not _all_ready(attached.slots, folder, json_lines, "pacskit stop ends it."):
                attached.shut_down(background.PATIENCE)
                raise typer.Exit(1)
        return
    stop = threading.Event()

    def on_signal(number: int, frame: types.FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    with Station(layers=given, attach=False) as station:
        station.owner.hosted("serve", stop.set)
        if not _all_ready(station.slots, station.archive.folder, json_lines, "Ctrl+C ends it."):
            raise typer.Exit(1)
        _log_settings(station)
        while not stop.wait(1.0):
            pass  # a signal that the system hands to another thread does not wake one that waits for ever


def _sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as a line of the log: where in the code it was made helps nobody."""
    return str(message)


def _log_settings(station: Station) -> None:
    """Nobody looks at `station.problems` and `station.troubles` of a server."""
    told = set(station.problems)

    def changed(event: SettingsChanged) -> None:
        if event.error:
            log.warning("%s", event.error)
        elif event.sections:
            log.info("settings are followed: %s", ", ".join(sorted(event.sections)))
        problems = station.problems
        for problem in problems:
            if problem not in told:
                log.warning("%s", problem)
        told.clear()
        told.update(problems)

    station.events.subscribe(SettingsChanged, changed)


def _all_ready(slots: Mapping[str, AnySlot], folder: Path, json_lines: bool, end: str) -> bool:
    """A line for each service that runs; False where there is none, which is said."""
    running = [name for name, slot in slots.items() if slot.status.running]
    for name in running:
        _ready(name, slots[name], folder, json_lines, end)
    if not running:
        sys.stderr.write("pacskit: no service could start\n")
    return bool(running)


def _ready(name: str, slot: AnySlot, folder: Path, json_lines: bool, end: str) -> None:
    status, title = slot.status, getattr(slot.settings, "ae_title", None)
    if json_lines:
        ready = {"service": name, "host": status.host, "port": status.port}
        if title:
            ready["ae_title"] = title
        sys.stdout.write(json.dumps(ready) + "\n")
    else:
        sys.stdout.write(
            f"{SECTIONS[name].label}{f' {title}' if title else ''} at {status.host}:{status.port}, "
            f"archive {folder}. {end}\n"
        )
    sys.stdout.flush()


def register(app: typer.Typer) -> None:
    app.command()(serve)
