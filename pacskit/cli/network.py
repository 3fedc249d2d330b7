"""`pacskit echo`, `pacskit send`: this computer as a client of a peer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pacskit.archive.outgoing import OutgoingFile, files_below
from pacskit.dimse import client
from pacskit.dimse.send import SendReport, send
from pacskit.peers import PeerAddress

PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="AET@HOST:PORT")]
CallingOption = Annotated[str, typer.Option("--aet", help="Our AE title for it.")]


def echo(peer: PeerArgument, calling: CallingOption = "PACSKIT") -> None:
    """Ask a peer whether it is there (C-ECHO)."""
    response = client.echo(PeerAddress.parse(peer), calling_ae=calling)
    if not response.done:
        sys.stderr.write(f"pacskit: {peer} answered status {response.status:04X}H {response.comment}\n")
        raise typer.Exit(1)
    sys.stdout.write(f"{peer} answers\n")


def send_files(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders, recursed.")],
    to: Annotated[str, typer.Option("--to", metavar="PEER", help="AET@HOST:PORT")],
    calling: CallingOption = "PACSKIT",
) -> None:
    """Send DICOM files to a peer (C-STORE), as they are stored where it takes them."""
    address = PeerAddress.parse(to)
    found, skipped = [], []
    for path in files_below(paths):
        try:
            found.append(OutgoingFile.read(path))
        except (OSError, ValueError) as error:
            skipped.append((str(path), str(error)))
    for what, why in skipped:
        sys.stderr.write(f"skipped {what}: {why}\n")
    if not found:
        sys.stderr.write("pacskit: nothing to send\n")
        raise typer.Exit(1)
    report = send(address, found, calling_ae=calling, progress=_progress(len(found)))
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    for what, why in report.failed:
        sys.stderr.write(f"failed {what}: {why}\n")
    sys.stdout.write(f"{report}\n")
    if report.failed:
        raise typer.Exit(1)


def _progress(total: int):  # type: ignore[no-untyped-def]
    def show(report: SendReport) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{report.sent + len(report.failed)} of {total}: {report}")

    return show


def register(app: typer.Typer) -> None:
    app.command()(echo)
    app.command("send")(send_files)
