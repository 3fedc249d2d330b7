"""What an import needs of the archive, and what it tells of each file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sqlalchemy import select

from pacskit.archive.header import Origin
from pacskit.archive.import_journal import ImportJournal
from pacskit.archive.import_report import Kind
from pacskit.archive.import_source import Unfit
from pacskit.archive.incoming import Incoming
from pacskit.archive.index import IndexWriter
from pacskit.archive.keeping import STATUS_OTHER_CONTENT, Keeper
from pacskit.archive.schema import instance
from pacskit.errors import Refused

IMPORT = "import"
"""Stands as `received_from`."""
PIECE = 1 << 20
"""Bytes read at once."""
Outcome = Literal["stored", "copied", "duplicate", "known"]


class Begin(Protocol):
    """The archive's `incoming`, with the AE title that the file itself names as its source."""

    def __call__(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        origin: Origin,
        source_ae: str,
    ) -> Incoming: ...


class Told(Protocol):
    """Hears of each file's outcome, from any thread."""

    def took(self, path: str, outcome: Outcome, size: int) -> None: ...

    def skip(self, path: Path, kind: Kind, reason: str) -> None: ...

    @property
    def stopped(self) -> bool: ...


class Stopped(Exception):
    """The import was cancelled while a file was under way; nothing of it stays."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """What an import needs of the archive."""

    folder: Path
    begin: Begin
    keeper: Keeper
    index: IndexWriter
    journal: ImportJournal
    linking: set[Path]
    """Links in incoming/ that are about to get their names: nobody's leftovers."""

    def has(self, uids: list[str]) -> frozenset[str]:
        """Which of these SOP Instance UIDs are in the index."""
        if not uids:
            return frozenset()
        statement = select(instance.c.SOPInstanceUID).where(instance.c.SOPInstanceUID.in_(uids))
        with self.index.connect() as connection:
            return frozenset(connection.execute(statement).scalars())

    def path_of(self, uid: str) -> str:
        """As the index has it; empty where it has none."""
        self.index.drain()
        return self.index.path_of(uid)


def say_why(told: Told, path: str, error: Exception) -> None:
    """A file was not taken: by which kind of reason, and the sentence."""
    if isinstance(error, Unfit):
        told.skip(Path(path), error.kind, str(error))
    elif isinstance(error, OSError):
        told.skip(Path(path), "unreadable", f"it cannot be read: {error.strerror or error}")
    elif isinstance(error, Refused) and error.status == STATUS_OTHER_CONTENT:
        told.skip(Path(path), "other content", str(error))
    else:
        told.skip(Path(path), "refused", str(error))


def milliseconds(at: float) -> int:
    return round(at * 1000)
