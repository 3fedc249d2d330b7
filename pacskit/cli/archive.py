"""`pacskit studies | import | rebuild | phantom`: what is in the archive, and putting something there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pacskit.archive import Archive
from pacskit.cli.options import ArchiveOption, JsonOption, KeyOption, archive_folder, query
from pacskit.events import EventBus
from pacskit.settings.stack import SettingsStack
from pacskit.simulator import phantoms


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
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders, recursed.")],
    archive: ArchiveOption = None,
) -> None:
    """Copy DICOM files into the archive; files without preamble too."""
    with _owned(archive) as opened:
        report = opened.import_paths(paths)
    for path, reason in report.skipped:
        sys.stderr.write(f"skipped {path}: {reason}\n")
    sys.stdout.write(
        f"{report.stored} stored, {report.duplicates} were here already, {len(report.skipped)} skipped\n"
    )
    if report.skipped and not report.stored and not report.duplicates:
        raise typer.Exit(1)


def rebuild(archive: ArchiveOption = None) -> None:
    """Make the index again from the files."""
    with _owned(archive) as opened:
        report = opened.rebuild()
    sys.stdout.write(f"{report}\n")


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
    app.command()(phantom)
