"""What a caller may do. The same for every listener, whatever the service.

Callers that are not on the list: from this machine echo and store; from elsewhere echo only, and
store where the listener accepts unknown callers.
"""

from __future__ import annotations

import enum
import ipaddress


class Verb(enum.StrEnum):
    ECHO = "echo"
    STORE = "store"
    QUERY = "query"
    RETRIEVE = "retrieve"
    COMMIT = "commit"


def is_this_machine(address: str) -> bool:
    """Whether an IP address is a loopback one (127.0.0.0/8, ::1, and the first mapped into IPv6)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return bool((mapped or ip).is_loopback)


def allowed_verbs(address: str, *, accept_unknown: bool) -> frozenset[Verb]:
    """The verbs of a caller at this IP address that is on no list."""
    if accept_unknown or is_this_machine(address):
        return frozenset({Verb.ECHO, Verb.STORE})
    return frozenset({Verb.ECHO})
