"""What a Station needs of whatever runs its services: an owner in this process, or one in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pacskit.archive import Archive
from pacskit.dimse.association import AssociationInfo
from pacskit.dimse.refusals import Refusal
from pacskit.dimse.totals import Totals
from pacskit.errors import SettingError
from pacskit.services.base import Status
from pacskit.settings import Settings
from pacskit.station.metrics import Metrics

Where = Literal["kernel", "serve", "background"]
"""kernel: a notebook or script; serve: `pacskit serve` in a terminal; background: a process of its own."""


class AnySlot(Protocol):
    """A service's place, here or in another process."""

    @property
    def settings(self) -> Any: ...
    @property
    def status(self) -> Status: ...
    def start(self) -> None:
        """Raises ServiceError (PortTaken)."""

    def stop(self) -> None: ...


class AnyListenerSlot(AnySlot, Protocol):
    def associations(self) -> list[AssociationInfo]:
        """Those open now, oldest first."""

    def totals(self) -> Totals: ...
    def refusals(self) -> list[Refusal]:
        """Who was not let in and why, the last one first."""


@dataclass(frozen=True, slots=True)
class Background:
    """Where the services of a station run, for a panel to show."""

    run_in: Where = "kernel"
    attached: bool = False
    """They run in another process than this one."""
    pid: int = 0
    """Of the process they run in."""
    since: float = 0.0
    """Unix time in seconds."""
    keep_running: bool = True
    """A background station: whether it goes on when the last notebook leaves."""
    log: Path | None = None
    """The log's newest file; None: there is none, the messages go to the notebook or the terminal."""
    clients: int = 0
    """How many processes follow it."""
    dropped: int = 0
    """Events that never came here, since this process was too busy to take them."""
    lost: str = ""
    """Why that process is gone, a sentence; empty while it is there."""


class Core(Protocol):
    """Errors are those of Station's methods of the same names."""

    @property
    def settings(self) -> Settings: ...
    @property
    def problems(self) -> list[str]: ...
    @property
    def troubles(self) -> Mapping[str, str]: ...
    @property
    def slots(self) -> Mapping[str, AnySlot]: ...
    @property
    def listener(self) -> AnyListenerSlot: ...
    @property
    def secure_listener(self) -> AnyListenerSlot: ...
    @property
    def archive(self) -> Archive: ...
    @property
    def background(self) -> Background: ...
    @property
    def closed(self) -> bool: ...
    def apply(
        self, changes: Mapping[str, Mapping[str, Any]], *, save: bool = False, shared: bool = False
    ) -> None: ...
    def metrics(self) -> Metrics: ...
    def is_administrator(self) -> bool: ...
    def reload(self) -> None: ...
    def close(self) -> None: ...


def check_dicts(sections: Mapping[str, Any], source: str) -> None:
    """Raises SettingError for a section that is no dict."""
    for section, values in sections.items():
        if not isinstance(values, Mapping):
            raise SettingError(section, f"is a dict of settings, not {values!r}", source)
