"""What may be asked of an archive, by its owner and by everyone who may read it: index and files tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame

from pacskit.archive import completeness, tables
from pacskit.archive.asides import SetAside, all_aside, with_asides
from pacskit.archive.completeness import Completeness
from pacskit.archive.gaps import Gap
from pacskit.archive.index import IndexReader
from pacskit.archive.journal import checked_studies, protected_studies
from pacskit.archive.query import Level
from pacskit.archive.stable import unstable_studies
from pacskit.archive.trash import Trashed, all_trashed
from pacskit.archive.trash_contents import Contents, trash_contents
from pacskit.imaging.series import Series


class Asking:
    """The asking half of an Archive. Any thread."""

    def __init__(self, folder: Path, index: IndexReader) -> None:
        self.folder, self._index = folder, index

    def drain(self) -> None:
        """Rows queued so far are committed when this returns; queries call it themselves."""
        self._index.drain()

    def studies(
        self, *, limit: int | None = None, offset: int = 0, order_by: Sequence[str] = (), **query: Any
    ) -> DataFrame:
        """One row a study, last received first; `query` by DICOM keywords, pages and order as `table`."""
        self.drain()
        found = tables.studies(self._index, query, limit=limit, offset=offset, order_by=order_by)
        return with_asides(self.folder, found)

    def count(self, level: Level = "study", **query: Any) -> int:
        """How many rows `table` has for this query."""
        self.drain()
        return tables.count(self._index, level, query)

    def table(
        self,
        level: Level = "study",
        columns: Sequence[str] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        order_by: Sequence[str] = (),
        **query: Any,
    ) -> DataFrame:
        """One row for each patient, study, series or instance; any DICOM keyword may be a column.

        `query`: DICOM keyword = value; `*` and `?` in text, PN without regard to case, dates as
        `20260101-20261231`, a list for any of several. Columns that are not indexed are read from the
        first file of the row. `limit` rows after `offset`, in the order of `order_by` (`-study_date` for the
        other way round), then received last first. Raises ValueError for an unknown keyword, naming the
        nearest.
        """
        self.drain()
        found = tables.table(
            self._index, self.folder, level, columns, query, limit=limit, offset=offset, order_by=order_by
        )
        return with_asides(self.folder, found)

    def series_paths(self, series_uid: str) -> list[Path]:
        """The series' files by instance number. Raises UnknownUID."""
        self.drain()
        return tables.series_paths(self._index, self.folder, series_uid)

    def series(self, series_uid: str) -> Series:
        """One series: its paths, data sets and volumes. Raises UnknownUID."""
        return Series(self.series_paths(series_uid))

    def study_of(self, series_uid: str) -> str:
        """Study Instance UID of a series. Raises UnknownUID."""
        self.drain()
        return tables.study_of(self._index, series_uid)

    def gaps(self, study_uid: str) -> list[Gap]:
        """What is missing, or may be, by instance numbers, slice positions and stated counts.

        Reads headers of stacks of slices (some 0.5 ms each). `str(gap)` is a sentence. Raises UnknownUID.
        """
        self.drain()
        return completeness.gaps(self._index, self.folder, study_uid)

    def completeness(self, study_uid: str) -> Completeness:
        """Counts, gaps in instance numbers and quiet since when, from the index alone. Raises UnknownUID."""
        self.drain()
        unstable = study_uid in unstable_studies(self.folder)
        return completeness.completeness(self._index, self.folder, study_uid, unstable)

    def aside(self) -> list[SetAside]:
        """Instances that came with another content than the stored one of their UID; they are not served."""
        return list(all_aside(self.folder))

    def checked(self) -> frozenset[str]:
        """UIDs of the studies that a person marked as checked."""
        return checked_studies(self.folder)

    def protected(self) -> frozenset[str]:
        """UIDs of the studies that a person protected."""
        return protected_studies(self.folder)

    def trash(self) -> list[Trashed]:
        """What was deleted or replaced, oldest first."""
        return list(all_trashed(self.folder))

    def trash_contents(self, trash_id: str, most: int = 20) -> Contents:
        """Whose studies an entry of the trash holds, from one file of each. Raises UnknownUID."""
        return trash_contents(self.folder, trash_id, most)
