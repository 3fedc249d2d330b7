"""Uploads: a certificate or key that came from the browser, kept as a file of the owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from pacskit.certificates.contents import (
    CERTIFICATE_SUFFIXES,
    KEY_SUFFIXES,
    LARGEST,
    PasswordNeeded,
    certificates_in,
    private_key_in,
    read_file,
)
from pacskit.errors import CertificateError
from pacskit.settings.files import default_folder
from pacskit.system.files import make_private, rename_new, replace_file

_LONGEST = 60
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
"""Names that Windows keeps for devices."""


def folder() -> Path:
    """Where certificates and keys of our own making or keeping are: below PACSKIT_HOME."""
    return Path(default_folder()).expanduser().absolute() / "certificates"


def named(claim: str, suffixes: tuple[str, ...]) -> str:
    """A file's name, of what the browser says it is: its last part, in harmless characters.

    Raises CertificateError where it has none of the suffixes.
    """
    last = claim.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext("".join(c if c.isalnum() or c in "._ -" else "_" for c in last))
    if suffix.lower() not in suffixes:
        raise CertificateError(f"{last[:_LONGEST]} is none of {', '.join(f'*{each}' for each in suffixes)}")
    stem = stem.strip(". ")[:_LONGEST] or "uploaded"
    return f"{stem}{'_' * (stem.lower() in _RESERVED)}{suffix.lower()}"


def judged(claim: str, data: bytes | None, suffixes: tuple[str, ...]) -> str:
    """The name it is kept under. Raises CertificateError for what is too large, empty, or something else."""
    name = named(claim, suffixes)
    if data is None or len(data) > LARGEST:
        raise CertificateError(f"{name} has more than {LARGEST >> 20} MB: that is no such file")
    if not data:
        raise CertificateError(f"{name} is empty")
    if suffixes == CERTIFICATE_SUFFIXES:
        certificates_in(data, name)
    else:
        with contextlib.suppress(PasswordNeeded):  # asked for later, from a file or the environment
            private_key_in(data, None, name)
    return name


def keep(claim: str, data: bytes | None, suffixes: tuple[str, ...] = KEY_SUFFIXES) -> Path:
    """Write it, for the owner alone; the same content is the same file, and nothing is overwritten.

    Raises CertificateError.
    """
    name = judged(claim, data, suffixes)
    assert data is not None
    place, temporary = folder(), folder() / f".{secrets.token_hex(8)}.tmp"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(place)
        replace_file(temporary, data, 0o600)
        try:
            return _put(temporary, place / name, data)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CertificateError(f"{name} cannot be kept in {place}: {error.strerror or error}") from error


def _put(temporary: Path, wanted: Path, data: bytes) -> Path:
    number, path = 1, wanted
    while True:
        try:
            rename_new(str(temporary), str(path))
            return path
        except FileExistsError:
            with contextlib.suppress(CertificateError):
                if read_file(path) == data:
                    make_private(path)
                    return path
        number += 1
        path = wanted.with_stem(f"{wanted.stem}-{number}")
