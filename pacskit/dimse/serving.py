"""Who serves an association that was accepted: a thread of this process, or a worker."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from pacskit.archive.remote import Entrance
from pacskit.dimse.association import Association, Served
from pacskit.dimse.receive import Begin
from pacskit.dimse.secured import Secured
from pacskit.dimse.storage_classes import VERIFICATION
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.dimse.workers.pool import Workers
from pacskit.dimse.workers.served import RemoteAssociation


class Store(Protocol):
    """Where instances go: the archive's face, as the listener sees it."""

    def receiver(self, *, calling_ae: str, called_ae: str, address: str, receiving_address: str) -> Begin: ...
    def entrance(
        self, *, calling_ae: str, called_ae: str, address: str, receiving_address: str
    ) -> Entrance: ...


def new_association(
    store: Store,
    workers: Workers | None,
    number: int,
    sock: socket.socket,
    connection: Connection,
    request: AssociateRequest,
    address: str,
    *,
    refused: Callable[[str, int, str], None],
    ended: Callable[[Served, str, str], None],
    timeout: float,
    largest: int,
    secured: Secured | None = None,
) -> Served:
    """Not yet started; the arguments are those of Association."""
    which = (number, sock, connection, request, address)
    rules: dict[str, Any] = {"refused": refused, "ended": ended, "timeout": timeout, "largest": largest}
    origin = {
        "calling_ae": request.calling_ae_title,
        "called_ae": request.called_ae_title,
        "address": address,
        "receiving_address": "{}:{}".format(*sock.getsockname()[:2]),
    }
    # whoever only asks whether we are there is answered here; and a TLS session cannot change the process
    stores = secured is None and any(
        context.abstract_syntax != VERIFICATION for context in connection.contexts.values()
    )
    if workers is not None and stores and (worker := workers.least_busy()) is not None:
        return RemoteAssociation(
            *which, workers=workers, worker=worker, entrance=store.entrance(**origin), **rules
        )
    return Association(*which, begin=store.receiver(**origin), secured=secured, **rules)
