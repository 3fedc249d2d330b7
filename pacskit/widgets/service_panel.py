"""ServicePanel: one service's dialog (seed 12.1): its form, OK, CANCEL, DEFAULTS, and what came of them.

What a person does is noted, and done by the bridge's thread. OK changes all or nothing: when the service
cannot run with the new settings, the old ones stay, and the seed's message says why.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as w

from pacskit.errors import NotAdministrator, PacskitError, PortTaken, SettingError
from pacskit.services.base import Status
from pacskit.settings import SECTIONS
from pacskit.settings.layers import CODE
from pacskit.station import Station
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.chooser import ChooserField
from pacskit.widgets.dialog import Dialog
from pacskit.widgets.form import Field, Form, Options
from pacskit.widgets.outcome import alert, done
from pacskit.widgets.part import Part

log = logging.getLogger(__name__)

Html = Callable[[Station], str]


@dataclass(frozen=True)
class Look:
    """What makes one service's panel differ from another's."""

    section: str
    state: Html
    plots: Html
    beside: Html
    options: Mapping[str, Options]
    fields: Mapping[str, type[Field]] = field(default_factory=dict)
    """Those of another kind, by name."""
    dialogs: Mapping[str, type[Dialog]] = field(default_factory=dict)
    """What CHOOSE opens, by the name of its field."""
    boxes: tuple[type[Part], ...] = ()
    """Beside the form."""
    remarks: Callable[[Form], Mapping[str, str]] = lambda _: {}
    """What is allowed and should be known, by field."""


class ServicePanel:
    """`ask(part)` has `draw(part)` called soon, by the one thread that writes widgets."""

    def __init__(
        self, station: Station, look: Look, ask: Callable[[str], None], ready: Callable[[], None]
    ) -> None:
        self._station, self._look, self._ask = station, look, ask
        self.section, self.kind = look.section, SECTIONS[look.section]
        self._lock = threading.RLock()
        self._done: list[str] = []
        self._shared_seen = False
        self._shared_was: bool | None = None
        self._unfolded_for: list[str] = []
        self._failure: PacskitError | None = None
        self._done_said: list[str] = []
        self._done_status = Status()
        self._offered, self._holder = 0, ""
        self.form = Form(self.kind, self._touched, look.options, look.fields)
        self._parts = self._make_parts(ready)
        self.state, self.plots, self.beside = (Carrier(ready=ready) for _ in range(3))
        self.message = Carrier(self._heard, ready)
        self.shared = self._shared()
        self.defaults, self.ok, self.cancel = map(self._button, ("DEFAULTS", "OK", "CANCEL"))
        self.ok.button_style = "primary"
        self.take = self._button("Take port")
        self.more = w.ToggleButton(description="▸ More settings", tooltip="Show all settings of this service")
        self.more.observe(lambda _: self._touched(), "value")
        self._hidden = w.VBox(self.form.rows("more"))
        self.widget = self._compose()

    @property
    def widgets(self) -> list[Any]:
        """Those that a person acts on."""
        mine = [self.shared, self.defaults, self.ok, self.cancel, self.take, self.more]
        return mine + [widget for field in self.form.fields.values() for widget in field.widgets]

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        more = [carrier for part in self._parts for carrier in part.carriers]
        more += [carrier for chooser in self._choosers for carrier in chooser.carriers]
        return self.state, self.plots, self.beside, self.message, *more

    @property
    def _choosers(self) -> list[ChooserField]:
        return [each for each in self.form.fields.values() if isinstance(each, ChooserField)]

    def _make_parts(self, ready: Callable[[], None]) -> list[Part]:
        made: list[Part] = []
        for chooser in self._choosers:
            dialog = self._look.dialogs[chooser.name](self._station, self.form, self._touched, ready)
            chooser.attach(dialog, ready)
            made.append(dialog)
        self._boxes = [box(self._station, self.form, self._touched, ready) for box in self._look.boxes]
        return made + self._boxes

    def load(self) -> None:
        """Show what is set, at the start and when it was changed elsewhere; what a person typed stays."""
        with self._lock:
            typed = self._shared_was is not None and self.shared.value != self._shared_was
            self.form.load(self._station.settings, keep_typed=True)
            self._shared_was = self._is_shared()
            if not typed:
                self.shared.value = self._shared_seen = self._shared_was
            self._check()

    def draw(self, part: str) -> None:
        """`check`: judge what was typed and do what was clicked. `state`: how the service runs.
        `plots`: how busy it is."""
        if part == "plots":
            self.plots.show(self._look.plots(self._station))
            return
        if part == "state":
            self.state.show(self._look.state(self._station))
            self.beside.show(self._look.beside(self._station))
            self._draw_parts()
            self._say()
            return
        with self._lock:
            clicked, self._done = self._done, []
        for each in self._parts:
            each.do()
        for word, _ in itertools.groupby(clicked):  # a double click means it once
            try:
                getattr(self, f"_{word}")()
            except Exception as error:
                log.exception("%s of the panel failed", word)
                self._fail(PacskitError(f"pacskit failed at {word.upper()}: {error}"))
        with self._lock:
            self._guard_shared()
            self._check()
            self._draw_parts()
            self._say()

    def _draw_parts(self) -> None:
        for box in self._boxes:
            box.draw()
        for chooser in self._choosers:
            chooser.draw()

    def close(self) -> None:
        for part in self._parts:
            part.close()
        for carrier in self.carriers:
            carrier.show("")
        for widget in self.widgets:
            widget.disabled = True

    def _compose(self) -> w.Box:
        explained = w.HTML('<span class="pk-quiet">Only an administrator can change it.</span>')
        explained.add_class("pk-under")
        line = w.HBox([self.shared])
        line.add_class("pk-field")
        shared = w.VBox([line, explained] if self._can_be_shared else [])
        shared.add_class("pk-row")
        self._explained = explained
        buttons = w.HBox([self.defaults, w.Label(""), self.ok, self.cancel])
        form = w.VBox(
            [
                *self.form.rows("main"),
                shared,
                self.more,
                self._hidden,
                buttons,
                self.message.widget,
                self.take,
            ]
        )
        beside = w.VBox([self.beside.widget, *(box.widget for box in self._boxes)])
        body = w.Box([form, beside])
        root = w.VBox([self.state.widget, self.plots.widget, body])
        for widget, look in (
            (self.shared, "pk-input"),
            (self.more, "pk-more"),
            (self._hidden, "pk-hidden"),
            (self.take, "pk-hidden"),
            (self.take, "pk-take"),
            (buttons, "pk-buttons"),
            (self.message.widget, "pk-message"),
            (form, "pk-form"),
            (beside, "pk-beside"),
            (root, f"pk-panel-{self.section}"),
            (body, "pk-service"),
        ):
            widget.add_class(look)
        return root

    @property
    def _can_be_shared(self) -> bool:
        return "shared" in self.kind.model_fields

    def _shared(self) -> Any:
        info = self.kind.model_fields.get("shared")
        told = {"description": info.title, "tooltip": info.description} if info else {}
        box = w.Checkbox(indent=False, **told)
        box.observe(lambda _: self._touched(), "value")
        return box

    def _button(self, text: str) -> Any:
        button = w.Button(description=text)
        button.on_click(lambda _: self._clicked(text.split()[0].lower()))
        return button

    def _heard(self, message: Mapping[str, Any]) -> None:
        """What stood in the fields when OK was clicked: the widgets' own messages may come later."""
        if message.get("type") == "typed" and isinstance(values := message.get("values"), dict):
            with self._lock:
                self.form.take(values)

    def _touched(self) -> None:
        self._ask(f"check:{self.section}")

    def _clicked(self, word: str) -> None:
        with self._lock:
            self._done.append(word)
        self._touched()

    def _is_shared(self) -> bool:
        return bool(getattr(self._station.settings.section(self.section), "shared", False))

    def _shared_edited(self) -> bool:
        return bool(self.shared.value != self._is_shared())

    def _guard_shared(self) -> None:
        """Only an administrator can check or uncheck it: others get the message, and the box returns."""
        if self.shared.value == self._shared_seen:
            return
        if self._shared_edited() and not self._station.is_administrator():
            self._failure = NotAdministrator(f"{self.section}.shared")
            self.shared.value = self._is_shared()
        self._shared_seen = self.shared.value

    def _check(self) -> None:
        remarks = dict(self._look.remarks(self.form))
        for part in self._parts:
            remarks |= part.remarks()
        good = self.form.check(remarks=remarks)
        waits = any(part.pending for part in self._parts)
        self.ok.disabled = not good or waits
        self.ok.tooltip = "Mend what is marked first" if not good else "OK or CANCEL above first" * waits
        folded_away = [name for name in self.form.marked() if self.form.fields[name].place == "more"]
        if folded_away and not self.more.value and folded_away != self._unfolded_for:
            self.more.value = True
        self._unfolded_for = folded_away
        open_now = bool(self.more.value)
        self.more.description = f"{'▾' if open_now else '▸'} More settings"
        (self._hidden.remove_class if open_now else self._hidden.add_class)("pk-hidden")
        if self._shared_edited():
            note = '<span class="pk-changed">● changed</span>'
        elif self._is_shared():
            note = "Everyone on this computer uses these settings; values of your own are kept, but not used."
            note = f'<span class="pk-quiet">{note}</span>'
        else:
            note = '<span class="pk-quiet">Only an administrator can check or uncheck this.</span>'
        if self._explained.value != note:
            self._explained.value = note

    def _ok(self, *, own_port: bool = False) -> None:
        """Save and apply; with `own_port`, the port counts for this notebook only."""
        self._forget()
        typed = self.form.typed()
        if not self.form.check(typed):
            return
        changes, replaced = self.form.changes(typed), self.form.replaced()
        if self._can_be_shared and self._shared_edited():
            changes["shared"] = bool(self.shared.value)
        by_code = [name for name in changes if self._source(name) == CODE and name in self.form.fields]
        before, mine = self._status, {}
        try:
            if own_port and "port" in changes:
                mine = {"port": changes.pop("port")}
                self._station.apply({self.section: mine})
            self._station.apply({self.section: changes}, save=True)
        except PacskitError as error:
            self._fail(error)
            return
        with self._lock:
            self.form.load(self._station.settings, only=typed)
            self.shared.value = self._shared_seen = self._shared_was = self._is_shared()
        status = self._status
        how = f"running at {status.host}:{status.port}" if status.running else "not running"
        did = "Saved" if changes else "Done" if mine or status != before else "Nothing to save"
        said = [f"✓ {did}. {self.kind.label} is {how}.", *replaced]
        if by_code:
            names = ", ".join(self.form.fields[name].title for name in by_code)
            said.append(f"This notebook's code sets {names}, and will again when its cell is run again.")
        if status.running and not before.running and self._station.background.run_in == "kernel":
            said.append("It ends with this notebook, unless you check “Keep receiving” below.")
        if mine:
            said.append("The port is for this notebook only: another one has the one that is saved.")
        self._done_said, self._done_status = said, status

    @property
    def _status(self) -> Status:
        status: Status = self._station.slots[self.section].status
        return status

    def _source(self, name: str) -> str:
        return self._station.settings.source(self.section, name).layer

    def _forget(self) -> None:
        self._failure, self._done_said = None, []

    def _fail(self, error: PacskitError) -> None:
        self._failure = error
        if isinstance(error, NotAdministrator):
            self.shared.value = self._shared_seen = self._shared_was = self._is_shared()

    def _take(self) -> None:
        """The free port that was offered, by one click; not saved where another notebook has the other."""
        if self._offered:
            self.form.fields["port"].put(str(self._offered))
            self._ok(own_port="notebook" in self._holder)

    def _cancel(self) -> None:
        self._forget()
        self._fold()
        self._reset()

    def _defaults(self) -> None:
        self._forget()
        self._fold()
        self.form.defaults()

    def _fold(self) -> None:
        for part in self._parts:
            part.cancel()

    def _reset(self) -> None:
        with self._lock:
            self.form.load(self._station.settings)
            self.shared.value = self._shared_seen = self._shared_was = self._is_shared()

    def _say(self) -> None:
        """What the last click led to, while it is true; else what is wrong though nobody has clicked."""
        status, failure = self._status, self._failure
        trouble = self._station.troubles.get(self.section, "") or status.error
        self._offered, self._holder, message = 0, "", ""
        if failure is not None:
            told = failure.problem if isinstance(failure, SettingError) else str(failure)
            message = alert(told)
            if isinstance(failure, PortTaken):
                self._offered, self._holder = failure.free_port, failure.holder
        elif trouble:
            message, self._offered, self._holder = alert(trouble), status.free_port, trouble
        elif self._done_said and status == self._done_status:
            message = done(self._done_said)
        self.message.show(message)
        if self._offered:
            self.take.description = f"Take port {self._offered}"
        (self.take.remove_class if self._offered else self.take.add_class)("pk-hidden")
