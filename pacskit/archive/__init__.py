"""Where studies live: Part 10 files in a readable layout, an index that can be made again, queries."""

from pacskit.archive.archive import Archive
from pacskit.archive.backup import Backup
from pacskit.archive.completeness import Completeness
from pacskit.archive.gaps import Gap
from pacskit.archive.header import Origin
from pacskit.archive.import_report import ImportProgress, ImportReport, ProgressLine
from pacskit.archive.incoming import Incoming, Stored
from pacskit.archive.rebuild import RebuildReport
from pacskit.archive.retention import Expiring, Limits

__all__ = [
    "Archive",
    "Backup",
    "Completeness",
    "Expiring",
    "Gap",
    "ImportProgress",
    "ImportReport",
    "Incoming",
    "Limits",
    "Origin",
    "ProgressLine",
    "RebuildReport",
    "Stored",
]
