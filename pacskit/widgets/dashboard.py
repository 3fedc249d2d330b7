"""Dashboard: a station's face in a notebook. Status strip, study table, picture of the selected series.

What a person does is noted and drawn by the bridge's thread, so the dashboard lives while cells run.
Names, IDs and pixels go through carriers that no saved notebook holds; `snapshot()` is the way to keep one.
"""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import ipywidgets as w
from IPython.display import publish_display_data

from pacskit.archive.import_report import ImportReport
from pacskit.errors import PacskitError, UnknownUID
from pacskit.events import (
    AssociationClosed,
    AssociationOpened,
    ConflictFound,
    Event,
    InstanceSetAside,
    InstanceStored,
    ServiceChanged,
    SettingsChanged,
    StudiesChanged,
    StudyStable,
)
from pacskit.station import Station
from pacskit.widgets import strip
from pacskit.widgets.bridge import Bridge
from pacskit.widgets.carrier import WHY, Carrier
from pacskit.widgets.look import styled
from pacskit.widgets.picture_panel import PicturePanel
from pacskit.widgets.private import unpin
from pacskit.widgets.readiness import Readiness
from pacskit.widgets.study_actions import StudyActions
from pacskit.widgets.study_marks import StudyMarks
from pacskit.widgets.study_table import StudyTable

_FILTER = (
    '<div class="pk-filter"><input type="search" data-input="filter" data-focus="filter" '
    'placeholder="Filter: name, ID, description, modality …" aria-label="Filter the studies"></div>'
)


class Dashboard:
    """The face of one station; several views of it show the same."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._lock = threading.RLock()
        self._closed = False
        self._bridge: Bridge
        self._readiness = Readiness(lambda: self._bridge.ask("fallback"))
        ready = self._readiness.ready
        marks = StudyMarks()
        self.studies = StudyTable(
            station.studies, station.table, lambda rows: marks.of(station.archive, rows), mask=self._masked
        )
        self.actions = StudyActions(
            station, self.studies, lambda part: self._bridge.ask(part), ready, self._masked
        )
        self._strip = Carrier(ready=ready)
        self._filter = Carrier(self._heard, ready)
        self._table = Carrier(self._heard, ready)
        self.picture = PicturePanel(lambda: self._bridge.ask("picture"), ready, mask=self._masked)
        self._button = w.Button(description="Start", layout=w.Layout(width="80px"))
        self._button.on_click(lambda _: self._bridge.ask("toggle"))
        self._services = w.ToggleButton(description="Services …", layout=w.Layout(width="110px"))
        self._services.tooltip = "Set up the services"
        self._services.observe(lambda _: self._bridge.ask("services"), "value")
        self._drawer = w.VBox([])
        self._choice = w.Dropdown(options=[], description="Series", layout=w.Layout(width="auto"))
        self._choice.observe(self._chosen, "value")
        self._why = w.HTML(f'<p class="pk-note">{WHY}</p>')
        self.widget = self._compose()
        self._filter.show(_FILTER)
        self._bridge = Bridge(station.events, _parts, self._redraw)
        self._bridge.ask("strip", "table", "picture")
        self._readiness.watch(self.widget)

    def _compose(self) -> w.VBox:
        for part in (self._choice, self._why, self._drawer):
            part.add_class("pk-hidden")
        self._strip.widget.add_class("pk-grow")
        self._drawer.add_class("pk-drawer")
        top = w.HBox([self._strip.widget, self._button, self._services])
        top.add_class("pk-top")
        search = w.HBox([self._filter.widget, self.actions.buttons.widget])
        search.add_class("pk-search")
        actions = self.actions
        left = w.VBox([search, actions.drawers, actions.bar.widget, self._table.widget, self._choice])
        left.add_class("pk-left")
        body = w.Box([left, self.picture.widget])
        body.add_class("pk-body")
        return styled([top, self._drawer, self._why, body], "pk-dashboard")

    def snapshot(self) -> None:
        """Put the picture shown now into the notebook, where it is saved. Raises PacskitError without one."""
        self._bridge.settle()
        slide = self.picture.slide
        if slide is None or not slide.png:
            raise PacskitError("There is no picture to take: select a series with images first.")
        publish: Any = publish_display_data
        publish({"image/png": base64.b64encode(slide.png).decode()})

    @property
    def imported(self) -> ImportReport | None:
        """What the last import in the dashboard did: `station.dashboard.imported.table()`."""
        return self.actions.imports.report

    def select(self, series_uid: str) -> None:
        """Show this series, as a click on it does."""
        self._act(f"select:{series_uid}")

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until all that happened so far is drawn; False after `timeout` seconds."""
        self._station.archive.drain()  # what came is told when its rows are there
        return self._bridge.settle(timeout)

    def close(self) -> None:
        """The station closes: names and pictures go, the strip says so. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._readiness.close()
        self._bridge.close()
        self.actions.close()
        with self._lock:
            self._strip.show('<div class="pk-strip"><span>○ This station is closed.</span></div>')
            self._filter.show("")
            self._table.show("")
            self.picture.clear()
            self._choice.options = []
            for part in (self._button, self._choice, self._services, self._drawer):
                part.add_class("pk-hidden")

    def __repr__(self) -> str:
        return "<pacskit dashboard: run the cell to see it>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget.model_id,
            },
        }

    def _heard(self, message: Mapping[str, Any]) -> None:
        """A view's message; in whatever thread it comes, it is only noted here."""
        if message.get("type") == "input" and message.get("key") == "filter":
            with self._lock:
                self.studies.filter, self.studies.page = str(message.get("text", "")), 0
            self._bridge.ask("table")
        elif message.get("type") == "click" and not self._act(str(message.get("key", ""))):
            self.actions.heard(message)

    def _act(self, key: str) -> bool:
        with self._lock:
            understood = self.studies.act(key)
        if understood:
            self._bridge.ask("table", "picture", "actions")
        return understood

    def _chosen(self, change: Mapping[str, Any]) -> None:
        if change["new"] and change["new"] != self.studies.selected:
            self._act(f"select:{change['new']}")

    def _masked(self) -> bool:
        return bool(self._station.settings.viewer.mask_identifiers)

    def _toggle(self) -> None:
        """Start and Stop are Enable for this run, not saved: what the panel shows is what is."""
        listener = self._station.listener
        enable = not listener.status.running
        try:
            self._station.apply({"listener": {"enabled": enable}})
        except PacskitError:
            with contextlib.suppress(
                PacskitError
            ):  # its sentence stands in the status, which the strip shows
                listener.start() if enable else listener.stop()

    def _redraw(self, parts: frozenset[str]) -> None:
        """Called by the bridge's thread only: the one place that writes widgets while the station is open."""
        if "toggle" in parts:
            self._toggle()
        if "actions" in parts:
            self.actions.do()
        with self._lock:
            if self._closed or self._station.closed:
                return
            before = self.studies.selected
            if "fallback" in parts:
                self._fall_back()
            if "services" in parts:
                self._open_services()
            if parts & {"strip", "clock", "toggle"}:
                self._draw_strip()
            if parts & {"table", "fallback"} or ("clock" in parts and self.studies.waits):
                self._draw_table()
            if parts & {"table", "fallback", "actions"}:
                self.actions.draw()
            elif "import" in parts:
                self.actions.draw_import()
            if parts & {"picture", "table"} and ("picture" in parts or before != self.studies.selected):
                self._draw_picture()
            self._unpin()

    def _open_services(self) -> None:
        """The one panel that `station.services` shows too; it is made when it is first wanted."""
        if self._services.value and not self._drawer.children:
            self._drawer.children = [self._station.services.widget]
        change = self._drawer.remove_class if self._services.value else self._drawer.add_class
        change("pk-hidden")

    def _draw_strip(self) -> None:
        running = self._station.listener.status.running
        self._strip.show(strip.html(self._station))
        self._button.description = "Stop" if running else "Start"
        self._button.tooltip = f"{'Stop' if running else 'Start'} the DICOM Listener"

    def _draw_table(self) -> None:
        self.studies.active = self.actions.possible
        self.studies.load()
        how = strip.where_to_send(self._station)
        self._table.show(self.studies.html(f"Nothing received yet. {how}"))
        if self._table.fallen:
            self._choice.options = self.studies.choices()
            if self.studies.selected in {uid for _, uid in self._choice.options}:
                self._choice.value = self.studies.selected

    def _draw_picture(self) -> None:
        uid = self.studies.selected
        if not uid:
            self.picture.clear()
            return
        try:
            paths = self._station.archive.series_paths(uid)
        except UnknownUID:
            self.picture.clear()
            return
        self.picture.draw(uid, paths)

    def _fall_back(self) -> None:
        self.actions.fall_back()
        for carrier in (self._strip, self._table, self.picture.box):
            carrier.fall_back()
        self._filter.widget.add_class("pk-hidden")
        for part in (self._choice, self._why, self._drawer):
            part.remove_class("pk-hidden")

    def _unpin(self) -> None:
        picture = self.picture
        for widget in (
            self.widget,
            self._button,
            self._choice,
            self._services,
            self._drawer,
            picture.slider,
            picture.preset,
            picture.centre,
            picture.width,
        ):
            unpin(widget)


def _parts(event: Event) -> Iterable[str]:
    """What an event changes on the screen."""
    if isinstance(event, InstanceStored):
        return ("strip",)
    if isinstance(event, StudiesChanged):
        return ("table", "picture")
    if isinstance(event, ConflictFound | InstanceSetAside | StudyStable):
        return ("table",)
    if isinstance(event, SettingsChanged):
        return ("strip", "table", "picture")
    if isinstance(event, ServiceChanged):
        return ("strip", "table")
    if isinstance(event, AssociationOpened | AssociationClosed):
        return ("strip",)
    return ()
