"""The TLS profiles of PS3.15 Annex B as data: versions and cipher suites, and what this OpenSSL lacks.

Names are IANA's, as the standard has them; OpenSSL's are derived or listed. TLS 1.3 suites cannot be chosen
before Python 3.15: OpenSSL's three are offered, and the two CCM ones of B.13 are missing.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["rfc9325", "rfc9325-modified", "legacy"]

_GCM = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
)
_CHACHA = ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
_CCM = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_CCM",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8",
)
_CAMELLIA = (
    "TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CAMELLIA_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CAMELLIA_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CAMELLIA_256_GCM_SHA384",
)
_TLS13 = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
_TLS13_CCM = ("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256")
_RETIRED = (
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
)


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: what is said of it, and what is offered."""

    name: ProfileName
    title: str
    suites: tuple[str, ...]
    """TLS 1.2 and below, the one we prefer first."""
    tls13: tuple[str, ...]
    lowest: ssl.TLSVersion
    level: int
    """OpenSSL's security level: 2 refuses what is below 112 bits, 0 refuses nothing."""
    warning: str = ""


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            "rfc9325",
            "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12)",
            (*_GCM, *_CHACHA),
            _TLS13,
            ssl.TLSVersion.TLSv1_2,
            2,
        ),
        Profile(
            "rfc9325-modified",
            "Modified BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.13)",
            (*_GCM, *_CHACHA, *_CCM, *_CAMELLIA),
            (*_TLS13, *_TLS13_CCM),
            ssl.TLSVersion.TLSv1_2,
            2,
        ),
        Profile(
            "legacy",
            "Retired profiles (PS3.15 B.2, B.3, B.9) for old scanners",
            (*_GCM, *_CHACHA, *_RETIRED),
            _TLS13,
            ssl.TLSVersion.MINIMUM_SUPPORTED,
            0,
            "INSECURE: TLS 1.0, suites without forward secrecy and weak keys are accepted. "
            "What is recorded today can be read later. Only for scanners that can do nothing better",
        ),
    )
}


def openssl_name(suite: str) -> str:
    """TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 -> ECDHE-RSA-AES128-GCM-SHA256; those of TLS 1.3 keep theirs."""
    if "_WITH_" not in suite:
        return suite
    exchange, cipher = suite.removeprefix("TLS_").split("_WITH_")
    if cipher == "3DES_EDE_CBC_SHA":
        return "DES-CBC3-SHA" if exchange == "RSA" else f"{exchange.replace('_', '-')}-DES-CBC3-SHA"
    cipher = cipher.replace("_CBC", "").replace("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305")
    for block in ("AES", "CAMELLIA"):
        cipher = cipher.replace(f"{block}_", block)
    cipher = cipher.replace("CCM_8", "CCM8").replace("_", "-")
    return cipher if exchange == "RSA" else f"{exchange.replace('_', '-')}-{cipher}"


def offer(context: ssl.SSLContext, name: ProfileName) -> None:
    """Let the context do what the profile says, as far as this OpenSSL can."""
    profile = PROFILES[name]
    context.minimum_version = profile.lowest
    context.set_ciphers(":".join([*map(openssl_name, profile.suites), f"@SECLEVEL={profile.level}"]))
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_SSLv3
    )


def missing(name: ProfileName) -> tuple[str, ...]:
    """What the profile lists and this OpenSSL, by this Python, does not offer: for docs and panel."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offer(context, name)
    offered = {str(cipher["name"]) for cipher in context.get_ciphers()}
    profile = PROFILES[name]
    return tuple(s for s in (*profile.suites, *profile.tls13) if openssl_name(s) not in offered)
