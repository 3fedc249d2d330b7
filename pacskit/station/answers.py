"""What an owner answers on its control channel: all that its attached stations and `pacskit status` need."""

from __future__ import annotations

import importlib.metadata
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from pacskit.errors import ServiceError
from pacskit.services.host import plain
from pacskit.settings import wire
from pacskit.station import metrics
from pacskit.station.archive_works import ArchiveWorks
from pacskit.station.core import AnySlot, Core


class OwnerAnswers:
    """Holds the owner weakly: one that nobody holds any more is not kept by its clients."""

    quick = frozenset({"sync", "about", "status", "clients", "associations", "totals", "refusals", "metrics"})
    changing = frozenset({"apply", "reload", "start", "stop"})
    works = ArchiveWorks.names

    def __init__(self, owner: Core) -> None:
        self._reference = weakref.ref(owner)
        self.stop: Callable[[], None] | None = None
        """Ends the process; None in a notebook, whose person does that."""
        self.left: Callable[[int], None] = lambda count: None
        """Told how many clients there are, whenever that changes."""

    def clients_changed(self, count: int) -> None:
        self.left(count)

    def answer(self, ask: str, arguments: Mapping[str, Any]) -> Any:
        """Raises PacskitError, ValueError for what is no question."""
        found = getattr(self, f"_{ask}", None) if ask in _QUESTIONS else None
        if found is None:
            raise ValueError(f"there is no question {ask!r}")
        return found(**arguments)

    def work(
        self,
        ask: str,
        arguments: Mapping[str, Any],
        tell: Callable[[Any], None],
        cancel: threading.Event,
    ) -> Any:
        """What a person has the archive do. Raises as Archive's method of that name, and TypeError."""
        works = ArchiveWorks(self._owner.archive, tell, cancel)
        return plain.written(getattr(works, ask)(**arguments))

    def state(self) -> Mapping[str, Any]:
        """Settings, services and what is wrong, of one moment."""
        owner = self._owner
        slots = {
            name: {
                "settings": wire.section_to_plain(slot.settings),
                "status": plain.record(slot.status),
            }
            for name, slot in owner.slots.items()
        }
        return {
            "settings": wire.to_plain(owner.settings),
            "slots": slots,
            "troubles": dict(owner.troubles),
            "problems": list(owner.problems),
        }

    @property
    def _owner(self) -> Core:
        if (owner := self._reference()) is None:
            raise ServiceError("the station is gone: its notebook has let it go")
        return owner

    def _slot(self, section: str) -> Any:
        if section not in self._owner.slots:
            raise ValueError(f"there is no service {section!r}")
        return self._owner.slots[section]

    def _sync(self) -> None:
        """All that was told before is heard when this is answered."""

    def _about(self) -> dict[str, Any]:
        owner = self._owner
        found = owner.background
        return {
            "version": importlib.metadata.version("pacskit"),
            "archive": str(owner.archive.folder),
            "pid": os.getpid(),
            "run_in": found.run_in,
            "since": found.since,
            "log": str(found.log) if found.log is not None else None,
        }

    def _status(self) -> dict[str, Any]:
        owner = self._owner
        more = {"keep_running": owner.background.keep_running, "clients": owner.background.clients}
        return {**self._about(), **more, "services": {n: _service(slot) for n, slot in owner.slots.items()}}

    def _clients(self) -> int:
        return self._owner.background.clients

    def _associations(self, section: str) -> list[dict[str, Any]]:
        return [plain.record(info) for info in self._slot(section).associations()]

    def _refusals(self, section: str) -> list[dict[str, Any]]:
        return [plain.record(refusal) for refusal in self._slot(section).refusals()]

    def _totals(self, section: str) -> dict[str, Any]:
        return plain.record(self._slot(section).totals())

    def _metrics(self, after: float | None) -> dict[str, Any]:
        return metrics.to_plain(self._owner.metrics(), after)

    def _start(self, section: str) -> None:
        self._slot(section).start()

    def _stop(self, section: str) -> None:
        self._slot(section).stop()

    def _apply(self, changes: dict[str, Any], save: bool, shared: bool) -> None:
        self._owner.apply(changes, save=save, shared=shared)

    def _reload(self) -> None:
        self._owner.reload()

    def _administrator(self) -> bool:
        return self._owner.is_administrator()

    def _drain(self) -> None:
        self._owner.archive.drain()

    def _shutdown(self) -> None:
        if self.stop is None:
            raise ServiceError(
                f"the station of {self._owner.archive.folder} runs in a notebook or a script "
                f"(process {os.getpid()}): close it there"
            )
        self.stop()


_QUESTIONS = OwnerAnswers.quick | OwnerAnswers.changing | {"administrator", "drain", "shutdown"}


def _service(slot: AnySlot) -> dict[str, Any]:
    found = plain.record(slot.status)
    if hasattr(slot.settings, "ae_title"):
        found["ae_title"] = slot.settings.ae_title
    if hasattr(slot, "associations"):
        found["associations"] = [plain.record(info) for info in slot.associations()]
    if hasattr(slot, "totals"):
        found["totals"] = plain.record(slot.totals())
    return found
