"""`pacskit certificate`: our identity, a teaching authority, and what a TLS server does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pacskit.certificates import (
    PROFILES,
    Authority,
    Identity,
    RevocationLists,
    TrustedList,
    try_handshake,
)
from pacskit.certificates.contents import certificates_in, read_file
from pacskit.certificates.naming import dns_names, is_authority, now_utc, validity
from pacskit.certificates.trust import Trusted
from pacskit.settings.models import SecureListenerSettings
from pacskit.settings.stack import SettingsStack

CertificateOption = Annotated[
    Path | None,
    typer.Option("--certificate", help="Our certificate (pem, crt, cer).", show_default="setting"),
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Its private key (key).", show_default="setting")
]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--password-file", help="A file with the key's password.", show_default="setting"),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The authority's folder.")]
RsaOption = Annotated[bool, typer.Option("--rsa", help="An RSA key of 3072 bits instead of EC P-256.")]

app = typer.Typer(
    help="Certificates: ours, a teaching authority's, and a TLS server's.", no_args_is_help=True
)


@app.command()
def check(
    certificate: CertificateOption = None, key: KeyOption = None, password_file: PasswordOption = None
) -> None:
    """Print the status line of our certificate and key, then why, or what should be mended.

    Exit code 0 only where both can be read and match.
    """
    state = _identity(_settings(), certificate, key, password_file).read()
    sys.stdout.write(f"{state.status}\n")
    for line in filter(None, (state.reason, *state.notes)):
        sys.stdout.write(f"{line}\n")
    if not state.ok:
        raise typer.Exit(1)


@app.command()
def create(
    folder: FolderArgument,
    name: Annotated[str, typer.Option("--name", help="The authority's name.")] = "pacskit teaching root",
    rsa: RsaOption = False,
) -> None:
    """Make an authority for teaching and test networks: root.crt, which others trust, and root.key."""
    authority = Authority.create(folder, name=name, key="rsa" if rsa else "ec")
    sys.stdout.write(f"{authority.root}\n")


@app.command()
def issue(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the files NAME.crt and NAME.key.")],
    client: Annotated[
        bool, typer.Option("--client", help="For a client, as a scanner; else a server.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A host name or address it is for.", show_default="this computer"),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, help="How long it is valid.")] = 397,
    rsa: RsaOption = False,
) -> None:
    """Make a certificate and its key, signed by the authority in DIR."""
    issued = Authority.open(folder).issue(
        name, use="client" if client else "server", names=host or (), days=days, key="rsa" if rsa else "ec"
    )
    sys.stdout.write(f"{issued.certificate}\n{issued.private_key}\n")


@app.command()
def revoke(
    folder: FolderArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of NAME.crt in DIR.")],
) -> None:
    """Put a certificate on the authority's revocation list, root.crl."""
    sys.stdout.write(f"{Authority.open(folder).revoke(folder / f'{name}.crt')}\n")


@app.command()
def show(file: Annotated[Path, typer.Argument(metavar="FILE", help="PEM or DER.")]) -> None:
    """Say what is in a file of certificates."""
    for number, certificate in enumerate(certificates_in(read_file(file), file.name)):
        entry = Trusted.of(certificate)
        rows = [
            ("subject", entry.subject),
            ("issuer", entry.issuer),
            ("valid from", f"{entry.valid_from:%Y-%m-%d %H:%M} UTC"),
            ("valid to", f"{entry.valid_to:%Y-%m-%d %H:%M} UTC"),
            ("state", "; ".join((validity(certificate, now_utc()) or "ok", *entry.weak))),
            ("key", entry.key_type),
            ("authority", "yes" if is_authority(certificate) else "no"),
            ("names", ", ".join(dns_names(certificate))),
            ("SHA-256", entry.fingerprint),
        ]
        lines = [f"{title:12}{value}\n" for title, value in rows if value]
        sys.stdout.write("\n" * bool(number) + "".join(lines))


@app.command("test")
def shake_hands(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="A TLS server: ours or a peer's.")],
    trust: Annotated[
        list[Path] | None,
        typer.Option("--trust", help="A certificate to trust.", show_default="setting: the trusted list"),
    ] = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    password_file: PasswordOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Whose certificate it has to be.", show_default="HOST")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help=", ".join(PROFILES), show_default="setting")
    ] = None,
) -> None:
    """Shake hands with a TLS server: version, suite, certificates, verification, and failures in words."""
    host, port = _address(address)
    settings = _settings()
    chosen: Any = profile or settings.tls_profile
    if chosen not in PROFILES:
        raise typer.BadParameter(f"{chosen!r} is none of {', '.join(PROFILES)}")
    identity = _identity(settings, certificate, key, password_file)
    report = try_handshake(
        host,
        port,
        trusted=TrustedList.of(map(str, trust) if trust else settings.trusted),
        profile=chosen,
        identity=identity.read() if identity.certificate or identity.private_key else None,
        revoked=RevocationLists.read(settings.crl),
        server_name=name,
    )
    sys.stdout.write(f"{report}\n")
    if not report.ok:
        raise typer.Exit(1)


def _settings() -> SecureListenerSettings:
    settings = SettingsStack().settings.secure_listener
    assert isinstance(settings, SecureListenerSettings)
    return settings


def _identity(
    settings: SecureListenerSettings, certificate: Path | None, key: Path | None, password_file: Path | None
) -> Identity:
    """The options' files; where neither is given, the settings'."""
    if certificate is None and key is None and password_file is None:
        return Identity.of(settings)
    if certificate is None and key is None:
        return Identity(settings.certificate, settings.private_key, password_file=password_file)
    return Identity(certificate, key, password_file=password_file)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is not of the form HOST:PORT")
    return host, int(port)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="certificate")
