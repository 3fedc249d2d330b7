"""What is in the archive, and what is done to it: studies, import, rebuild, verify, backup, retention."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import pandas as pd
import typer

from pacskit.archive import Archive, Expiring, ImportReport, Limits, ProgressLine
from pacskit.archive.import_report import How
from pacskit.archive.retention import confirm
from pacskit.cli.options import ArchiveOption, JsonOption, KeyOption, archive_folder, query
from pacskit.errors import ArchiveOwned, SettingError
from pacskit.events import EventBus
from pacskit.settings.stack import SettingsStack
from pacskit.simulator import phantoms

_PLAN = [field.name for field in dataclasses.fields(Expiring)]


def studies(archive: ArchiveOption = None, key: KeyOption = None, as_json: JsonOption = False) -> None:
    """List the studies of an archive, also while another process receives into it."""
    with Archive.read(archive_folder(archive)) as opened:
        try:
            table = opened.studies(**query(key))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    if as_json:
        sys.stdout.write(json.dumps(_records(table), ensure_ascii=False, indent=1) + "\n")
    elif table.empty:
        sys.stdout.write("no studies\n")
    else:
        shown = table.drop(columns=["study_uid", "bytes"])
        sys.stdout.write(shown.to_string(index=False, na_rep="") + "\n")


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows for JSON: dates and times in ISO 8601, what is missing as null."""
    return [
        {str(name): _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")
    ]


def _plain(value: object) -> object:
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        midnight = value.tzinfo is None and value == value.normalize()
        return value.date().isoformat() if midnight else value.isoformat()
    return value.item() if hasattr(value, "item") else value


def import_files(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, folders (recursed) and DICOMDIRs.")
    ],
    archive: ArchiveOption = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Only index the files: they stay where they are, untouched.")
    ] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links where the file system can, copies elsewhere.")
    ] = False,
    skipped: Annotated[
        Path | None, typer.Option("--skipped", help="A CSV file for what was skipped, and why.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take DICOM files into the archive, files without preamble too; doing it again goes on where it ended.

    Ctrl+C ends it: what is stored stays.
    """
    if in_place and link:
        raise typer.BadParameter("--in-place and --link exclude each other")
    how: How = "in-place" if in_place else "link" if link else "copy"
    with _owned(archive) as opened, _interruptible() as cancel:
        line = ProgressLine("import", sys.stderr) if sys.stderr.isatty() else None
        report = opened.import_paths(paths, how, progress=line, cancel=cancel)
    if line is not None:
        line.clear()
    if skipped is not None:
        report.table().to_csv(skipped, index=False)
    else:
        for path, reason in report.skipped:
            sys.stderr.write(f"skipped {path}: {reason}\n")
    sys.stdout.write(f"{json.dumps(_as_json(report)) if as_json else report}\n")
    if report.cancelled or (report.skipped and not report.stored and not report.here):
        raise typer.Exit(1)


def _as_json(report: ImportReport) -> dict[str, object]:
    skipped = report.table().to_dict(orient="records")
    names = ("how", "stored", "duplicates", "known", "copied", "bytes", "seconds", "cancelled")
    return {name: getattr(report, name) for name in names} | {"skipped": skipped}


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl+C (and SIGTERM) sets the event; a second one interrupts as ever."""
    cancel = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cancel.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def rebuild(archive: ArchiveOption = None) -> None:
    """Make the index again from the files."""
    with _owned(archive) as opened:
        report = opened.rebuild()
    sys.stdout.write(f"{report}\n")


def verify(archive: ArchiveOption = None) -> None:
    """Read every file and compare it with the index and its checksums. Exit code 1 where something is wrong.

    Also while another process receives into the archive. Ctrl+C ends it.
    """
    with Archive.read(archive_folder(archive)) as opened, _interruptible() as cancel:
        report = opened.verify(cancel=cancel)
    wrong = list(report.sentences())
    for sentence in wrong:
        sys.stdout.write(f"{sentence}\n")
    count = "1 thing is" if len(wrong) == 1 else f"{len(wrong)} things are"
    outcome = f"{count} wrong" if wrong else "all as stored"
    ended = ", then it was cancelled" if report.cancelled else ""
    sys.stdout.write(f"{report.checked} files checked{ended}: {outcome}\n")
    if wrong or report.cancelled:
        raise typer.Exit(1)


def reindex(archive: ArchiveOption = None) -> None:
    """Read the files again whose rows lack attributes: new `archive.extra_attributes`, a newer pacskit.

    A running station does it by itself in the background.
    """

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rreindex: {done:,} of {total:,}" + "\n" * (done == total))

    with _owned(archive) as opened:
        report = opened.reindex(progress)
    sys.stdout.write(f"{report}\n")
    if report.unreadable and not report.read:
        raise typer.Exit(1)


def backup(archive: ArchiveOption = None) -> None:
    """Copy the index, also while a station receives. A start mends by it an index that is lost or damaged."""
    try:
        opened = _owned(archive)
    except ArchiveOwned:
        opened = Archive.read(archive_folder(archive))
    with opened:
        made = opened.backup(SettingsStack().settings.archive.backup_folder)
    sys.stdout.write(f"{made.path}: {made.bytes / 1e6:.1f} MB\n")


def retention(
    archive: ArchiveOption = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it: to the trash. A running station does it within an hour.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Which studies are over archive.keep_days or archive.keep_size, and what of them stays; changes nothing.

    A station that finds new limits only tells for a day what it would do.
    """
    settings = SettingsStack().settings
    for problem in settings.blocking("archive"):  # nothing goes by limits that nobody meant
        raise SettingError(problem.key or "archive", problem.sentence, str(problem.source))
    folder, limits = archive_folder(archive), Limits.of(settings.archive)
    if not limits:
        sys.stderr.write("pacskit: archive.keep_days and archive.keep_size are not set: all studies stay\n")
    with Archive.read(folder) as reader:
        plan = pd.DataFrame(reader.retention_plan(limits.days, limits.size), columns=_PLAN)
    if as_json:
        sys.stdout.write(json.dumps(_records(plan), ensure_ascii=False, indent=1) + "\n")
    elif not plan.empty:
        sys.stdout.write(plan.to_string(index=False) + "\n")
    going = plan[plan.kept == ""]
    told = _so_much(len(going), going["bytes"].sum())
    if apply and limits:
        confirm(folder, limits)
        try:
            with _owned(archive) as opened:
                done = opened.apply_retention(opened.retention_plan())
            told = f"{_so_much(len(done), sum(one.bytes for one in done))} are in the trash now"
        except ArchiveOwned:
            told += ": the station that runs does it within an hour"
    elif limits:
        told += " would go to the trash"
    if limits:
        sys.stderr.write(f"{told}\n")


def _so_much(studies: int, size: float) -> str:
    return f"{studies} {'study' if studies == 1 else 'studies'}, {size / 1e6:.1f} MB"


def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    kind: Annotated[list[str] | None, typer.Option(help="ct, mr or us.", show_default="all")] = None,
) -> None:
    """Write phantom studies (CT, MR, US) as files."""
    kinds = tuple(kind or phantoms.STUDIES)
    if wrong := [name for name in kinds if name not in phantoms.STUDIES]:
        raise typer.BadParameter(f"there is no phantom {wrong[0]!r}: {', '.join(phantoms.STUDIES)}")
    written = phantoms.write(folder, kinds)
    sys.stdout.write(f"{len(written)} files in {folder}\n")


def _owned(archive: Path | None) -> Archive:
    settings = SettingsStack().settings
    return Archive.create_or_open(archive_folder(archive), EventBus(), settings.archive)


def register(app: typer.Typer) -> None:
    app.command()(studies)
    app.command("import")(import_files)
    app.command()(rebuild)
    app.command()(reindex)
    app.command()(verify)
    app.command()(backup)
    app.command()(retention)
    app.command()(phantom)
