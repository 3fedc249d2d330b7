"""The Secure DICOM Listener: the DICOM Listener over TLS (seed 12.1.4, PS3.15 B.12 and B.13)."""

from __future__ import annotations

from pacskit.certificates import NOBODY, Handshakes, IdentityState
from pacskit.dimse.listener import DicomListener
from pacskit.dimse.serving import Store
from pacskit.errors import CertificateError
from pacskit.events import EventBus
from pacskit.services.base import Service
from pacskit.services.credentials import Credentials
from pacskit.services.ports import PortMemory
from pacskit.settings.models import SecureListenerSettings


class SecureDicomListener(DicomListener):
    """New files of certificate, key and revocation lists are taken up for new associations."""

    name = "secure_listener"
    title = "Secure Dicom Listener"
    settings: SecureListenerSettings

    def __init__(
        self,
        settings: SecureListenerSettings,
        store: Store,
        events: EventBus,
        ports: PortMemory | None = None,
    ) -> None:
        super().__init__(settings, store, events, ports)
        self._credentials: Credentials | None = None

    @property
    def identity(self) -> IdentityState | None:
        """Our certificate, as new associations get it; None while it does not run."""
        return self._credentials.identity if self._credentials is not None else None

    @property
    def _worker_count(self) -> int:
        return 1  # a TLS session cannot go to another process

    def _prepare(self) -> None:
        self._let_credentials_go()
        self._credentials = Credentials(self.settings, self.name, self.events)

    def _handshakes(self) -> Handshakes | None:
        assert self._credentials is not None
        return self._credentials.handshakes

    def _start(self, port: int) -> tuple[str, int]:
        try:
            bound = super()._start(port)
        except BaseException:
            self._let_credentials_go()
            raise
        self._follow()
        return bound

    def _adopt(self, old: Service) -> bool:
        try:
            adopted = super()._adopt(old)
        except CertificateError as error:  # the old one goes on
            raise self._failure(error) from error
        if adopted:
            self._follow()
        else:
            self._let_credentials_go()
        return adopted

    def _retire(self) -> None:
        self._let_credentials_go()
        super()._retire()

    def _stop(self) -> None:
        self._let_credentials_go()
        super()._stop()

    def _follow(self) -> None:
        assert self._credentials is not None
        self._credentials.follow(self._renewed, self.warn)
        if self.settings.verify_peer and not self.settings.trusted:
            self.warn(NOBODY)

    def _renewed(self, handshakes: Handshakes) -> None:
        if (acceptor := self._acceptor) is not None:  # not, where a newer listener has taken it over by then
            acceptor.change(self._rules(), lambda: self._acceptor is acceptor)

    def _let_credentials_go(self) -> None:
        credentials, self._credentials = self._credentials, None
        if credentials is not None:
            credentials.close()
