"""The DICOM Listener: takes associations, decides who may do what, gives what is stored to the archive."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from pacskit.dimse.accept import Acceptor
from pacskit.dimse.association import Association, AssociationInfo
from pacskit.dimse.receive import Incoming
from pacskit.dimse.storage_classes import supported_contexts
from pacskit.dimse.system import listen
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.negotiation import negotiate, reject_reason, unacceptable
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.events import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    EventBus,
    InstanceRefused,
)
from pacskit.peers import Verb, allowed_verbs
from pacskit.services.base import Service
from pacskit.settings import ListenerSettings

log = logging.getLogger(__name__)

REJECTED, TRANSIENT = 1, 2
CALLING_NOT_RECOGNIZED = (REJECTED, 1, 3)
CALLED_NOT_RECOGNIZED = (REJECTED, 1, 7)
LOCAL_LIMIT_EXCEEDED = (TRANSIENT, 3, 2)
"""A-ASSOCIATE-RJ result, source, reason (PS3.8 table 9-21)."""

STOP_PATIENCE = 2.0
"""Seconds a peer gets to read what it was being sent, when the service stops."""


class Store(Protocol):
    """Where instances go: the archive's face, as the listener sees it."""

    def receive(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        calling_ae: str,
        called_ae: str,
        address: str,
        receiving_address: str,
    ) -> Incoming: ...


class DicomListener(Service):
    """One listening port with one settings snapshot."""

    name = "listener"

    def __init__(self, settings: ListenerSettings, store: Store, events: EventBus) -> None:
        super().__init__(events)
        self.settings = settings
        self._store = store
        self._associations: dict[int, Association] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._contexts: Mapping[frozenset[Verb], Mapping[str, frozenset[str]]] = {
            verbs: supported_contexts(accept_private=settings.accept_private, store=Verb.STORE in verbs)
            for verbs in (frozenset({Verb.ECHO}), frozenset({Verb.ECHO, Verb.STORE}))
        }

    def associations(self) -> list[AssociationInfo]:
        """Those open now, oldest first."""
        with self._lock:
            return [association.info() for association in self._associations.values()]

    def _start(self) -> tuple[str, int]:
        sock = listen(self.settings.host, self.settings.port)
        host, port = sock.getsockname()[:2]
        self._acceptor = Acceptor(
            sock,
            artim=self.settings.artim_timeout,
            maximum_length=self.settings.max_pdu,
            decide=self._decide,
            unheard=self._unheard,
        )
        self._acceptor.start()
        return host, port

    def _stop(self) -> None:
        self._acceptor.close()
        with self._lock:
            associations = list(self._associations.values())
        for association in associations:
            association.stop()
        deadline = time.monotonic() + STOP_PATIENCE
        for association in associations:
            association.join(max(0.0, deadline - time.monotonic()))

    def _decide(
        self, sock: socket.socket, connection: Connection, request: AssociateRequest, address: str
    ) -> bytes | None:
        settings = self.settings
        if (reject := unacceptable(request)) is not None:
            reason = reject_reason(reject.source, reject.reason)
            rejection = (reject.result, reject.source, reject.reason)
            return self._refuse(connection, request, address, rejection, reason)
        verbs = allowed_verbs(address, accept_unknown=settings.accept_unknown)
        if settings.check_called_ae_title and request.called_ae_title != settings.ae_title:
            reason = f"it called {request.called_ae_title!r}, our AE title is {settings.ae_title!r}"
            return self._refuse(connection, request, address, CALLED_NOT_RECOGNIZED, reason)
        if not verbs:
            reason = "the caller may do nothing here"
            return self._refuse(connection, request, address, CALLING_NOT_RECOGNIZED, reason)
        if len(self._associations) >= settings.max_associations:
            reason = f"{settings.max_associations} associations are open, the most that are allowed"
            return self._refuse(connection, request, address, LOCAL_LIMIT_EXCEEDED, reason)
        accept = negotiate(request, self._contexts[verbs], maximum_length=settings.max_pdu)
        answer = connection.accept(accept)
        sock.setblocking(True)
        association = Association(
            next(self._numbers),
            sock,
            connection,
            request,
            address,
            begin=lambda sop_class, sop_instance, syntax: self._begin(
                request, address, receiving, sop_class, sop_instance, syntax
            ),
            refused=lambda uid, status, reason: self.events.publish(
                InstanceRefused(
                    sop_instance_uid=uid,
                    received_from=request.calling_ae_title,
                    status=status,
                    reason=reason,
                )
            ),
            ended=self._ended,
            timeout=settings.network_timeout,
        )
        receiving = "{}:{}".format(*sock.getsockname()[:2])
        with self._lock:
            self._associations[association.number] = association
        self.events.publish(
            AssociationOpened(
                association=association.number,
                calling=request.calling_ae_title,
                called=request.called_ae_title,
                address=address,
            )
        )
        association.start(answer)
        return None

    def _begin(
        self,
        request: AssociateRequest,
        address: str,
        receiving: str,
        sop_class: str,
        sop_instance: str,
        transfer_syntax: str,
    ) -> Incoming:
        return self._store.receive(
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance,
            transfer_syntax_uid=transfer_syntax,
            calling_ae=request.calling_ae_title,
            called_ae=request.called_ae_title,
            address=address,
            receiving_address=receiving,
        )

    def _refuse(
        self,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        rejection: tuple[int, int, int],
        reason: str,
    ) -> bytes:
        log.info("association of %s at %s refused: %s", request.calling_ae_title, address, reason)
        self.events.publish(
            AssociationRefused(
                calling=request.calling_ae_title,
                called=request.called_ae_title,
                address=address,
                reason=reason,
            )
        )
        return connection.reject(*rejection)

    def _unheard(self, address: str, reason: str) -> None:
        log.info("a connection from %s %s", address, reason)
        self.events.publish(AssociationRefused(calling="", called="", address=address, reason=reason))

    def _ended(self, association: Association, how: str, reason: str) -> None:
        with self._lock:
            self._associations.pop(association.number, None)
        counters = association.counters
        log.info(
            "association %d of %s at %s: %s%s; stored %d, refused %d",
            association.number,
            association.request.calling_ae_title,
            association.address,
            how,
            f" ({reason})" if reason else "",
            counters.stored,
            counters.refused,
        )
        self.events.publish(
            AssociationClosed(
                association=association.number,
                calling=association.request.calling_ae_title,
                address=association.address,
                how=how,
                reason=reason,
                stored=counters.stored,
                refused=counters.refused,
            )
        )
