"""The trash in the dashboard: what was deleted or replaced, to be restored or deleted for good."""

from __future__ import annotations

from collections.abc import Callable

from pacskit.archive.trash import Trashed
from pacskit.archive.trash_contents import Contents, TrashedStudy
from pacskit.errors import UnknownUID
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.buttons import button
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.private import Heard

NAMED = 3
"""Studies named in one entry."""
SHOWN = 20
"""Entries."""
WHY = {"deleted": "deleted", "replaced": "replaced by another content", "expired": "too old, or no room"}


class TrashDrawer:
    """Shows; what is clicked is done by study_actions.py."""

    def __init__(self, station: Station, heard: Heard, ready: Callable[[], None]) -> None:
        self._station = station
        self.open = False
        self.confirming = False
        """Whether it asks if all is to be deleted for good."""
        self._contents: dict[str, Contents] = {}
        self.carrier = Carrier(heard, ready)

    def draw(self, busy: bool, mask: bool) -> None:
        self.carrier.show(self._html(busy, mask) if self.open else "")

    def _html(self, busy: bool, mask: bool) -> str:
        entries = self._station.archive.trash()[::-1]
        self._contents = {one.id: self._of(one.id) for one in entries[:SHOWN]}
        if not entries:
            return '<div class="pk-box pk-quiet" role="status">The trash is empty.</div>'
        rows = "".join(self._row(one, busy, mask) for one in entries[:SHOWN])
        more = f" The newest {SHOWN} of {len(entries)} are shown." if len(entries) > SHOWN else ""
        return (
            '<div class="pk-box" role="group" aria-label="Trash">'
            f'<ul class="pk-trash">{rows}</ul>'
            f'<div class="pk-line">{self._empty(entries, busy)}<span class="pk-quiet">{more}</span></div>'
            "</div>"
        )

    def _row(self, one: Trashed, busy: bool, mask: bool) -> str:
        when, who = words.time_of(one.at), self._named(self._contents[one.id], mask)
        restore = button(f"restore:{one.id}", "Restore", off=busy, more=f'aria-label="Restore {who}, {when}"')
        return (
            f'<li>{restore}<span><span>{who}</span> <span class="pk-quiet">'
            f"{words.count(one.instances, 'image')}, {words.size(one.bytes)} · "
            f"{WHY.get(one.why, words.text(one.why))} {when}</span></span></li>"
        )

    def _empty(self, entries: list[Trashed], busy: bool) -> str:
        if not self.confirming:
            return button("empty:", "Empty the trash …", off=busy)
        images = words.count(sum(one.instances for one in entries), "image")
        size = words.size(sum(one.bytes for one in entries))
        return (
            f'<span role="alert">{images}, {size}, are deleted for good. Nothing brings them back.</span>'
            + button("empty-now:", "Delete for good", look="pk-danger", off=busy)
            + button("empty-not:", "Keep", focus="empty:", more="data-escape")
        )

    def _of(self, entry: str) -> Contents:
        if entry in self._contents:
            return self._contents[entry]
        try:
            return self._station.archive.trash_contents(entry, NAMED)
        except UnknownUID:  # restored just now
            return Contents((), 0)

    @staticmethod
    def _named(contents: Contents, mask: bool) -> str:
        found = [words.MASK if mask else _study(one) for one in contents.studies]
        if contents.more:
            found.append(f"and {contents.more} more" if found else words.count(contents.more, "study"))
        return "; ".join(found) or "Images"


def _study(one: TrashedStudy) -> str:
    date = (
        f"{one.study_date[:4]}-{one.study_date[4:6]}-{one.study_date[6:]}" if len(one.study_date) == 8 else ""
    )
    parts = [words.name(one.patient_name) or "(no name)", *map(words.text, (date, one.study_description))]
    return " · ".join(filter(None, parts))
