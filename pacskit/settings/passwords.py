"""Passwords are kept as argon2id hashes (RFC 9106) and never in plain."""

from __future__ import annotations

import functools
import hashlib
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
_MARK = "$argon2"
_PEPPER = secrets.token_bytes(32)
_MOST_KNOWN = 16
_known: dict[bytes, str] = {}
"""Hashes made by this process. A hash has a salt, so the same plain password (in an environment variable,
say) would give a new one each time settings are read, and a service would seem to have new settings."""


def is_hash(text: str) -> bool:
    return text.startswith(_MARK)


def kept(text: str) -> str:
    """The hash of a plain password; a hash stays what it is. Raises ValueError for a damaged hash."""
    if is_hash(text):
        _check(text)
        return text
    digest = hashlib.sha256(_PEPPER + text.encode()).digest()
    if digest not in _known:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[digest] = _HASHER.hash(text)
    return _known[digest]


def matches(hashed: str, plain: str) -> bool:
    """Whether this is the password; takes some 50 ms by design, so not in a loop thread."""
    try:
        return _HASHER.verify(hashed, plain)
    except (VerificationError, InvalidHashError):
        return False


@functools.lru_cache(maxsize=64)
def _check(text: str) -> None:
    try:
        _HASHER.check_needs_rehash(text)
    except InvalidHashError:
        raise ValueError("this is no whole argon2 hash: set the password again") from None
