"""What may be a UID (PS3.5 9.1) before it goes anywhere near a path or the index."""

from __future__ import annotations

import re
from functools import lru_cache

from pacskit.errors import Refused

STATUS_MISMATCH = 0xA900
_uid = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII).fullmatch


def is_uid(value: str) -> bool:
    """PS3.5 9.1: at most 64 characters, components of digits separated by single dots.

    Components with leading zeros are against 9.1 and are taken all the same: scanners send them, and
    they cannot harm a path. A single component without a dot is taken for the same reason.
    """
    return len(value) <= 64 and _uid(value) is not None


def check_uid(value: str, what: str) -> str:
    """The UID itself, or Refused A900 with a sentence that says what is wrong with it."""
    if not value:
        raise Refused(STATUS_MISMATCH, f"the {what} is missing")
    if not is_uid(value):
        raise Refused(STATUS_MISMATCH, f"the {what} {value[:70]!r} is not a UID (PS3.5 9.1)")
    return value


check_common_uid = lru_cache(maxsize=256)(check_uid)
"""For those that are mostly alike: of classes and transfer syntaxes."""


def check_announced(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> None:
    """What a sender announces, before its data set comes. Raises Refused A900."""
    check_common_uid(sop_class_uid, "Affected SOP Class UID")
    check_uid(sop_instance_uid, "Affected SOP Instance UID")
    check_common_uid(transfer_syntax_uid, "Transfer Syntax UID")
