"""A listener with worker processes, and what to look at in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from pydicom.uid import CTImageStorage

from pacskit.archive import Archive
from pacskit.dimse.client import ClientAssociation
from pacskit.dimse.slot import ListenerSlot
from pacskit.dimse.workers.pool import Workers
from pacskit.imaging.part10 import META_LIMIT, read_head
from pacskit.peers import PeerAddress
from pacskit.services.applying import apply
from pacskit.settings import ListenerSettings
from tests.archive.serving import CONTEXT

HERE = "127.0.0.1"
CT = str(CTImageStorage)
Open = Callable[..., tuple[ListenerSlot, Archive]]


def workers_left() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and any("worker" in part for part in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            pass
    return found


def change(slot: ListenerSlot, **values: Any) -> None:
    apply([(slot, ListenerSettings(**{**slot.settings.model_dump(), **values}))])


def peer(slot: ListenerSlot, called: str = "PACSKIT") -> PeerAddress:
    return PeerAddress(called, HERE, slot.status.port)


def associate(slot: ListenerSlot, called: str = "PACSKIT") -> ClientAssociation:
    return ClientAssociation(peer(slot, called), [CONTEXT], timeout=30)


def workers_of(slot: ListenerSlot) -> Workers:
    found = slot.current._workers
    assert found is not None
    return found


def pids(slot: ListenerSlot) -> set[int]:
    return {worker.pid for worker in workers_of(slot).processes()}


def body_of(path: str) -> bytes:
    raw = Path(path).read_bytes()
    return raw[read_head(raw[:META_LIMIT]).offset :]


def check_stored(archive: Archive, sent: dict[str, bytes]) -> None:
    found = archive.table("instance")
    paths = dict(zip(found.sop_instance_uid, found.path, strict=True))
    assert paths.keys() == sent.keys()
    for uid, body in sent.items():
        assert body_of(paths[uid]) == body, uid
