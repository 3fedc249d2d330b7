"""The settings of the archive."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pacskit.settings.attributes import AttributeName
from pacskit.settings.fields import GroupName, setting
from pacskit.settings.section import Section
from pacskit.settings.sizes import Room, RoomOrNone


class ArchiveSettings(Section):
    """Where studies are kept, and how carefully."""

    section: ClassVar[str] = "archive"
    label: ClassVar[str] = "Archive"

    folder: Path | None = setting(None, "Folder", "The archive; without it, one in the user's data folder")
    index: Path | None = setting(
        None,
        "Folder of the index",
        "Without it the index is in the archive's folder, or on a disk of this computer where that is on a "
        "network drive",
    )
    extra_attributes: tuple[AttributeName, ...] = setting(
        (),
        "Extra attributes",
        "DICOM keywords to keep in the index and to ask for: EchoTime of each instance, series.EchoTime of "
        "each series as its first instance says",
    )
    group: GroupName = setting(
        None,
        "Readable for the group",
        "A group of users (its name or number) who may read the archive, and not write it. What is there is "
        "brought over when the station starts. Without it: its owner alone",
    )
    durability: Literal["safe", "fast"] = setting(
        "safe",
        "Durability",
        "safe: on the disk before success is answered. fast: a dying machine may lose the last seconds",
    )
    duplicates: Literal["aside", "first", "replace"] = setting(
        "aside",
        "Another content under a stored UID",
        "aside: taken and kept apart. first: refused (C001). replace: taken, the old one goes to the trash",
    )
    min_free: Room = setting(
        "1 %",
        "Keep free",
        "Nothing is taken while the disk has less room than this: a number with MB, GB, TB or %",
    )
    trash_days: int = setting(
        0,
        "Empty the trash after",
        "What was deleted or replaced so long ago is deleted for good. 0: only a person empties the trash",
        unit="days",
        ge=0,
        le=36_500,
    )
    keep_days: int = setting(
        0,
        "Keep studies for",
        "Of which nothing has come for so long goes to the trash, but protected ones. What is set anew is "
        "only reported for a day, see pacskit retention. 0: for ever",
        unit="days",
        ge=0,
        le=36_500,
    )
    keep_size: RoomOrNone = setting(
        "",
        "Keep studies up to",
        "The oldest go to the trash while all take more: a number with GB, TB or %; empty: no limit. The "
        "trash comes on top: room is made when that is emptied",
    )
    backup_every: int = setting(
        24,
        "Back up the index",
        "How often it is copied, while all goes on: after a loss it need not be made anew. 0: never",
        unit="hours",
        ge=0,
        le=8760,
    )
    backup_keep: int = setting(3, "Backups to keep", "Older ones are deleted", ge=1, le=1000)
    backup_folder: Path | None = setting(
        None, "Folder of the backups", "Without it they are in the archive's folder, in backups"
    )
    stable_after: float = setting(
        60.0,
        "Study stable after",
        "How long nothing more of a study must have come until it is told as stable",
        unit="s",
        gt=0,
        le=86400,
    )
