"""What one setting is: its value's rules, and what faces say of it. Each rule's refusal is a sentence."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError
from pacskit.settings.passwords import kept
from pacskit.system import group_number

NO_GROUP = (1 << 32) - 1
"""The number that chown takes for: leave it."""
OF_THIS_PROCESS = "of this process"
"""Marks a field whose value depends on who reads it (a working folder, a file): it is settled before it is
handed to another process."""
Place = Literal["main", "more", "none"]
"""Where a panel shows a field: at once, unfolded under "More settings", or not at all."""

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


def setting(
    default: Any, title: str, help: str, *, unit: str = "", place: Place = "more", **rules: Any
) -> Any:
    """A pydantic field with what panel, command line and reference page say of it."""
    extra: dict[str, Any] = {"unit": unit, "place": place}
    return Field(default, title=title, description=help, json_schema_extra=extra, **rules)


def check_ae_title(value: str) -> str:
    """PS3.5 6.2, AE: 1 to 16 characters of the default repertoire without `\\` and control characters.

    Leading and trailing spaces are not significant and are taken off. Raises ValueError with a sentence.
    """
    title = value.strip(" ")
    if not title:
        raise ValueError("an AE title needs at least one character that is not a space")
    for character in title:
        if character == "\\":
            raise ValueError('an AE title has no backslash ("\\")')
        if not " " <= character <= "~":
            shown = character if character.isprintable() else f"U+{ord(character):04X}"
            raise ValueError(f"an AE title has only ASCII letters, digits and signs, no {shown}")
    if len(title) > 16:
        raise ValueError(f"an AE title has at most 16 characters, this one has {len(title)}")
    return title


def check_port(value: object) -> int | str:
    """1 to 65535, 0 for any free one, or auto for a free one that is kept. Raises ValueError."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str):
        if text.lower() == "auto":
            return "auto"
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise ValueError("a port is a whole number from 1 to 65535, or auto for any free one")
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool) or not 0 <= text <= 65535:
        raise ValueError("a port is a whole number from 1 to 65535, or auto for any free one")
    return text


def check_host(value: str) -> str:
    """An IP address or a host name of this computer. Raises ValueError."""
    host = value.strip().removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[\d.]+", host):
            raise ValueError(
                "an address is 0.0.0.0 for the network, 127.0.0.1 for this computer, "
                "or one of this computer's addresses"
            ) from None
    return host


def _port(value: object) -> int | str:
    return check_port(value)


def _hash(value: object) -> object:
    """A password comes in plain and is kept as its argon2 hash."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise ValueError("a password is text")
    return kept(text)


def check_group(value: object) -> object:
    """A group of this computer's users, by name or number; None for an empty one. Raises ValueError."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else value
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise ValueError("a group is a name or a number")
    try:
        number = group_number(text)
    except KeyError:
        raise ValueError(
            f"there is no group {text} on this computer: `getent group` lists those there are"
        ) from None
    except OSError as error:
        raise ValueError(f"{error.strerror}: leave it empty") from None
    if number >= NO_GROUP:
        raise ValueError(f"a group's number is below {NO_GROUP}")
    return text


def absolute(value: Path | None) -> Path | None:
    """A path for any working folder, without `~`. Raises ValueError."""
    if value is None or value == Path():
        return value
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{value.parts[0]} is no user of this computer") from None


def _all_absolute(value: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(path for path in map(absolute, value) if path is not None)


def _by_content(value: object) -> object:
    """Certificates as PEM text or as paths of their files; kept as PEM texts, each once.

    Raises ValueError with the sentence where a file cannot be used.
    """
    items = [value] if isinstance(value, str | Path) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | Path) for item in items):
        return value  # its type is judged next
    try:
        return TrustedList.of(map(str, items)).texts
    except CertificateError as error:
        raise ValueError(str(error)) from None


AETitle = Annotated[str, AfterValidator(check_ae_title)]
Port = Annotated[int | Literal["auto"], BeforeValidator(_port)]
Host = Annotated[str, AfterValidator(check_host)]
GroupName = Annotated[str | None, BeforeValidator(check_group)]
FilePath = Annotated[Path | None, AfterValidator(absolute), OF_THIS_PROCESS]
FilePaths = Annotated[tuple[Path, ...], AfterValidator(_all_absolute), OF_THIS_PROCESS]
Certificates = Annotated[tuple[str, ...], BeforeValidator(_by_content), OF_THIS_PROCESS]
Password = Annotated[SecretStr | None, BeforeValidator(_hash)]
