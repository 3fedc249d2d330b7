"""ServicesPanel: the services in one panel, a tab each under the seed's names (`station.services`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ipywidgets as w

from pacskit.events import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    Event,
    InstanceRefused,
    InstanceStored,
    ServiceChanged,
    SettingsChanged,
)
from pacskit.settings import SECTIONS
from pacskit.station import Station
from pacskit.widgets import listener_facts, secure_facts, sparks, words
from pacskit.widgets.background_box import BackgroundBox
from pacskit.widgets.bridge import Bridge
from pacskit.widgets.carrier import WHY, Carrier
from pacskit.widgets.chooser import ChooserField, HeldField
from pacskit.widgets.handshake_box import HandshakeBox
from pacskit.widgets.identity_dialog import IdentityDialog
from pacskit.widgets.look import styled
from pacskit.widgets.private import unpin
from pacskit.widgets.readiness import Readiness
from pacskit.widgets.service_panel import Look, ServicePanel
from pacskit.widgets.trusted_dialog import TrustedDialog

LOOKS = {
    "listener": Look(
        "listener",
        lambda station: listener_facts.state(station.listener, closed=station.closed),
        sparks.html,
        lambda station: listener_facts.scanner(station.listener),
        {"host": listener_facts.choices},
    ),
    "secure_listener": Look(
        "secure_listener",
        secure_facts.state,
        lambda _: "",
        lambda _: "",
        {"host": listener_facts.choices},
        {"trusted": ChooserField, "certificate": ChooserField, "private_key": HeldField},
        {"trusted": TrustedDialog, "certificate": IdentityDialog},
        (secure_facts.SecureBeside, HandshakeBox),
        secure_facts.remarks,
    ),
}
"""A tab for each service that is here."""


class ServicesPanel:
    """The panels of one station's services; several views of it show the same."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._closed = False
        self._bridge: Bridge | None = None
        self._readiness = Readiness(lambda: self._ask("fallback"))
        self.panels = {
            name: ServicePanel(station, LOOKS[name], self._ask, self._readiness.ready)
            for name in station.slots
        }
        self._problems = Carrier(ready=self._readiness.ready)
        self.background = BackgroundBox(station, lambda: self._ask("background"), self._readiness.ready)
        self._why = w.HTML(f'<p class="pk-note">{WHY}</p>')
        self._why.add_class("pk-hidden")
        self.tabs = w.Tab(
            children=[panel.widget for panel in self.panels.values()],
            titles=[SECTIONS[name].label for name in self.panels],
        )
        self.widget = styled(
            [self._why, self._problems.widget, self.tabs, self.background.widget], "pk-services"
        )
        for panel in self.panels.values():
            panel.load()
        self._bridge = Bridge(station.events, _parts, self._redraw)
        self._bridge.ask("state", "plots", "check", "background")
        self._readiness.watch(self.widget)

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until all that happened so far is done and drawn; False after `timeout` seconds."""
        assert self._bridge is not None
        return self._bridge.settle(timeout)

    def close(self) -> None:
        """The station closes: nothing can be set any more. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._readiness.close()
        if self._bridge is not None:
            self._bridge.close()
        self.background.close()
        for panel in self.panels.values():
            panel.close()
        self._problems.show('<p class="pk-note">○ This station is closed.</p>')

    def __repr__(self) -> str:
        return "<pacskit services: run the cell to see them>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = self.widget._repr_mimebundle_()
        return bundle | {"text/plain": repr(self)}

    def _ask(self, part: str) -> None:
        if self._bridge is not None:
            self._bridge.ask(part)

    def _redraw(self, parts: frozenset[str]) -> None:
        """Called by the bridge's thread only: the one place that writes these widgets."""
        if self._closed or self._station.closed:
            return
        if "fallback" in parts:
            carriers = [carrier for panel in self.panels.values() for carrier in panel.carriers]
            for carrier in (self._problems, *self.background.carriers, *carriers):
                carrier.fall_back()
            self._why.remove_class("pk-hidden")
        for name, panel in self.panels.items():
            if "load" in parts:
                panel.load()
            if parts & {"check", f"check:{name}"}:
                panel.draw("check")
            if parts & {"state", "clock", "load", "check", f"check:{name}"}:
                panel.draw("state")
            if parts & {"plots", "clock"}:
                panel.draw("plots")
            for widget in panel.widgets:
                unpin(widget)
        if parts & {"background", "clock", "load", "state"}:
            self.background.draw()
        self._tell_problems()
        for widget in (self.widget, self.tabs, *self.background.widgets):
            unpin(widget)

    def _tell_problems(self) -> None:
        """Those that no field tells."""
        told = {
            str(problem)
            for problem in self._station.settings.problems
            if any(panel.form.tells(problem) for panel in self.panels.values())
        }
        found = [problem for problem in self._station.problems if problem not in told]
        text = "".join(f"<li>▲ {words.text(problem)}</li>" for problem in found)
        html = f'<ul class="pk-problems" role="alert">{text}</ul>' if found else ""
        self._problems.show(html)


_TOLD = (
    ServiceChanged,
    AssociationOpened,
    AssociationClosed,
    AssociationRefused,
    InstanceStored,
    InstanceRefused,
)


def _parts(event: Event) -> Iterable[str]:
    if isinstance(event, SettingsChanged):
        return ("load", "state")
    return ("state",) if isinstance(event, _TOLD) else ()
