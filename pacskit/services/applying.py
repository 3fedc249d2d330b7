"""Apply: from what runs to what is wanted, with as few interruptions as the addresses allow.

A service whose snapshot is unchanged is left alone. Of a changed one the new service takes the old one's
socket over, or starts before the old one retires; only where it needs a port that one of the old ones
holds there is a gap. The old ones' associations always go on to their own end. All or nothing: when a new
service cannot start, all that was done is undone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacskit.errors import ServiceError
from pacskit.services.base import Service
from pacskit.services.slot import Slot


@dataclass(frozen=True, slots=True)
class _Change:
    slot: Slot[Any]
    old: Service
    new: Service


def apply(changes: Sequence[tuple[Slot[Any], Any]]) -> None:
    """Give each slot its settings (ServiceSettings): it runs where they are `enabled`, else it is retired.

    Raises ServiceError (PortTaken) of the service that cannot start, after the old ones run again with their
    old settings; when one of them cannot either, the error says so and its status is FAILED.

    A service that is enabled and unchanged but does not run is started too, last: that it fails once more
    keeps nobody from changing the others. It is then raised only when nothing else was asked for; its
    status says it always.
    """
    wanted = dict(changes)
    with contextlib.ExitStack() as held:
        for slot in sorted(wanted, key=id):  # one order for all, or two callers wait for each other
            held.enter_context(slot.changing)
        before = [(slot, slot.current, slot.status) for slot in wanted]
        changed = [
            _Change(slot, slot.current, slot.make(settings))
            for slot, settings in wanted.items()
            if settings != slot.settings
        ]
        try:
            _replace_all(changed)
        finally:
            for slot, service, status in before:
                if slot.current is not service or slot.status is not status:
                    slot.current.tell()
        unchanged = wanted.keys() - {change.slot for change in changed}
        failures = [
            failure
            for slot in wanted
            if slot in unchanged and slot.settings.enabled and (failure := _try_again(slot))
        ]
        if failures and not changed:
            raise failures[0]


def _try_again(slot: Slot[Any]) -> ServiceError | None:
    try:
        slot.start()
    except ServiceError as error:
        return error
    return None


def _replace_all(changes: Sequence[_Change]) -> None:
    lost: list[str] = []
    try:
        with contextlib.ExitStack() as undo:
            left = [change for change in changes if not _adopted(change, undo)]
            _start_all(left, undo, lost)
            undo.pop_all()
    except ServiceError as error:
        for sentence in lost:
            error.and_also(f"What ran before cannot run again: {sentence}")
        raise
    for change in left:
        change.slot.put(change.new)


def _adopted(change: _Change, undo: contextlib.ExitStack) -> bool:
    """Whether the new one took over the old one's socket."""
    if not change.new.settings.enabled or not change.new.adopt(change.old, tell=False):
        return False
    undo.callback(_hand_over, change.slot, change.new, change.old)
    change.slot.put(change.new)
    return True


def _hand_over(slot: Slot[Any], giver: Service, taker: Service) -> None:
    taker.adopt(giver, tell=False)
    slot.put(taker)


def _start_all(changes: Sequence[_Change], undo: contextlib.ExitStack, lost: list[str]) -> None:
    """Start the new ones: first those whose port is free, so that what is impossible is known early."""
    starting = [change for change in changes if change.new.settings.enabled]
    leaving = [change.old for change in changes if change.old.status.running]
    held = frozenset[int]().union(*(old.ports() for old in leaving))
    colliding = [change for change in starting if change.new.ports() & held]
    needed = frozenset[int]().union(*(change.new.ports() for change in colliding))
    for change in starting:
        if change not in colliding:
            _start(change, undo)
    for old in leaving:
        if old.ports() & needed:
            undo.callback(_resume, old, lost)
            old.retire(tell=False)
    for change in colliding:
        _start(change, undo)


def _start(change: _Change, undo: contextlib.ExitStack) -> None:
    undo.callback(_withdraw, change)
    change.new.start(tell=False)


def _withdraw(change: _Change) -> None:
    change.new.retire(tell=False)
    change.slot.keep(change.new)


def _resume(old: Service, lost: list[str]) -> None:
    try:
        old.resume(tell=False)
    except ServiceError as error:
        lost.append(str(error))
