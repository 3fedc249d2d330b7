"""What a peer did against PS3.8, and what our own side may not do now."""

from __future__ import annotations

from pacskit.errors import AssociationError, PacskitError

REASON_NOT_SPECIFIED = 0
UNRECOGNIZED_PDU = 1
UNEXPECTED_PDU = 2
UNRECOGNIZED_PARAMETER = 4
UNEXPECTED_PARAMETER = 5
INVALID_PARAMETER_VALUE = 6
"""Reasons of an A-ABORT by the service provider (PS3.8 table 9-26)."""


class ProtocolError(PacskitError):
    """The peer sent what the standard does not permit. `reason` is the A-ABORT's (PS3.8 table 9-26)."""

    http_status = 502

    def __init__(self, reason: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class StateError(AssociationError):
    """Our own side asked for what the association's state does not permit, often since it is over already."""
