"""What a person does to studies: import, mark as checked, delete, restore.

Absent where nothing may be changed. Clicks are noted in whatever thread they come; `do()` and `draw()` are
called by the one thread that writes widgets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w
import pandas as pd

from pacskit.archive.files import STUDIES
from pacskit.errors import PacskitError
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.buttons import button, toggle
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.errand import Errand
from pacskit.widgets.import_box import ImportBox
from pacskit.widgets.study_table import StudyTable
from pacskit.widgets.trash_drawer import TrashDrawer


class StudyActions:
    """Above the study table: buttons, the two drawers they open, and what is done with picked studies."""

    def __init__(
        self,
        station: Station,
        table: StudyTable,
        ask: Callable[[str], None],
        ready: Callable[[], None],
        mask: Callable[[], bool],
    ) -> None:
        """`ask("actions")` has `do()` and `draw()` called soon, `ask("import")` `draw_import()`."""
        self._station, self._table, self._ask, self._mask = station, table, ask, mask
        self._clicks: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._lock = threading.Lock()
        self._asked: frozenset[str] = frozenset()
        """The studies that it asks about, whether they are to be deleted."""
        self._warning = ""
        self._said, self._undo = "", ""
        self._fallen = False
        self._errand = Errand(lambda: ask("actions"))
        self.imports = ImportBox(station, ask, self.heard, ready)
        self.trash = TrashDrawer(station, self.heard, ready)
        self.buttons, self.bar = Carrier(self.heard, ready), Carrier(self.heard, ready)
        self.drawers = w.VBox([self.imports.form.widget, self.imports.told.widget, self.trash.carrier.widget])
        self.drawers.add_class("pk-drawers")

    def heard(self, message: Mapping[str, Any]) -> None:
        """A view's message; only noted."""
        if message.get("type") == "click":
            values = message.get("values")
            self.click(str(message.get("key", "")), values if isinstance(values, Mapping) else {})

    def click(self, key: str, values: Mapping[str, Any] | None = None) -> None:
        with self._lock:
            self._clicks.append((key, values or {}))
        self._ask("actions")

    @property
    def possible(self) -> bool:
        """Whether the studies may be changed from here, and what is shown can be clicked."""
        return self._station.archive.writable and not self._fallen

    def do(self) -> None:
        """What was clicked, before anything is drawn."""
        while True:
            with self._lock:
                if not self._clicks:
                    return
                key, values = self._clicks.popleft()
            if self.possible:
                self._act(key, values)

    def draw(self) -> None:
        if not self.possible:
            for carrier in self._carriers:
                carrier.show("")
            return
        self.buttons.show(self._buttons())
        self.draw_import()
        self.trash.draw(self._errand.busy, self._mask())
        self.bar.show(self._bar())

    def draw_import(self) -> None:
        """How far it is; the rest stays."""
        if self.possible:
            self.imports.draw(self._mask())

    def fall_back(self) -> None:
        """The front end cannot draw what is clicked."""
        self._fallen = True

    def close(self) -> None:
        """What is under way is cancelled, and has ended. Safe to call twice."""
        for errand in (self.imports.errand, self._errand):
            errand.end()
        for carrier in self._carriers:
            carrier.show("")

    @property
    def _carriers(self) -> tuple[Carrier, ...]:
        return self.buttons, self.bar, self.imports.form, self.imports.told, self.trash.carrier

    # -- what is clicked

    def _act(self, key: str, values: Mapping[str, Any]) -> None:
        verb, _, what = key.partition(":")
        if not self._errand.busy:
            self._errand.failure = ""
        if verb == "check":
            self._check(what)
        elif verb == "open":
            self.imports.open ^= what == "import"
            self.trash.open ^= what == "trash"
        elif verb == "delete":
            self._asked, self._said = frozenset(self._table.picked), ""
            self._warning = self._what_happens() if self._asked else ""
        elif verb == "delete-not":
            self._asked = frozenset()
        elif verb == "unpick":
            self._table.picked = set()
        elif verb == "delete-now" and self._asked:
            uids = sorted(self._asked)
            self._begin(lambda: self._delete(uids))
        elif verb == "restore":
            self._begin(lambda: self._restore(what))
        elif verb in ("empty", "empty-not"):
            self.trash.confirming = verb == "empty"
        elif verb == "empty-now" and self.trash.confirming:
            self.trash.confirming = False
            self._begin(self._empty)
        else:
            self.imports.act(key, values)

    def _check(self, study_uid: str) -> None:
        try:
            self._station.archive.check(study_uid, not self._table.is_checked(study_uid))
        except PacskitError as error:
            self._errand.failure = str(error)

    def _begin(self, run: Callable[[], None]) -> None:
        self._asked, self._said, self._undo = frozenset(), "", ""
        self._errand.begin(run)

    def _delete(self, study_uids: list[str]) -> None:
        trashed = self._station.archive.delete(study_uids)
        self._table.picked -= set(study_uids)
        studies, images = words.count(len(study_uids), "study"), words.count(trashed.instances, "image")
        if trashed.instances:
            self._tell(f"{studies}, {images}: in the trash.", trashed.id)
        else:
            self._tell(f"{studies}: no longer listed.")

    def _restore(self, trash_id: str) -> None:
        restored = self._station.archive.restore(trash_id)
        said = f"{words.count(restored.instances, 'image')}: restored."
        if restored.kept:
            said += f" {len(restored.kept)} stay in the trash: {restored.kept[0][1]}."
        self._tell(said)

    def _empty(self) -> None:
        self._tell(f"The trash is empty: {words.size(self._station.archive.empty_trash())} less.")

    def _tell(self, said: str, undo: str = "") -> None:
        self._said, self._undo = said, undo

    # -- what is shown

    def _buttons(self) -> str:
        both = (
            toggle("open:import", "Import …", self.imports.open),
            toggle("open:trash", "Trash", self.trash.open),
        )
        return f'<div class="pk-tools">{"".join(both)}</div>'

    def _bar(self) -> str:
        if self._errand.busy:
            return '<div class="pk-bar" role="status">Working …</div>'
        failure = words.text(self._errand.failure)
        failed = f'<div class="pk-alert" role="alert">▲ {failure}</div>' if failure else ""
        rows = self._table.picked_rows()
        if self._asked != self._table.picked:
            self._asked = frozenset()
        if not len(rows):
            return failed + self._done()
        if self._asked:
            return (
                f'{failed}<div class="pk-bar pk-confirm" role="group" aria-label="Delete">'
                f'<span role="alert">{self._warning}</span>'
                + button("delete-now:", "Delete", look="pk-danger")
                + button("delete-not:", "Keep", focus="delete:", more="data-escape")
                + "</div>"
            )
        return (
            f'{failed}<div class="pk-bar"><span role="status">{_number(rows)} selected, '
            f"{words.size(rows['bytes'].sum())}</span>"
            + button("delete:", "Delete …")
            + button("unpick:", "Clear", more="data-escape")
            + "</div>"
        )

    def _what_happens(self) -> str:
        """When the picked studies are deleted. Files that were imported in place are not ours to move."""
        archive, rows = self._station.archive, self._table.picked_rows()
        instances = archive.table("instance", columns=["path"], StudyInstanceUID=sorted(self._table.picked))
        own = int(instances["path"].str.startswith(str(archive.folder / STUDIES)).sum())
        away = len(instances) - own
        if not away:
            return f"{_number(rows)} go to the trash; they can be restored."
        one = away == 1
        elsewhere = (
            f"{words.count(away, 'image')}, imported in place, {'stays' if one else 'stay'} where "
            f"{'it is' if one else 'they are'}, no longer listed; another import brings "
            f"{'it' if one else 'them'} back."
        )
        if not own:
            return f"{words.count(rows['study_uid'].nunique(), 'study')}: {elsewhere}"
        return (
            f"{_number(rows)}: {words.count(own, 'image')} go to the trash and can be restored; {elsewhere}"
        )

    def _done(self) -> str:
        if not self._said:
            return ""
        undo = button(f"restore:{self._undo}", "Undo", focus="delete-now:") if self._undo else ""
        return f'<div class="pk-bar"><span role="status">{words.text(self._said)}</span>{undo}</div>'


def _number(rows: pd.DataFrame) -> str:
    studies = words.count(rows["study_uid"].nunique(), "study")
    return f"{studies}, {words.count(int(rows['instances'].sum()), 'image')}"
