"""One hospital's certificates, and somebody else's: every kind of client, and a server's identity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pacskit.certificates import Authority, Handshakes, Identity, IdentityState, RevocationLists, TrustedList
from pacskit.certificates.authority import Issued
from pacskit.certificates.suites import ProfileName

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Lab:
    """The network of one hospital (`ours`), and somebody else's (`other`)."""

    ours: Authority
    other: Authority
    ward: Authority
    """An intermediate below `ours`."""
    server: Issued
    clients: dict[str, Issued | None]
    revocation: Path

    @property
    def identity(self) -> IdentityState:
        return identity(self.server)

    @property
    def trusted(self) -> TrustedList:
        return TrustedList().add(self.ours.root)

    def handshakes(
        self,
        *,
        verify: bool = True,
        profile: ProfileName = "rfc9325",
        trusted: TrustedList | None = None,
        revoked: RevocationLists | None = None,
    ) -> Handshakes:
        known = self.trusted if trusted is None else trusted
        return Handshakes.server(profile, self.identity, verify=verify, trusted=known, revoked=revoked)


def identity(issued: Issued) -> IdentityState:
    return Identity(issued.certificate, issued.private_key).read()
