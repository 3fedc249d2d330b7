"""Where studies live: Part 10 files in a readable layout, an index that can be made again, queries."""

from pacskit.archive.archive import Archive
from pacskit.archive.header import Origin
from pacskit.archive.importing import ImportProgress, ImportReport
from pacskit.archive.incoming import Incoming, Stored
from pacskit.archive.rebuild import RebuildReport

__all__ = ["Archive", "ImportProgress", "ImportReport", "Incoming", "Origin", "RebuildReport", "Stored"]
