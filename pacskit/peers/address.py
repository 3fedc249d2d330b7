"""AET@HOST:PORT: a peer that is on no list, as typed on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from pacskit.errors import SettingError
from pacskit.settings import check_ae_title


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where another application entity listens."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> PeerAddress:
        """`AET@HOST:PORT`, also `AET@[::1]:PORT`. Raises SettingError with a sentence."""
        title, at, place = text.rpartition("@")
        host, colon, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not at or not colon or not host:
            raise SettingError(
                "peer", f"{text!r} is not of the form AET@HOST:PORT, as in PACSKIT@127.0.0.1:11112", "you"
            )
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise SettingError("peer", f"{port!r} is not a port from 1 to 65535", "you")
        try:
            return cls(check_ae_title(title), host, int(port))
        except ValueError as error:
            raise SettingError("peer", str(error), "you") from None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"
