"""A working secure set-up in one click: a teaching authority, and a certificate for this computer."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from pacskit.certificates import Authority, Identity
from pacskit.certificates.authority import Issued
from pacskit.services import reach
from pacskit.widgets import uploads


@dataclass(frozen=True)
class Teaching:
    """The authority, and what it issued for this computer."""

    authority: Authority
    server: Issued


def folder() -> Path:
    return uploads.folder() / "teaching"


def make() -> Teaching:
    """What is there and good is used again. Raises CertificateError."""
    place = folder()
    authority = Authority.open(place) if (place / "root.crt").exists() else Authority.create(place)
    number, name = 1, "server"
    while True:
        files = Issued(place / f"{name}.crt", place / f"{name}.key")
        if not (files.certificate.exists() or files.private_key.exists()):
            return Teaching(authority, authority.issue(name, names=_names()))
        state = Identity(files.certificate, files.private_key).read()
        if state.ok and not any("expire" in note for note in state.notes):
            return Teaching(authority, files)
        number += 1
        name = f"server-{number}"


def _names() -> list[str]:
    """What clients may call this computer."""
    host = socket.gethostname()
    addresses = [address.ip for address in reach.addresses("::") if "%" not in address.ip]
    return list(
        dict.fromkeys(["localhost", "127.0.0.1", "::1", *([host] if host.isascii() else []), *addresses])
    )
