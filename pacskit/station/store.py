"""The archive as a listener sees it."""

from __future__ import annotations

import time

from pacskit.archive import Archive, Incoming, Origin
from pacskit.archive.remote import Entrance
from pacskit.dimse.receive import Begin


class ArchiveStore:
    """The archive as a listener sees it: what comes from the network becomes an Origin."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def entrance(self, *, calling_ae: str, called_ae: str, address: str, receiving_address: str) -> Entrance:
        """Takes what one association brings that another process serves."""
        return self._archive.entrance(
            Origin(
                calling_ae=calling_ae,
                called_ae=called_ae,
                address=address,
                receiving_address=receiving_address,
                received_at=time.time(),
            )
        )

    def receiver(self, *, calling_ae: str, called_ae: str, address: str, receiving_address: str) -> Begin:
        """Takes what one association brings."""
        begin = self._archive.incoming

        def receive(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Incoming:
            origin = Origin(
                calling_ae=calling_ae,
                called_ae=called_ae,
                address=address,
                receiving_address=receiving_address,
                received_at=time.time(),
            )
            return begin(
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                origin=origin,
            )

        return receive
