"""Other contents under the UID of a stored instance: kept apart, not served, for a person to judge.

aside/<hash of the stored instance's study>/<hash of SOP instance>-<hash of the content>.dcm
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pandas import DataFrame

from pacskit import system
from pacskit.archive.duplicates import Arrived
from pacskit.archive.files import ASIDE, make_folders, short_hash, study_hash
from pacskit.archive.stored_file import read_row
from pacskit.errors import PacskitError

_PIECE = 1 << 20
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class SetAside:
    """An instance that is kept apart."""

    path: Path
    sop_instance_uid: str
    study_uid: str
    """As this content says; the stored instance's may be another."""
    received_at: datetime
    received_from: str
    bytes: int


def set_aside(
    folder: Path, arrived: Arrived, study_uid: str, safe: bool, close: Callable[[], None]
) -> tuple[Path, bool]:
    """Move what arrived to its place apart; (path, whether it was not there yet). Raises OSError.

    `study_uid` is the stored instance's: its study shows the mark.
    """
    place = folder / ASIDE / study_hash(study_uid)
    name = f"{short_hash(arrived.header.sop_instance_uid, 16)}-{_content(arrived)}.dcm"
    target = place / name
    if safe:
        system.sync_data(arrived.descriptor)
    close()
    with _one_at_a_time:
        if target.exists():
            return target, False
        make_folders(place, folder, safe)
        os.rename(arrived.part, target)
        if safe:
            system.sync_folder(place)
    return target, True


def _content(arrived: Arrived) -> str:
    digest = hashlib.sha256()
    at = arrived.data_offset
    while piece := system.read_at(arrived.descriptor, _PIECE, at):
        digest.update(piece)
        at += len(piece)
    return base64.b32encode(digest.digest()).decode("ascii").lower()[:12]


def all_aside(folder: Path) -> Iterator[SetAside]:
    """Every instance kept apart that can be read, in the order of their names."""
    for path in sorted((folder / ASIDE).glob("*/*.dcm")):
        try:
            row = read_row(folder, path.relative_to(folder).as_posix())
        except (PacskitError, ValueError, OSError):
            continue
        header = row.header
        yield SetAside(
            path,
            header.sop_instance_uid,
            header.study_uid,
            datetime.fromtimestamp(header.received_ms / 1000, UTC),
            header.received_from,
            row.bytes,
        )


def count_aside(folder: Path) -> dict[str, int]:
    """`study_hash` of each study that has instances apart → how many."""
    counts: dict[str, int] = {}
    try:
        studies = list(os.scandir(folder / ASIDE))
    except FileNotFoundError:
        return counts
    for entry in studies:
        if number := len([name for name in os.listdir(entry.path) if name.endswith(".dcm")]):
            counts[entry.name] = number
    return counts


def with_asides(folder: Path, table: DataFrame) -> DataFrame:
    """The column `conflict` also says which studies have instances aside: that stands in the files."""
    if "conflict" in table and (counts := count_aside(folder)):
        for row, uid in enumerate(table["study_uid"]):
            if number := counts.get(study_hash(uid)):
                other = str(table.loc[row, "conflict"])
                table.loc[row, "conflict"] = "; ".join(filter(None, (other, aside_sentence(number))))
    return table


def aside_sentence(number: int) -> str:
    """What the table says of a study with so many instances aside."""
    what = "1 instance" if number == 1 else f"{number} instances"
    return f"{what} came again with another content, which is kept aside"
