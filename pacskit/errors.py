"""One family of errors. Each knows the sentence a person reads and the status a peer gets.

PacskitError
├── SettingError        a setting has a value it must not have: which, why, from where
│   └── NotAdministrator    it belongs to all users of this computer
├── NotSaved            a settings file cannot be written: which, why, what to do
├── ServiceError        a service cannot start or stop
│   └── PortTaken
├── ArchiveError        the archive's folder or index cannot be used
│   └── ArchiveOwned    another process owns it
├── Refused             one instance is not stored; carries the DIMSE status
├── AssociationError    no association, or it ended before its time
│   └── AssociationRejected
├── CertificateError    a certificate, key or list cannot be used, or a peer's was refused
├── PixelError          an image cannot be decoded or shown
├── GeometryError       a series does not form one volume
└── UnknownUID          nothing here has that UID
"""

from __future__ import annotations

from typing import ClassVar


class PacskitError(Exception):
    """Base of all errors of pacskit. `str(error)` is a sentence: who is to blame, and what to do."""

    dimse_status: ClassVar[int] = 0x0110
    """What a DIMSE peer is answered: processing failure (PS3.7 C.5.21), unless a subclass says better."""
    http_status: ClassVar[int] = 500


class SettingError(PacskitError, ValueError):
    """A setting has a value it must not have.

    `key` is `section.field`, `problem` the sentence, `source` the layer the value came from.
    """

    http_status = 400

    def __init__(self, key: str, problem: str, source: str = "code") -> None:
        super().__init__(f"{key}: {problem} (from {source})")
        self.key, self.problem, self.source = key, problem, source


class NotAdministrator(SettingError):
    """A section that all users share can be changed by an administrator only (seed 12.1.1, step 5)."""

    http_status = 403

    def __init__(self, key: str) -> None:
        PacskitError.__init__(self, "Only an administrator can change settings shared by all users.")
        self.key, self.problem, self.source = key, str(self), "site file"


class NotSaved(PacskitError):
    """A settings file cannot be written; it is as it was."""


class ServiceError(PacskitError):
    """A service cannot start or stop; the cause is chained."""

    http_status = 503

    def and_also(self, sentence: str) -> None:
        """What followed from it, and whoever reads it must know too."""
        self.args = (f"{self} {sentence}",)


class PortTaken(ServiceError):
    """The address a service should listen on is in use, or not permitted.

    `reason` is the system's, `holder` who has the port ("" unknown or nobody), `free_port` one that could be
    taken instead (0: none known).
    """

    def __init__(
        self,
        sentence: str,
        *,
        host: str,
        port: int,
        reason: str = "",
        in_use: bool = True,
        holder: str = "",
        free_port: int = 0,
    ) -> None:
        super().__init__(sentence)
        self.host, self.port, self.reason, self.in_use = host, port, reason, in_use
        self.holder, self.free_port = holder, free_port


class ArchiveError(PacskitError):
    """The archive's folder or index cannot be used. To a peer: out of resources (PS3.4 B.2.3)."""

    dimse_status = 0xA700
    http_status = 507


class ArchiveOwned(ArchiveError):
    """Another process (or another Station of this one) owns the archive."""


class Refused(PacskitError):
    """One instance is not stored.

    `status` is the DIMSE status of the C-STORE response (PS3.4 B.2.3), the sentence its Error Comment.
    """

    http_status = 409

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class AssociationError(PacskitError):
    """An association could not be had, or ended before its time."""

    http_status = 502


class AssociationRejected(AssociationError):
    """A-ASSOCIATE-RJ (PS3.8 9.3.4): `result`, `source` and `reason` as in table 9-21."""

    def __init__(self, sentence: str, result: int, source: int, reason: int) -> None:
        super().__init__(sentence)
        self.result, self.source, self.reason = result, source, reason


class CertificateError(PacskitError):
    """A certificate, private key, trusted list or revocation list cannot be used, or a peer's was refused."""

    http_status = 400


class PixelError(PacskitError):
    """An image cannot be decoded or shown; says which and why."""

    http_status = 406


class GeometryError(PacskitError):
    """A series does not form one volume; says what it forms instead."""

    http_status = 406


class UnknownUID(PacskitError, KeyError):
    """Nothing in this archive has that UID."""

    dimse_status = 0xA900
    http_status = 404

    def __str__(self) -> str:  # KeyError would show the sentence in quotes
        return str(self.args[0])
