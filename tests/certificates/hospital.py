"""One hospital's certificates, and somebody else's: every kind of client, and a server's identity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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

    @classmethod
    def create(cls, folder: Path) -> Lab:
        """Below that folder."""
        ours = Authority.create(folder / "ours", name="Hospital Root")
        other = Authority.create(folder / "other", name="Other Root")
        ward = Authority.create(folder / "ward", name="Ward CA", parent=ours)
        old = Authority.create(folder / "old", name="Hospital Root", start=LONG_AGO)
        later = datetime.now(UTC) + timedelta(days=9)
        clients: dict[str, Issued | None] = {
            "none": None,
            "right": ours.issue("ct-scanner", use="client"),
            "wrong root": other.issue("stranger", use="client"),
            "expired": ours.issue("old-scanner", use="client", start=LONG_AGO, days=30),
            "not yet valid": ours.issue("new-scanner", use="client", start=later),
            "revoked": ours.issue("stolen-scanner", use="client"),
            "wrong use": ours.issue("web-server", use="server"),
            "right, by intermediate": ward.issue("ward-scanner", use="client"),
            "same name, other key": old.issue("imposter", use="client"),
        }
        stolen = clients["revoked"]
        assert stolen
        return cls(ours, other, ward, ours.issue("pacs"), clients, ours.revoke(stolen.certificate))

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
