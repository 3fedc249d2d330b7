"""What a service's TLS handshakes are made of, followed: new files are taken up for new associations.

The settings name files that others renew (a hospital's PKI, a cron job). They are looked at once a second;
what is half done, damaged or gone changes nothing: the old ones stay in use, and a person is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from pacskit.certificates.handshake import Handshakes
from pacskit.certificates.identity import Identity, IdentityState
from pacskit.certificates.naming import SOON, days_left, fingerprint, now_utc, subject_line, validity
from pacskit.certificates.revocation import RevocationList, RevocationLists
from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError
from pacskit.events import CertificateExpiring, EventBus
from pacskit.settings.models import SecureListenerSettings
from pacskit.settings.watch import Watch

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between looks."""
PATIENCE = 5
"""Looks that find the files unfit until a person is told: certificate and key come one after the other."""
DAY = timedelta(days=1)
"""How often an expiring certificate is told of."""

Renewed = Callable[[Handshakes], None]
Warn = Callable[[str], None]
Stamp = tuple[tuple[int, ...], ...]


class Credentials:
    """Identity, trusted list and revocation lists of one service.

    `handshakes` is replaced whole, so any thread may read it. Callbacks are called in the thread
    `pacskit-certificates`; they must not wait for somebody who waits in `close()`.
    """

    def __init__(self, settings: SecureListenerSettings, service: str, events: EventBus) -> None:
        """Looks once. Raises CertificateError with the sentence where a file cannot be used."""
        self.settings, self.service, self.events = settings, service, events
        self._trusted = TrustedList.of(settings.trusted)
        self._source = Identity.of(settings)
        self._files = _files(settings)
        self._lists: dict[Path, tuple[RevocationList, ...]] = {}
        self._read = self._seen = self._stamp()
        identity, problem = self._newest_identity()
        problem = problem or self._newest_lists()
        if problem:
            raise CertificateError(problem)
        self._identity, self._handshakes = identity, self._made(identity)
        self._problem, self._looks, self._warned = "", 0, False
        self._told = now_utc()
        self._renewed: Renewed | None = None
        self._warn: Warn | None = None
        self._watch: Watch | None = None

    @property
    def handshakes(self) -> Handshakes:
        """Of the newest good files."""
        return self._handshakes

    @property
    def identity(self) -> IdentityState:
        """In use."""
        return self._identity

    def follow(self, renewed: Renewed, warn: Warn) -> None:
        """Look at the files from now on: `renewed` gets what new associations are to use; `warn` a sentence
        where new files cannot be used, and an empty one once that is mended."""
        self._renewed, self._warn = renewed, warn
        self._tell_dates()
        self._watch = Watch(_always, self._look, every=INTERVAL, of="certificates")

    def close(self) -> None:
        """Nothing is called any more on return; safe to call twice, and from within a callback."""
        if self._watch is not None:
            self._watch.close()
        self._renewed = self._warn = None

    def _look(self) -> None:
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        if stamp != self._read and stamp == before:  # two looks see the same: it is written to its end
            try:
                self._take()
                self._read = stamp  # not before: what failed is tried again at the next look
            except CertificateError as error:
                self._problem = f"{error}; new associations still get the old ones"
        self._tell_problem()
        if abs(now_utc() - self._told) >= DAY:  # abs: clocks are set back
            self._tell_dates()

    def _take(self) -> None:
        """Use what can be used; the rest is a problem. Raises CertificateError where nothing can."""
        identity, problem = self._newest_identity()
        listed = self._newest_lists()
        if problem:
            identity = self._identity
        if identity.chain != self._identity.chain or self._all_lists() != self._handshakes.revoked.lists:
            try:
                handshakes = self._made(identity)
            except CertificateError as error:  # the TLS profile doesn't take it
                problem = str(error)
                handshakes = self._made(identity := self._identity)
            self._identity, self._handshakes = identity, handshakes
            log.info("%s: new associations get %s", self.service, _described(identity, self._all_lists()))
            if self._renewed is not None:
                self._renewed(handshakes)
            self._tell_dates()
        wrong = [f"the new certificate cannot be used: {problem}"] * bool(problem)
        wrong += [f"the new revocation list cannot be used: {listed}"] * bool(listed)
        self._problem = "; ".join([*wrong, "new associations still get the old one"] if wrong else [])

    def _tell_problem(self) -> None:
        """Once, after some looks; and once that it is over."""
        self._looks = self._looks + 1 if self._problem else 0
        if bool(self._problem) == self._warned or 0 < self._looks < PATIENCE:
            return
        self._warned = bool(self._problem)
        if self._warn is not None:
            self._warn(self._problem)

    def _tell_dates(self) -> None:
        """What ends soon, or has ended."""
        self._told = now = now_utc()
        for what, certificate in self._certificates():
            if (left := days_left(certificate, now)) > SOON:
                continue
            subject, ends = subject_line(certificate), certificate.not_valid_after_utc
            log.warning("%s: the %s %s %s", self.service, what, subject, validity(certificate, now))
            self.events.publish(
                CertificateExpiring(
                    service=self.service, what=what, subject=subject, valid_to=ends, days_left=left
                )
            )
        for note in self._handshakes.revoked.notes(self._trusted, now):
            log.warning("%s: %s", self.service, note)

    def _certificates(self) -> Iterator[tuple[str, x509.Certificate]]:
        own, *signers = self._identity.chain
        yield "certificate", own
        yield from (("signing certificate", signer) for signer in signers)
        yield from (("trusted certificate", trusted) for trusted in self._trusted.certificates)

    def _newest_identity(self) -> tuple[IdentityState, str]:
        """And why it cannot be used."""
        state = self._source.read()
        return state, "" if state.ok else f"{state.status}. {state.reason}"

    def _newest_lists(self) -> str:
        """Read each file; one that cannot be read keeps what it said before. What is wrong."""
        problems = []
        for path in self.settings.crl:
            try:
                self._lists[path] = RevocationLists.read([path]).lists
            except CertificateError as error:
                problems.append(str(error))
        return "; ".join(problems)

    def _all_lists(self) -> tuple[RevocationList, ...]:
        return tuple(each for lists in self._lists.values() for each in lists)

    def _made(self, identity: IdentityState) -> Handshakes:
        """Raises CertificateError where the TLS profile doesn't take it."""
        return Handshakes.server(
            self.settings.tls_profile,
            identity,
            verify=self.settings.verify_peer,
            trusted=self._trusted,
            revoked=RevocationLists(self._all_lists()),
        )

    def _stamp(self) -> Stamp:
        return tuple(_stamp(path) for path in self._files)


def _always() -> bool:
    return True


def _files(settings: SecureListenerSettings) -> tuple[Path, ...]:
    paths = (settings.certificate, settings.private_key, settings.key_password_file, *settings.crl)
    return tuple(path for path in paths if path is not None)


def _stamp(path: Path) -> tuple[int, ...]:
    """Differs after every change, of the rights too; empty where there is no file."""
    try:
        found = path.expanduser().stat()
    except (OSError, RuntimeError):
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _described(identity: IdentityState, lists: tuple[RevocationList, ...]) -> str:
    own = identity.chain[0]
    dates = f"valid {_day(own.not_valid_before_utc)} to {_day(own.not_valid_after_utc)}"
    names = ", ".join(each.name for each in lists)
    return f"{identity.status} (SHA-256 {fingerprint(own)}, {dates})" + f", lists {names}" * bool(names)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
