"""`pacskit status | stop`, and what `pacskit serve --background` starts: a station without a terminal."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from pacskit.cli.options import ArchiveOption, JsonOption, archive_folder
from pacskit.errors import ArchiveOwned, ServiceError
from pacskit.events import EventBus
from pacskit.services.host.client import Channel
from pacskit.settings import SECTIONS, Layer
from pacskit.station import background
from pacskit.station.attached import Attached
from pacskit.station.metrics import of_plain

PATIENCE = 60.0
"""Seconds for a station to end: what runs gets some time for that."""
WHO = {"kernel": "in a notebook or script", "serve": "by pacskit serve", "background": "in the background"}


@contextmanager
def started(given: Sequence[Layer], folder: Path) -> Iterator[Attached]:
    """The background station, started where none runs; what failed is said. Raises as `background.start`."""
    code = {"archive": {"folder": folder}}
    boot = background.boot(code, given, lasting=True)
    found, is_new = background.start(folder, boot, EventBus())
    try:
        if not is_new:
            about = found.background
            if about.run_in == "kernel":
                raise ArchiveOwned(
                    f"the archive {folder} is in use by a notebook or script (process {about.pid}): "
                    'close it there, or run it there with station={"run_in": "background"}'
                )
            sys.stderr.write(f"pacskit: it runs already, in process {about.pid}\n")
            asked = [layer.values for layer in given] + [{"station": {"keep_running": True}}]
            for sentence in filter(None, map(found.adopt, asked)):
                sys.stderr.write(f"pacskit: {sentence}\n")
        wrong = [slot.status.error for slot in found.slots.values() if slot.status.error]
        for sentence in [*found.problems, *wrong]:
            sys.stderr.write(f"pacskit: {sentence}\n")
        yield found
    finally:
        found.close()


def status(archive: ArchiveOption = None, as_json: JsonOption = False) -> None:
    """What the station of an archive does, in whatever process it runs."""
    channel = _channel(archive_folder(archive))
    try:
        found = channel.ask("status")
    finally:
        channel.close()
    found["uptime"] = round(max(0.0, time.time() - found["since"]))
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
        return
    for line in _told(found):
        sys.stdout.write(line + "\n")


def metrics(archive: ArchiveOption = None) -> None:
    """What the station of an archive counts, for Prometheus.

    Text format 0.0.4. For node_exporter's textfile collector, write it to another file and rename that to
    pacskit.prom: what is read must be whole.
    """
    channel = _channel(archive_folder(archive))
    try:
        found = of_plain(channel.ask("metrics", after=None))
    except ValueError:
        raise ServiceError("the station is one of an earlier version: stop it, and start it again") from None
    finally:
        channel.close()
    sys.stdout.write(found.prometheus())


def stop(archive: ArchiveOption = None) -> None:
    """End the background station; associations get some seconds to end. Done when all is free again."""
    channel = _channel(archive_folder(archive))
    try:
        channel.ask("shutdown")
        if not channel.wait_for_end(PATIENCE):
            raise ServiceError(f"the station (process {channel.about['pid']}) has not ended yet")
    finally:
        channel.close()
    sys.stdout.write(f"The station of {channel.about['archive']} has ended.\n")


def _channel(folder: Path) -> Channel:
    found = background.question(folder)
    if found is None:
        raise ServiceError(f"no station runs on the archive {folder}: pacskit serve --background starts one")
    return found


def _told(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Archive {found['archive']}: {WHO.get(found['run_in'], found['run_in'])}, process {found['pid']}, "
        f"since {dt.timedelta(seconds=found['uptime'])}, attached: {found['clients']}"
    )
    for name, service in found["services"].items():
        where = f" at {service['host']}:{service['port']}" if service["port"] else ""
        title = f" {service['ae_title']}" if "ae_title" in service else ""
        open_now = f", {len(service['associations'])} associations" if "associations" in service else ""
        label = SECTIONS[name].label if name in SECTIONS else name
        error = f": {service['error']}" if service["error"] else ""
        yield f"{label}{title} {service['state']}{where}{open_now}{error}"
    if found["log"]:
        yield f"Log {found['log']}"


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(metrics)
    app.command()(stop)
