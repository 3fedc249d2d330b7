"""What stands beside the studies of a page: whether they are complete, what is aside, what a person checked.

From the index alone, and for the page alone: a study's gaps are looked for when it has become quiet, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pacskit.archive import Archive
from pacskit.archive.asides import count_aside
from pacskit.archive.files import study_hash
from pacskit.archive.stable import unstable_studies
from pacskit.errors import UnknownUID
from pacskit.widgets import words

KEPT = 500
"""Studies whose gaps are remembered."""
LONGEST = 18
"""Characters of a gap that are shown; a tooltip says all."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Of one study."""

    state: str
    """receiving, gap or complete."""
    short: str = ""
    sentence: str = ""
    aside: int = 0
    checked: bool = False

    def html(self) -> str:
        sign, look = {"receiving": ("◌", ""), "gap": ("▲", "pk-conflict"), "complete": ("", "pk-quiet")}[
            self.state
        ]
        sign = f'<span aria-hidden="true">{sign}</span> ' if sign else ""
        title = words.text(self.sentence)
        found = [f'<span class="{look}" title="{title}">{sign}{words.text(self.short)}</span>']
        if self.aside:
            title = "Came again under a stored UID with another content: kept apart, and not served"
            sign = '<span aria-hidden="true">▲</span>'
            found.append(f'<span class="pk-conflict" title="{title}">{sign} {self.aside} aside</span>')
        return "<br>".join(found)


class StudyMarks:
    """Of one archive at a time; any thread, one call at a time."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[str, str, str]] = {}

    def of(self, archive: Archive, rows: Iterable[Mapping[str, Any]]) -> dict[str, Mark]:
        """By Study Instance UID; `rows` are those of `studies()`."""
        unstable, asides, checked = (
            unstable_studies(archive.folder),
            count_aside(archive.folder),
            archive.checked(),
        )
        found: dict[str, Mark] = {}
        for row in rows:
            uid = str(row["study_uid"])
            if uid in unstable:
                state = ("receiving", "receiving…", "Something of it came a moment ago")
            else:
                state = self._quiet(archive, uid, (uid, row["instances"], row["received_at"]))
            found[uid] = Mark(*state, asides.get(study_hash(uid), 0), uid in checked)
        return found

    def _quiet(self, archive: Archive, uid: str, key: tuple[Any, ...]) -> tuple[str, str, str]:
        if key not in self._known:
            try:
                gaps = archive.completeness(uid).certain
            except UnknownUID:  # it was deleted just now
                return "complete", "", ""
            while len(self._known) >= KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = _said([(gap.numbers, str(gap)) for gap in gaps])
        return self._known[key]


def _said(gaps: list[tuple[str, str]]) -> tuple[str, str, str]:
    if not gaps:
        sentence = "No instance number is missing; whether more was meant to come, nothing says"
        return "complete", "complete?", sentence
    short = f"gap: {gaps[0][0]}" if len(gaps) == 1 else f"{len(gaps)} gaps: {gaps[0][0]}"
    if len(short) > LONGEST or len(gaps) > 1:
        short = f"{short[:LONGEST].rstrip(' …,')} …"
    return "gap", short, " ".join(sentence for _, sentence in gaps)
