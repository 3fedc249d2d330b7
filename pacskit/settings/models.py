"""The settings sections as frozen models: name, type, default, limits and help stand here once.

Five faces read them: files, panels, command line, environment, reference page. A running service keeps
the snapshot it was started with, so a section is never changed in place.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import SecretStr

from pacskit.settings.archive_models import ArchiveSettings as ArchiveSettings
from pacskit.settings.fields import (
    AETitle,
    Certificates,
    FilePath,
    FilePaths,
    Host,
    Password,
    Port,
    setting,
)
from pacskit.settings.section import Section as Section


class StationSettings(Section):
    """The station as a whole."""

    section: ClassVar[str] = "station"
    label: ClassVar[str] = "Station"

    run_in: Literal["kernel", "background"] = setting(
        "kernel",
        "Run in",
        "kernel: services are threads of the notebook's kernel. background: a process of their own, which a "
        "busy cell does not slow and an interrupted or restarted kernel does not end",
    )
    keep_running: bool = setting(
        True,
        "Keep receiving when this notebook closes",
        "A background station goes on without a notebook; else it ends with the last one",
        place="main",
    )


class DicomSection(Section):
    """What both DICOM listeners are set by (seed 12.1.1, 12.1.4)."""

    service: ClassVar[bool] = True

    enabled: bool = setting(False, "Enable", "Run the service, and start it with the station", place="main")
    ae_title: AETitle = setting(
        "PACSKIT",
        "AE Title",
        "The name that scanners and other stations call: 1 to 16 ASCII characters, no backslash",
        place="main",
    )
    port: Port = setting(
        11112, "Port", "Any free TCP port; auto takes a free one and keeps it while it can", place="main"
    )
    host: Host = setting(
        "0.0.0.0",
        "Reachable from",
        "0.0.0.0: the network; 127.0.0.1: this computer only; or one address of this computer",
        place="main",
    )
    shared: bool = setting(
        False,
        "Shared settings (for all users)",
        "Everyone on this computer uses these settings. Only an administrator can change that",
        place="none",
    )
    accept_unknown: bool = setting(
        False,
        "Accept unknown senders",
        "Store what callers on the network send, though they are not on the PACS servers list",
    )
    check_called_ae_title: bool = setting(
        True, "Check called AE title", "Refuse callers that call another AE title than ours"
    )
    accept_private: Literal["known", "all"] = setting(
        "known", "Private SOP classes", "known: vendors' private storage classes we know; all: any of them"
    )
    max_associations: int = setting(100, "Most associations", "Associations at one time", ge=1, le=10_000)
    max_waiting: int = setting(
        1000,
        "Most silent connections",
        "Connections that have not yet asked for an association; beyond it the oldest is closed",
        ge=10,
        le=100_000,
    )
    max_object: int = setting(
        0,
        "Largest object",
        "A larger one is refused (A700) and leaves nothing behind. 0: no limit but the disk's room",
        unit="MB",
        ge=0,
        le=1_000_000,
    )
    max_pdu: int = setting(
        131072, "Longest PDU", "The longest PDU that peers may send", unit="bytes", ge=4096, le=1 << 20
    )
    artim_timeout: float = setting(
        30.0,
        "Silent connection",
        "How long a connection may stay silent before it asks for an association (ARTIM, PS3.8 9.1.5)",
        unit="s",
        gt=0,
        le=3600,
    )
    network_timeout: float = setting(
        60.0,
        "Silent association",
        "How long an association may stay silent before it is aborted",
        unit="s",
        gt=0,
        le=86400,
    )


class ListenerSettings(DicomSection):
    """DICOM Listener (seed 12.1.1)."""

    section: ClassVar[str] = "listener"
    label: ClassVar[str] = "DICOM Listener"

    workers: int = setting(
        1,
        "Worker processes",
        "2 or more: so many processes serve the associations that store, for several senders at once on a "
        "computer with several cores. 1: one process does all, quickest for one sender. Not on Windows",
        ge=1,
        le=16,
    )


class SecureListenerSettings(DicomSection):
    """Secure DICOM Listener (seed 12.1.4): DICOM over TLS, beside the open listener or alone."""

    section: ClassVar[str] = "secure_listener"
    label: ClassVar[str] = "Secure DICOM Listener"

    ae_title: AETitle = setting("PACSKIT_TLS", "AE Title", "The name that scanners call", place="main")
    port: Port = setting(3100, "Port", "Must differ from every other service's", place="main")
    artim_timeout: float = setting(
        30.0,
        "Silent connection",
        "How long a connection may take for the TLS handshake and stay silent before it asks for an "
        "association (ARTIM, PS3.8 9.1.5)",
        unit="s",
        gt=0,
        le=3600,
    )
    trusted: Certificates = setting(
        (),
        "Trusted peer certificates",
        "Authorities' certificates, by file (pem, crt, cer) or PEM text: kept by content, the files may go",
        place="main",
    )
    verify_peer: bool = setting(
        False,
        "Verify peer certificate",
        "Only clients whose certificate one of the trusted ones signed; off: any client",
        place="main",
    )
    certificate: FilePath = setting(
        None,
        "Certificate",
        "The public key certificate's file (pem, crt, cer); a renewed one is taken up within seconds",
        place="main",
    )
    private_key: FilePath = setting(None, "Private key", "The private key's file (key)", place="main")
    key_password_file: FilePath = setting(None, "Key password file", "A file with the private key's password")
    key_password: SecretStr | None = setting(
        None,
        "Key password",
        "The private key's password; from the environment only, never saved",
        place="none",
    )
    crl: FilePaths = setting(
        (),
        "Revocation lists",
        "Files with certificate revocation lists; renewed ones are taken up within seconds",
    )
    tls_profile: Literal["rfc9325", "rfc9325-modified", "legacy"] = setting(
        "rfc9325", "TLS profile", "PS3.15 B.12, B.13, or the retired profiles for old scanners"
    )


class HisSettings(Section):
    """HIS/HTTP Service (seed 12.1.2). The service itself is still to come."""

    section: ClassVar[str] = "his"
    label: ClassVar[str] = "HIS/HTTP Service"
    service: ClassVar[bool] = True

    enabled: bool = setting(False, "Enable", "Run the service, and start it with the station", place="main")
    port: Port = setting(8080, "Port", "Any free TCP port", place="main")
    host: Host = setting("127.0.0.1", "Reachable from", "127.0.0.1: this computer only", place="main")
    token: SecretStr | None = setting(None, "Token", "What callers from elsewhere must show")
    allow: tuple[str, ...] = setting((), "Addresses without token", "IP addresses that need no token")


class WebSettings(Section):
    """Web Access (seed 12.1.3). The service itself is still to come."""

    section: ClassVar[str] = "web"
    label: ClassVar[str] = "Web Service"
    service: ClassVar[bool] = True

    enabled: bool = setting(False, "Enable", "Run the service, and start it with the station", place="main")
    port: Port = setting(8090, "Port", "Any free TCP port", place="main")
    host: Host = setting("0.0.0.0", "Reachable from", "0.0.0.0: the network", place="main")
    user: str | None = setting(None, "User name", "Who may log in", place="main")
    password: Password = setting(
        None, "Password", "Typed in plain, kept only as an argon2 hash", place="main"
    )
    session_timeout: int = setting(
        600,
        "Session timeout (sec.)",
        "After this time without a connection the password is asked again",
        unit="s",
        place="main",
        ge=10,
        le=86400,
    )
    https: bool = setting(False, "HTTPS", "Encrypt, with the Secure DICOM Listener's certificate")
    cors: tuple[str, ...] = setting((), "Allowed origins", "Web pages of other origins that may read")


class ViewerSettings(Section):
    """What pictures and panels show."""

    section: ClassVar[str] = "viewer"
    label: ClassVar[str] = "Viewer"

    mask_identifiers: bool = setting(
        False,
        "Mask identifiers",
        "Hide names, IDs and dates of birth in tables and panels, for screenshots",
    )


class HooksSettings(Section):
    """A command for each event. It gets the event as JSON on standard input, and as PACSKIT_* variables."""

    section: ClassVar[str] = "hooks"
    label: ClassVar[str] = "Hooks"

    study_stable: str | None = setting(
        None, "Study stable", "Run when nothing more of a study has come for a while"
    )
    peer_refused: str | None = setting(None, "Peer refused", "Run when a caller was refused")
    storage_low: str | None = setting(None, "Storage low", "Run when the disk of the archive gets full")
    certificate_expiring: str | None = setting(
        None, "Certificate expiring", "Run 30 days before a certificate expires, and each day from then on"
    )
    service_down: str | None = setting(None, "Service down", "Run when a service cannot run")


SECTIONS: dict[str, type[Section]] = {
    kind.section: kind
    for kind in (
        StationSettings,
        ListenerSettings,
        SecureListenerSettings,
        HisSettings,
        WebSettings,
        ArchiveSettings,
        ViewerSettings,
        HooksSettings,
    )
}
SERVICES: tuple[str, ...] = tuple(name for name, kind in SECTIONS.items() if kind.service)
