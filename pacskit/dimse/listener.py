"""The DICOM Listener: takes associations, decides who may do what, gives what is stored to the archive.

Old and new listener may run side by side for a while (`services.applying`): each keeps its own settings to
the end of its last association, and they share the numbers of associations, so that one number is one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Mapping

from pacskit.certificates import Handshakes
from pacskit.dimse.accept import Acceptor, Rules
from pacskit.dimse.association import AssociationInfo, Served
from pacskit.dimse.receive import MEGABYTE
from pacskit.dimse.refusals import Refusal, Refusals
from pacskit.dimse.secured import Secured
from pacskit.dimse.serving import Store, new_association
from pacskit.dimse.storage_classes import supported_contexts
from pacskit.dimse.totals import Tally, Totals
from pacskit.dimse.upper.connection import Connection
from pacskit.dimse.upper.negotiation import negotiate, reject_reason, unacceptable
from pacskit.dimse.upper.pdu import AssociateRequest
from pacskit.dimse.workers.pool import Workers, new_workers
from pacskit.errors import PortTaken, ServiceError
from pacskit.events import (
    AssociationClosed,
    AssociationOpened,
    AssociationRefused,
    EventBus,
    InstanceRefused,
)
from pacskit.peers import Verb, allowed_verbs
from pacskit.services.base import Service, listen
from pacskit.services.ports import PortMemory
from pacskit.settings.models import DicomSection, ListenerSettings

log = logging.getLogger(__name__)

REJECTED, TRANSIENT = 1, 2
CALLING_NOT_RECOGNIZED = (REJECTED, 1, 3)
CALLED_NOT_RECOGNIZED = (REJECTED, 1, 7)
LOCAL_LIMIT_EXCEEDED = (TRANSIENT, 3, 2)
"""A-ASSOCIATE-RJ result, source, reason (PS3.8 table 9-21)."""

STOP_PATIENCE = 2.0
"""Seconds a peer gets to read what it was being sent, when the service stops."""
GRACE = 1.0
"""Seconds who is connected still has to ask for an association, when the service lets go of its port."""

_numbers = itertools.count(1)
"""Of associations, in this process."""


class DicomListener(Service):
    """One listening port with one settings snapshot."""

    name = "listener"
    title = "Dicom Listener"
    settings: DicomSection

    def __init__(
        self,
        settings: DicomSection,
        store: Store,
        events: EventBus,
        ports: PortMemory | None = None,
    ) -> None:
        """`ports` keeps the port that `port = "auto"` found, for the next time."""
        super().__init__(settings, events)
        self._store, self._ports = store, ports
        self._acceptor: Acceptor | None = None
        self._leaving: list[Acceptor] = []
        self._workers: Workers | None = None
        self._associations: dict[int, Served] = {}
        self._lock = threading.Lock()
        self._tally, self._refusals = Tally(), Refusals()
        self._contexts: Mapping[frozenset[Verb], Mapping[str, frozenset[str]]] = {
            verbs: supported_contexts(accept_private=settings.accept_private, store=Verb.STORE in verbs)
            for verbs in (frozenset({Verb.ECHO}), frozenset({Verb.ECHO, Verb.STORE}))
        }

    def associations(self) -> list[AssociationInfo]:
        """Those open now, oldest first."""
        with self._lock:
            return [association.info() for association in self._associations.values()]

    def totals(self) -> Totals:
        """Since `status.since`: a change of settings that kept the port has not interrupted them."""
        return self._tally.totals()

    def refusals(self) -> list[Refusal]:
        """Who was not let in and why, the last one first."""
        return self._refusals.all()

    def ports(self) -> frozenset[int]:
        if not self.status.running and self.wanted_port == "auto" and (port := self._remembered()):
            return frozenset({port})
        return super().ports()

    def _remembered(self) -> int:
        return self._ports.recall(self.name) if self._ports is not None else 0

    def _start(self, port: int) -> tuple[str, int]:
        self._prepare()
        sock = self._listen(port)
        host, bound = sock.getsockname()[:2]
        acceptor = Acceptor(sock, self._rules())
        if not port:
            self._tally = Tally()
        self._workers = new_workers(self._worker_count, self.warn)
        try:
            acceptor.start()
        except RuntimeError as error:
            self._let_workers_go()
            raise ServiceError(f"the system has no thread left: {error}") from error
        self._acceptor = acceptor
        return host, bound

    def _listen(self, port: int) -> socket.socket:
        """On `port`, else on that of the settings. Raises PortTaken, ServiceError."""
        host, wanted = self.settings.host, self.wanted_port
        if isinstance(wanted, int):
            return listen(host, port or wanted)
        sock = None
        if (known := port or self._remembered()) != 0:
            with contextlib.suppress(PortTaken):
                sock = listen(host, known)
        sock = sock or listen(host, 0)
        if self._ports is not None:
            self._ports.remember(self.name, sock.getsockname()[1])
        return sock

    def _prepare(self) -> None:
        """What is needed before a port. Raises PacskitError."""

    @property
    def _worker_count(self) -> int:
        assert isinstance(self.settings, ListenerSettings)
        return self.settings.workers

    def _handshakes(self) -> Handshakes | None:
        """Of TLS; None: an open listener."""
        return None

    def _rules(self) -> Rules:
        settings = self.settings
        return Rules(
            artim=settings.artim_timeout,
            maximum_length=settings.max_pdu,
            most_waiting=settings.max_waiting,
            decide=self._decide,
            unheard=self._unheard,
            handshakes=self._handshakes(),
        )

    def _adopt(self, old: Service) -> bool:
        assert isinstance(old, DicomListener)
        mine, its = self.settings, old.settings
        same = mine.port == its.port or old.status.port in self.ports()
        if mine.host != its.host or not same or old._acceptor is None:
            return False
        self._prepare()
        self._tally, self._refusals = old._tally, old._refusals
        if (workers := old._workers) is not None and workers.whole and workers.count == self._worker_count:
            workers.told = self.warn
            self._workers, old._workers = workers, None
        else:
            self._workers = new_workers(self._worker_count, self.warn)
        self._acceptor, old._acceptor = old._acceptor, None
        self._acceptor.change(self._rules())
        return True

    def _retire(self) -> None:
        self._leaving = [acceptor for acceptor in self._leaving if not acceptor.ended]
        if self._acceptor is not None:  # else another listener has adopted it
            self._leaving.append(self._acceptor)
            self._acceptor.retire(GRACE)
            self._acceptor = None
        self._let_workers_go()

    def _busy(self) -> bool:
        # In this order: who asks in the time of grace becomes an association before the acceptor ends.
        return any(not acceptor.ended for acceptor in self._leaving) or bool(self._associations)

    def _stop(self) -> None:
        for acceptor in (self._acceptor, *self._leaving):
            if acceptor is not None:
                acceptor.close()
        self._acceptor, self._leaving = None, []
        with self._lock:
            associations = list(self._associations.values())
        for association in associations:
            association.stop()
        deadline = time.monotonic() + STOP_PATIENCE
        for association in associations:
            association.join(max(0.0, deadline - time.monotonic()))
        if (workers := self._let_workers_go()) is not None:
            workers.join()

    def _let_workers_go(self) -> Workers | None:
        """Those there were; they end after their last association."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.leave()
        return workers

    def _decide(
        self,
        sock: socket.socket,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        secured: Secured | None,
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
        tally = self._tally
        association = self._association(sock, connection, request, address, tally, secured)
        with self._lock:
            self._associations[association.number] = association
        tally.opened(association.number, association.counters)
        self.events.publish(
            AssociationOpened(
                association=association.number,
                calling=request.calling_ae_title,
                called=request.called_ae_title,
                address=address,
                tls=str(secured or ""),
                identity=secured.identity if secured is not None else "",
            )
        )
        association.start(answer)
        return None

    def _association(
        self,
        sock: socket.socket,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        tally: Tally,
        secured: Secured | None,
    ) -> Served:
        def refused(uid: str, status: int, reason: str) -> None:
            self.events.publish(
                InstanceRefused(
                    sop_instance_uid=uid,
                    received_from=request.calling_ae_title,
                    status=status,
                    reason=reason,
                )
            )

        return new_association(
            self._store,
            self._workers,
            next(_numbers),
            sock,
            connection,
            request,
            address,
            refused=refused,
            ended=lambda association, how, reason: self._ended(association, tally, how, reason),
            timeout=self.settings.network_timeout,
            largest=self.settings.max_object * MEGABYTE,
            secured=secured,
        )

    def _refuse(
        self,
        connection: Connection,
        request: AssociateRequest,
        address: str,
        rejection: tuple[int, int, int],
        reason: str,
    ) -> bytes:
        self._tally.refused()
        self._turned_away(address, reason, request.calling_ae_title, request.called_ae_title)
        return connection.reject(*rejection)

    def _unheard(self, address: str, reason: str) -> None:
        self._turned_away(address, reason)

    def _turned_away(self, address: str, reason: str, calling: str = "", called: str = "") -> None:
        if (told := self._refusals.note(address, reason, calling, called)) is None:
            return
        what = f"association of {calling} at" if calling else "connection from"
        again = f" ({told.count} times by now)" if told.count > 1 else ""
        log.info("%s: %s %s refused: %s%s", self.title, what, address, reason, again)
        self.events.publish(
            AssociationRefused(
                calling=calling, called=called, address=address, reason=reason, count=told.count
            )
        )

    def _ended(self, association: Served, tally: Tally, how: str, reason: str) -> None:
        tally.ended(association.number)
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
