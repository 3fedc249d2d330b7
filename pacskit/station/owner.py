"""Owner: settings, archive and services in this process. Other processes attach to it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pacskit.archive import Archive
from pacskit.dimse.listener import DicomListener
from pacskit.dimse.secure_listener import SecureDicomListener
from pacskit.dimse.slot import ListenerSlot
from pacskit.errors import PacskitError, ServiceError, SettingError
from pacskit.events import ArchiveFailed, EventBus, SettingsChanged
from pacskit.services.applying import apply
from pacskit.services.base import State
from pacskit.services.hooks import Hooks
from pacskit.services.host.server import ControlServer
from pacskit.services.ports import PortMemory
from pacskit.services.slot import Slot
from pacskit.settings import SECTIONS, SERVICES, Settings
from pacskit.settings.stack import SettingsStack
from pacskit.settings.watch import Watch
from pacskit.station.answers import OwnerAnswers
from pacskit.station.core import Background, Where, check_dicts
from pacskit.station.metrics import Meter, Metrics
from pacskit.station.store import ArchiveStore

log = logging.getLogger(__name__)

PORTS = "ports.json"
"""In the archive's folder: which ports `auto` took, so that scanners find the station again."""


class Owner:
    """Made, then `start()`ed; ends with `close()`."""

    def __init__(self, stack: SettingsStack, folder: Path, events: EventBus) -> None:
        """Raises ArchiveError (ArchiveOwned)."""
        self._stack, self.events = stack, events
        self.archive = Archive.create_or_open(folder, events, self.settings.archive)
        store, ports = ArchiveStore(self.archive), PortMemory(folder / PORTS)
        self.listener = ListenerSlot(
            lambda settings: DicomListener(settings, store, events, ports), self.settings.listener
        )
        self.secure_listener = ListenerSlot(
            lambda settings: SecureDicomListener(settings, store, events, ports),
            self.settings.secure_listener,
        )
        self.slots: Mapping[str, Slot[Any]] = {
            "listener": self.listener,
            "secure_listener": self.secure_listener,
        }
        self.troubles: dict[str, str] = {}
        self._changing = threading.RLock()
        self._closed = False
        self._watch: Watch | None = None
        self._since = time.time()
        self._run_in: Where = "kernel"
        self._log: Path | None = None
        self._on_failure = events.subscribe(ArchiveFailed, self._archive_failed)
        self._hooks = Hooks(self.settings.hooks, events)
        self._meter = Meter((self.listener, self.secure_listener), self.archive)
        self.answers = OwnerAnswers(self)
        self.control: ControlServer | None = None
        self.unreachable = ""
        """Why no other process can attach, a sentence."""
        try:
            self.control = ControlServer(folder, events, self.answers, os.getpid())
        except ServiceError as error:
            self.unreachable = str(error)
            log.warning("%s", error)

    def start(self) -> list[str]:
        """Start what is enabled, follow the settings files; a sentence for each that could not start."""
        failures = []
        self._block(self.settings)
        for slot in self.slots.values():
            if slot.settings.enabled:
                try:
                    slot.start()
                except PacskitError as error:
                    failures.append(str(error))
        self._watch = Watch(self._stack.settled_outside, self.reload)
        return failures

    def hosted(self, run_in: Where, stop: Callable[[], None], log: Path | None = None) -> None:
        """This process is there for the station alone: `stop` ends it, without waiting."""
        self._run_in, self._log, self.answers.stop = run_in, log, stop

    @property
    def background(self) -> Background:
        return Background(
            run_in=self._run_in,
            pid=os.getpid(),
            since=self._since,
            keep_running=self.settings.station.keep_running,
            log=self._log,
            clients=self.control.clients if self.control is not None else 0,
        )

    @property
    def settings(self) -> Settings:
        """What is set now: `station.settings.listener.port`, `station.settings.explain("listener.port")`."""
        return self._stack.settings

    @property
    def problems(self) -> list[str]:
        """What is wrong in settings files and the environment, a sentence each."""
        missing = [
            f"{SECTIONS[name].label}: {name}.enabled has no effect, this version has no such service yet"
            for name in SERVICES
            if name not in self.slots and self.settings.section(name).enabled
        ]
        return [*map(str, self.settings.problems), *missing]

    def apply(
        self, changes: Mapping[str, Mapping[str, Any]], *, save: bool = False, shared: bool = False
    ) -> None:
        """Change settings, as in `apply({"listener": {"port": 104}})`; all of it, or nothing.

        Services whose settings change take them over: associations that are open end by finishing, new ones
        see the new settings. `save` keeps the change in the user's file, `shared` in the one for all users
        (administrators only; `{"listener": {"shared": False}}` with `save` ends the sharing).

        Raises SettingError, NotAdministrator, ServiceError (PortTaken: the old service still runs), NotSaved.
        """
        check_dicts(changes, "you")
        with self._changing:
            if self._closed:
                raise PacskitError("This station is closed: make a new one to change settings")
            before, plan = self.settings, self._stack.plan(changes, save=save or shared, shared=shared)
            for name in changes:
                if name in self.slots and (problems := plan.settings.blocking(name)):
                    raise SettingError(name, str(problems[0]), "you")
            earlier = [(slot, slot.settings, slot.status.running) for slot in self.slots.values()]
            try:
                self._run_with(plan.settings, changes)
                try:
                    self._stack.carry_out(plan)
                except BaseException:
                    _take_back(earlier)
                    raise
            except BaseException:
                self._block(before)
                raise
            self._follow(before, changes)

    def metrics(self) -> Metrics:
        return self._meter.metrics()

    def is_administrator(self) -> bool:
        """Whether this user may change what all users of this computer share: tried, not guessed."""
        return self._stack.is_administrator()

    def reload(self) -> None:
        """Read the settings files again; happens by itself within a second after one was changed."""
        with self._changing:
            if self._closed:
                return
            before = self.settings
            try:
                self._stack.load()
            except PacskitError as error:  # files and code contradict each other: all goes on as before
                self._tell(before, frozenset(), dict.fromkeys(self.slots, str(error)))
            else:
                self._follow(before)

    def _run_with(self, settings: Settings, sections: Collection[str]) -> None:
        """Raises ServiceError; then every service runs as before."""
        self._block(settings)
        apply([(slot, settings.section(name)) for name, slot in self.slots.items() if name in sections])

    def _follow(self, before: Settings, done: Collection[str] = ()) -> None:
        """Let the services of all sections but `done` take over what is set now, and tell.

        Another process may have changed them; or an earlier change could not be followed, or was wrong.
        """
        after = self.settings
        behind = {
            name
            for name, slot in self.slots.items()
            if name not in done and not after.blocking(name) and _is_behind(slot, after.section(name))
        }
        troubles: dict[str, str] = {}
        try:
            self._run_with(after, behind)
        except PacskitError as error:
            troubles = dict.fromkeys(behind, str(error))
        changed = {name for name in SECTIONS if after.section(name) != before.section(name)}
        self._tell(before, frozenset(changed | behind | set(done)), troubles)

    def _tell(self, before: Settings, sections: frozenset[str], troubles: dict[str, str]) -> None:
        news = troubles != self.troubles or before.problems != self.settings.problems
        self.troubles = troubles
        self._hooks.settings = self.settings.hooks
        self.archive.follow(self.settings.archive)
        if sections or news:
            error = next(iter(troubles.values()), "")
            self.events.publish(SettingsChanged(sections=sections.union(troubles), error=error))

    def _block(self, settings: Settings) -> None:
        """Nothing is started by settings that nobody meant; what runs goes on."""
        for name, slot in self.slots.items():
            slot.obstacle = " ".join(map(str, settings.blocking(name)[:1]))

    def close(self) -> None:
        """Stop the services, their ports free on return, and let go of the archive. Safe to call twice."""
        with self._changing:  # a change under way comes to its end first
            if self._closed:
                return
            self._closed = True
        self._on_failure.close()
        try:
            if self.control is not None:
                self.control.end("it was closed")
            if self._watch is not None:
                self._watch.close()
            for slot in self.slots.values():
                slot.stop()
            self._hooks.close()
            self._meter.close()
        finally:
            self.archive.close()
            if self.control is not None:
                self.control.close()  # last: to who is attached it says that the archive is free

    @property
    def closed(self) -> bool:
        return self._closed

    def _archive_failed(self, event: ArchiveFailed) -> None:
        # From the index's own thread: stopping waits for associations that may wait for the index.
        for slot in self.slots.values():
            threading.Thread(target=slot.stop, name="pacskit-stop", daemon=True).start()


def _is_behind(slot: Slot[Any], settings: Any) -> bool:
    """Whether its service has other settings, or failed by what was wrong in these and is not any more."""
    blocked = bool(slot.obstacle) and slot.status.state is State.FAILED
    return blocked or slot.settings != settings


def _take_back(earlier: Sequence[tuple[Slot[Any], Any, bool]]) -> None:
    """Give slots the settings they had, and let them run or not as they did. Raises ServiceError."""
    apply([(slot, settings) for slot, settings, _ in earlier if slot.settings != settings])
    for slot, _, ran in earlier:
        if ran:
            slot.current.start()
        else:
            slot.current.retire()
