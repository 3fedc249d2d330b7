"""The settings sections as frozen models: name, type, default, limits and help stand here once.

A running service keeps the snapshot it was started with, so a section is never changed in place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

PORT = 65535
NOT_IN_AE = "\\"


def check_ae_title(value: str) -> str:
    """PS3.5 6.2, AE: 1 to 16 characters of the default repertoire without `\\` and control characters.

    Leading and trailing spaces are not significant and are taken off. Raises ValueError with a sentence.
    """
    title = value.strip(" ")
    if not title:
        raise ValueError("an AE title needs at least one character that is not a space")
    if len(title) > 16:
        raise ValueError(f"an AE title has at most 16 characters, this one has {len(title)}")
    for character in title:
        if not " " <= character <= "~" or character in NOT_IN_AE:
            raise ValueError(
                f"an AE title has no {character!r}: only ASCII letters, digits and signs except the backslash"
            )
    return title


def _integer(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


AETitle = Annotated[str, AfterValidator(check_ae_title)]
Port = Annotated[int, BeforeValidator(_integer), Field(ge=0, le=PORT)]


class Section(BaseModel):
    """One group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    section: ClassVar[str]


class StationSettings(Section):
    section: ClassVar[str] = "station"

    run_in: Literal["kernel"] = Field("kernel", description="Where the services run")


class ListenerSettings(Section):
    """DICOM Listener (seed 12.1.1)."""

    section: ClassVar[str] = "listener"

    enabled: bool = Field(False, description="Start this service with the station")
    ae_title: AETitle = Field("PACSKIT", description="The name that other stations call")
    host: str = Field(
        "0.0.0.0", description="Address to listen on: 0.0.0.0 the network, 127.0.0.1 this computer"
    )
    port: Port = Field(11112, description="TCP port; 0 takes any free one")
    accept_unknown: bool = Field(
        False, description="Store what callers from elsewhere send, though they are not on the list"
    )
    check_called_ae_title: bool = Field(True, description="Refuse callers that call another AE title")
    accept_private: Literal["known", "all"] = Field(
        "known", description="Private SOP classes taken: those of vendors that are known, or all"
    )
    max_associations: int = Field(100, ge=1, le=10_000, description="Associations at one time")
    max_pdu: int = Field(131072, ge=4096, le=1 << 20, description="Longest PDU we take, in bytes")
    artim_timeout: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds a connection may stay silent before it asks for an association",
    )
    network_timeout: float = Field(
        60.0, gt=0, le=86400, description="Seconds an association may stay silent before it is aborted"
    )


class ArchiveSettings(Section):
    """Where studies are kept, and how carefully."""

    section: ClassVar[str] = "archive"

    folder: Path | None = Field(
        None, description="The archive's folder; without it, one in the user's data folder"
    )
    durability: Literal["safe", "fast"] = Field(
        "safe", description="safe: on the disk before success is answered; fast: may lose the last seconds"
    )


class ViewerSettings(Section):
    """What pictures and panels show."""

    section: ClassVar[str] = "viewer"

    mask_identifiers: bool = Field(
        False, description="Hide names, IDs and dates of birth in tables and panels, for screenshots"
    )
