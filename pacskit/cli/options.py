"""Options that several commands share, and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pacskit.settings import Layer, pairs_layer
from pacskit.settings.files import default_folder
from pacskit.settings.stack import SettingsStack

ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", help="The archive's folder.", show_default="the user's own")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as listener.port=104.")
]
KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "-k", "--key", metavar="KEYWORD=VALUE", help="A DICOM keyword to match, as PatientName='A*'."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def pairs(texts: Sequence[str] | None, what: str) -> list[tuple[str, str]]:
    """`A=B` texts as pairs. Raises typer.BadParameter (exit code 2)."""
    result = []
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text!r} is not of the form {what}")
        result.append((key, value))
    return result


def layers(settings: Sequence[str] | None, archive: Path | None) -> list[Layer]:
    """The command line's layers. Raises SettingError."""
    given = [pairs_layer("command line", pairs(settings, "KEY=VALUE"))]
    if archive is not None:
        given.append(Layer("command line", {"archive": {"folder": archive}}))
    return given


def query(keys: Sequence[str] | None) -> dict[str, Any]:
    return dict(pairs(keys, "KEYWORD=VALUE"))


def archive_folder(archive: Path | None) -> Path:
    """The folder commands work on: the option's, else the settings', else the user's own."""
    settings = SettingsStack(layers=layers(None, archive)).settings
    return settings.archive.folder or Path(default_folder()) / "archive"
