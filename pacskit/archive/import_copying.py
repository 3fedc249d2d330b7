"""Files into the archive's own folder: copied, or as hard links where that is wanted and can be."""

from __future__ import annotations

import io
import os
import time

from pacskit.archive.duplicates import Arrived
from pacskit.archive.files import INCOMING
from pacskit.archive.header import Header, Origin, receipt
from pacskit.archive.import_journal import Entry, Mark
from pacskit.archive.import_shelf import IMPORT, PIECE, Outcome, Shelf, Stopped, Told, milliseconds, say_why
from pacskit.archive.import_source import Source, Unfit, open_source
from pacskit.archive.import_walk import Batch
from pacskit.archive.incoming import Stored
from pacskit.archive.keeping import STATUS_OTHER_CONTENT
from pacskit.errors import Refused

ASIDE = "another content is already stored under this SOP Instance UID; this one is kept aside"


class Copying:
    """Takes files by copy or by link. Any number of threads at once."""

    def __init__(self, shelf: Shelf, link: bool, told: Told) -> None:
        self._shelf, self._link_them, self._told = shelf, link, told

    def take(self, batch: Batch, new: list[tuple[str, os.stat_result]]) -> None:
        """The `new` files of a batch, or up to where the import was stopped. Raises ArchiveError."""
        buffer = memoryview(bytearray(PIECE))
        now = time.time()  # one for all: a line of the journal has one
        done: dict[Mark, list[tuple[str, Entry]]] = {}
        try:
            for name, status in new:
                if self._told.stopped:
                    return
                path = os.path.join(batch.folder, name)
                try:
                    how, entry = self._one(path, status, now, buffer)
                except Stopped:
                    return
                except (Unfit, Refused, OSError) as error:
                    say_why(self._told, path, error)
                else:
                    done.setdefault(how, []).append((name, entry))
        finally:
            for how, entries in done.items():
                self._shelf.journal.append(batch.folder, how, entries)

    def _one(self, path: str, status: os.stat_result, now: float, buffer: memoryview) -> tuple[Mark, Entry]:
        with open_source(path, status) as source:
            duplicate = self._link(source, now) if self._link_them else None
            linked = duplicate is not None
            if duplicate is None:
                duplicate = self._copy(source, now, buffer)
            outcome: Outcome = "stored" if linked or not self._link_them else "copied"
            self._told.took(path, "duplicate" if duplicate else outcome, source.size)
            how: Mark = "seen" if duplicate else "link" if linked else "copy"
            return how, Entry(source.size, source.mtime_ns, source.sop_instance_uid, at_ms=milliseconds(now))

    def _copy(self, source: Source, now: float, buffer: memoryview) -> bool:
        """Whether it was here already."""
        incoming = self._shelf.begin(
            str(source.attributes["SOPClassUID"]),
            source.sop_instance_uid,
            source.transfer_syntax_uid,
            Origin(received_at=now, imported=True),
            source.head.text(0x0016),
        )
        try:
            at = source.head.offset
            with io.FileIO(source.descriptor, closefd=False) as file:
                file.seek(at)
                while count := file.readinto(buffer):
                    if self._told.stopped:
                        raise Stopped
                    incoming.write([buffer[:count]])
                    at += count
            if at != source.size or not source.unchanged():
                raise Unfit("changed", "it changed while it was read: is somebody writing it?")
            return _was_here(incoming.commit())
        finally:
            incoming.discard()

    def _link(self, source: Source, now: float) -> bool | None:
        """Whether it was here already; None where it cannot be linked."""
        if not source.head.part10 or not source.head.transfer_syntax_uid:
            return None
        part = self._shelf.folder / INCOMING / f"{os.urandom(12).hex()}.part"
        self._shelf.linking.add(part)
        try:
            try:
                os.link(os.path.realpath(source.path), part)
            except (OSError, NotImplementedError):  # another file system, or one that has no links
                return None
            received = receipt(source.head, 0) if source.head.private else (milliseconds(now), IMPORT)
            header = Header(source.attributes, source.transfer_syntax_uid, *received)
            arrived = Arrived(str(part), source.descriptor, header, source.head.offset, source.size)
            return _was_here(self._shelf.keeper.keep(arrived, source.close))
        finally:
            part.unlink(missing_ok=True)
            self._shelf.linking.discard(part)


def _was_here(stored: Stored) -> bool:
    """Whether it was here already. Raises Refused for what is kept aside, so that the report names it."""
    if stored.aside:
        raise Refused(STATUS_OTHER_CONTENT, ASIDE)
    return stored.duplicate
