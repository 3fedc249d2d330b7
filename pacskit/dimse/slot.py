"""ListenerSlot: a DICOM listener's place, open or with TLS."""

from __future__ import annotations

from pacskit.dimse.association import AssociationInfo
from pacskit.dimse.listener import DicomListener
from pacskit.dimse.refusals import Refusal
from pacskit.dimse.totals import Totals
from pacskit.services.slot import Slot


class ListenerSlot(Slot[DicomListener]):
    """A listener as a station holds it, whatever its settings are by now."""

    def associations(self) -> list[AssociationInfo]:
        """Those open now, oldest first, with those that an earlier listener finishes by its own settings."""
        found = [info for listener in self.services() for info in listener.associations()]
        return sorted(found, key=lambda info: info.id)

    def totals(self) -> Totals:
        return self.current.totals()

    def refusals(self) -> list[Refusal]:
        """Who was not let in and why, the last one first."""
        return self.current.refusals()
