"""Attached: a station whose services run in another process, with the face of one that runs here."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pacskit.archive import Archive
from pacskit.dimse.association import AssociationInfo
from pacskit.dimse.refusals import Refusal
from pacskit.dimse.totals import Totals
from pacskit.errors import ServiceError
from pacskit.events import EventBus, ServiceChanged, SettingsChanged, StudiesChanged
from pacskit.services.base import State, Status
from pacskit.services.host import plain
from pacskit.services.host.client import Channel, NobodyThere
from pacskit.services.host.places import Place
from pacskit.services.host.wire import Message
from pacskit.settings import Settings, values, wire
from pacskit.settings.models import SECTIONS
from pacskit.station.attached_archive import AttachedArchive
from pacskit.station.core import Background
from pacskit.station.metrics import FollowedMeter, Metrics


@dataclasses.dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the owner said last of itself; replaced whole."""

    settings: Settings
    slots: Mapping[str, tuple[Any, Status]]
    troubles: Mapping[str, str]
    problems: tuple[str, ...]


class Attached:
    """Follows one owner until `close()`, or until that is gone: `background.lost` says so then."""

    def __init__(self, place: Place, folder: Path, events: EventBus) -> None:
        """Raises NobodyThere, ServiceError (another version), ArchiveError."""
        self.folder, self.events = folder, events
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None
        self._said: Message = {}
        self._lost = ""
        self._dropped = 0
        self._meter = FollowedMeter()
        self._closed = False
        self._place = place
        self._channel = Channel(place, state=self._told, events=self._happened, lost=self._gone)
        self._hang_up = weakref.finalize(self, Channel.close, self._channel)
        try:
            try:
                self._channel.ask("sync")
            except ServiceError as error:  # it ends just now
                raise NobodyThere from error
            archive = AttachedArchive.read(folder)
            assert isinstance(archive, AttachedArchive)
            archive.follow_owner(self)
        except BaseException:
            self._hang_up()
            raise
        self.archive: Archive = archive
        self.slots: Mapping[str, AttachedSlot] = {name: AttachedSlot(self, name) for name in self._now.slots}
        self.listener, self.secure_listener = self.slots["listener"], self.slots["secure_listener"]

    @property
    def settings(self) -> Settings:
        return self._now.settings

    @property
    def problems(self) -> list[str]:
        return list(self._now.problems)

    @property
    def troubles(self) -> Mapping[str, str]:
        return self._now.troubles

    @property
    def background(self) -> Background:
        about = self._channel.about
        return Background(
            run_in=about["run_in"],
            attached=True,
            pid=self._place.pid,
            since=about["since"],
            keep_running=self.settings.station.keep_running,
            log=Path(about["log"]) if about["log"] else None,
            clients=self._clients(),
            dropped=self._dropped,
            lost=self._lost,
        )

    @property
    def closed(self) -> bool:
        return self._closed

    def apply(
        self, changes: Mapping[str, Mapping[str, Any]], *, save: bool = False, shared: bool = False
    ) -> None:
        self.ask("apply", changes=wire.plain_fields(changes), save=save, shared=shared)

    def adopt(self, code: Mapping[str, Mapping[str, Any]]) -> str:
        """Have the owner run by what the code here says, where it differs from what it runs by.

        Why that is not possible, a sentence for a warning, else ''. Raises SettingError.
        """
        changes: dict[str, dict[str, Any]] = {}
        for section, fields in wire.plain_fields(code).items():
            now = self.settings.section(section)
            for name, value in fields.items():
                if (section, name) in (("archive", "folder"), ("station", "run_in")):
                    continue
                if values.validated(SECTIONS[section], name, value) != getattr(now, name):
                    changes.setdefault(section, {})[name] = value
        try:
            if changes:
                self.apply(changes)
        except ServiceError as error:
            return str(error)
        return ""

    def metrics(self) -> Metrics:
        return self._meter.metrics(self.ask)

    def is_administrator(self) -> bool:
        return bool(self.ask("administrator"))

    def reload(self) -> None:
        self.ask("reload")

    def drain(self) -> None:
        """Nothing to wait for where the owner is gone: what it has received is in the files."""
        try:
            self.ask("drain")
        except ServiceError:
            if not self._channel.ended:
                raise

    def work(
        self,
        ask: str,
        progress: Callable[[Any], None] | None = None,
        cancel: threading.Event | None = None,
        **arguments: Any,
    ) -> Any:
        """As `ask`, for what may take hours: see Channel.work."""
        self._check()
        return self._channel.work(ask, progress, cancel, **arguments)

    @property
    def pid(self) -> int:
        """Of the owner's process."""
        return self._place.pid

    @property
    def there(self) -> bool:
        """Whether the owner can be asked."""
        return not (self._closed or self._lost)

    def shut_down(self, patience: float) -> None:
        """End the owner's process. Raises ServiceError where it is a notebook's, or does not end."""
        self.ask("shutdown")
        if not self._channel.wait_for_end(patience):
            raise ServiceError(f"the background station (process {self._place.pid}) has not ended yet")

    def ask(self, ask: str, **arguments: Any) -> Any:
        """Raises what the owner raises, ServiceError where it is gone."""
        self._check()
        return self._channel.ask(ask, **arguments)

    def _check(self) -> None:
        if self._closed:
            raise ServiceError("This station is closed: make a new one")
        if self._lost:
            raise ServiceError(self._lost)

    def close(self) -> None:
        """Detach: the services go on in their process. Safe to call twice."""
        self._closed = True
        self._hang_up()
        self._channel.wait_for_end(5)
        self.archive.close()

    @property
    def _now(self) -> _Snapshot:
        assert self._snapshot is not None
        return self._snapshot

    def _clients(self) -> int:
        try:
            return int(self.ask("clients"))
        except ServiceError:
            return 0

    def _told(self, said: Message) -> None:
        """In the channel's thread: a new state."""
        if said == self._said:
            return
        before, self._said = self._said, said
        same = self._snapshot is not None and said["settings"] == before["settings"]
        settings = self._now.settings if same else wire.from_plain(said["settings"])
        slots = {
            name: (wire.section_from_plain(name, slot["settings"]), _status(slot["status"]))
            for name, slot in said["slots"].items()
            if name in SECTIONS
        }
        with self._lock:
            if not self._lost:
                self._snapshot = _Snapshot(
                    settings, slots, dict(said["troubles"]), tuple(map(str, said["problems"]))
                )

    def _happened(self, told: list[Message], dropped: int) -> None:
        if dropped:
            self._dropped += dropped
            self.events.publish(StudiesChanged(study_uids=frozenset()))  # whoever shows something asks anew
            self.events.publish(SettingsChanged(sections=frozenset()))
        for message in told:
            if (event := plain.event_of(message)) is not None:
                self.events.publish(event)

    def _gone(self, reason: str) -> None:
        if self._closed:
            return
        process = f"The station's own process ({self._place.pid})"
        how = f"has ended: {reason}." if reason else "is gone: it was killed, or crashed."
        log = f" Its log: {self._channel.about['log']}." if self._channel.about["log"] else ""
        with self._lock:
            self._lost = f"{process} {how} A new Station() starts again.{log}"
            state = State.STOPPED if reason else State.FAILED
            status = Status(state, since=time.time(), error=self._lost)
            slots = {name: (settings, status) for name, (settings, _) in self._now.slots.items()}
            self._snapshot = dataclasses.replace(self._now, slots=slots)
        for name in slots:
            self.events.publish(ServiceChanged(service=name, state=state, error=self._lost))


class AttachedSlot:
    """A service of the owner."""

    def __init__(self, owner: Attached, name: str) -> None:
        self._owner, self.name = owner, name
        self._totals = Totals()

    @property
    def settings(self) -> Any:
        """Those its service runs by."""
        return self._owner._now.slots[self.name][0]

    @property
    def status(self) -> Status:
        return self._owner._now.slots[self.name][1]

    def start(self) -> None:
        """Raises ServiceError (PortTaken)."""
        self._owner.ask("start", section=self.name)

    def stop(self) -> None:
        self._owner.ask("stop", section=self.name)

    def associations(self) -> list[AssociationInfo]:
        """Those open now, oldest first; none where the owner is gone."""
        try:
            found = self._owner.ask("associations", section=self.name)
        except ServiceError:
            return []
        return [plain.record_of(AssociationInfo, info) for info in found]

    def refusals(self) -> list[Refusal]:
        """Who was not let in and why, the last one first; none where the owner is gone."""
        try:
            found = self._owner.ask("refusals", section=self.name)
        except ServiceError:
            return []
        return [plain.record_of(Refusal, refusal) for refusal in found]

    def totals(self) -> Totals:
        """Since `status.since`; as they were last where the owner is gone."""
        with contextlib.suppress(ServiceError):
            self._totals = plain.record_of(Totals, self._owner.ask("totals", section=self.name))
        return self._totals


def _status(data: Mapping[str, Any]) -> Status:
    return dataclasses.replace(plain.record_of(Status, data), state=State(data["state"]))
