"""Chooser: a field of a form whose value is chosen in a dialog of its own, which unfolds below its row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from pacskit.settings import values
from pacskit.settings.models import Section
from pacskit.widgets import words
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.dialog import Dialog
from pacskit.widgets.form import Field, Options


class HeldField(Field):
    """Its value is held in Python alone, in no widget; of its own it has the line below only."""

    def __init__(self, kind: type[Section], name: str, touched: Callable[[], None], options: Options | None):
        self._held: Any = None
        self._touched = touched
        super().__init__(kind, name, touched, options)
        self._compose()

    @property
    def widgets(self) -> tuple[Any, ...]:
        return ()

    @property
    def raw(self) -> Any:
        return self._held

    def value(self, typed: Any = None) -> Any:
        checked = values.validated(self.kind, self.name, self._held if typed is None else typed)
        if checked != self.baseline:
            values.storable(self.kind, self.name, checked)
        return checked

    def put(self, value: Any) -> None:
        if value != self._held:
            self._held = value
            self._touched()

    def fix(self, fixed: bool) -> None:
        self.fixed = fixed

    def tell(self, error: str, note: str) -> None:
        """The other row, whose dialog chooses this one, says where it comes from."""
        quiet = "pk-quiet" in note and not self.fixed
        named = f"{words.text(self.title)}: {note}" if note and not quiet else ""
        super().tell(f"{self.title}: {error}" if error else "", named)

    def _make(self, annotation: Any) -> Any:
        return w.Label()

    def _compose(self) -> None:
        self.row.children = [self._under]
        self.row.add_class("pk-held")


class ChooserField(HeldField):
    """CHOOSE, what is chosen in a few words, and the dialog."""

    dialog: Dialog | None = None

    def attach(self, dialog: Dialog, ready: Callable[[], None]) -> None:
        """The dialog that CHOOSE opens and closes."""
        self.dialog, self._summary = dialog, Carrier(ready=ready)
        self._summary.widget.add_class("pk-summary")
        self.input.children = [self._label, self._summary.widget, self.button]
        self.row.children = [*self.row.children, dialog.widget]

    @property
    def widgets(self) -> tuple[Any, ...]:
        return self.button, self.help

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        return (self._summary,)

    def tell(self, error: str, note: str) -> None:
        Field.tell(self, error, note)

    def shown(self, value: Any) -> str:
        return self.dialog.in_words(value) if self.dialog else ""

    def draw(self) -> None:
        """The summary and the dialog, by the one thread that writes widgets."""
        assert self.dialog is not None
        self.dialog.draw()
        self.button.disabled = self.dialog.fixed
        look = self.button.add_class if self.dialog.is_open else self.button.remove_class
        look("pk-open")
        lost = self._summary.fallen
        without = (
            "CHOOSE needs anywidget, where JupyterLab runs; meanwhile: pacskit settings set, or the file"
        )
        told = f'<div class="pk-remark">▲ {words.text(without)}</div>' if lost else ""
        self._summary.show(f"<div>{self.dialog.summary()}</div>{told}")

    def _make(self, annotation: Any) -> Any:
        self._label = w.Label(self.title)
        self.button = w.Button(description="CHOOSE", tooltip=f"{self.title}: {self.help_text}")
        self.button.add_class("pk-choose")
        self.button.on_click(lambda _: self._choose())
        return w.HBox([self._label, self.button])

    def _compose(self) -> None:
        self.row.add_class("pk-chooser")

    def _choose(self) -> None:
        if self.dialog is not None:
            self.dialog.heard({"type": "click", "key": "choose:"})
