"""What each profile offers, seen by openssl's client and DCMTK's."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from hospital import Lab, identity
from shaking import PATIENCE, Server, s_client

from pacskit.certificates import PROFILES, Handshakes, TrustedList, client_context, missing
from pacskit.certificates.suites import ProfileName, openssl_name
from tests.peers import find_peer

pytestmark = pytest.mark.peer("openssl")


@pytest.mark.parametrize("profile", ["rfc9325", "rfc9325-modified"])
def test_only_forward_secrecy_and_aead(lab: Lab, profile: ProfileName) -> None:
    context = lab.handshakes(profile=profile).context
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["name"].startswith(("TLS_", "ECDHE-"))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize(
    ("suite", "profiles"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", set(PROFILES)),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", set(PROFILES)),
        ("ECDHE-ECDSA-AES256-CCM", {"rfc9325-modified"}),
        ("ECDHE-ECDSA-AES128-SHA", set()),
    ],
)
def test_suites(lab: Lab, serve: type[Server], suite: str, profiles: set[str]) -> None:
    for profile in PROFILES.values():
        server = serve(lab.handshakes(profile=profile.name, verify=False))
        client = s_client(server.port, lab.ours.root, None, "-cipher", suite, version="-tls1_2")
        outcome = server.outcome()
        assert client.served == (profile.name in profiles), profile.name
        if client.served:
            assert (outcome.version, outcome.suite) == ("TLSv1.2", suite)
        else:
            assert f"no cipher suite in common with the profile {profile.name}" in outcome.reason


@pytest.mark.parametrize("profile", PROFILES)
def test_old_versions_only_in_legacy(lab: Lab, serve: type[Server], profile: ProfileName) -> None:
    server = serve(lab.handshakes(profile=profile, verify=False))
    for version in ("-tls1", "-tls1_1"):
        client = s_client(server.port, lab.ours.root, None, "-cipher", "ALL:@SECLEVEL=0", version=version)
        outcome = server.outcome()
        if profile == "legacy":
            # Our key is EC, and the retired suites of TLS 1.0 are RSA's or need ECDHE-ECDSA with SHA-1.
            assert client.served or "no cipher suite in common" in outcome.reason
        else:
            assert not client.served
            assert f"TLS versions that the profile {profile} does not allow" in outcome.reason


def test_legacy_speaks_tls_1_0_with_rsa_keys(lab: Lab, serve: type[Server]) -> None:
    rsa = identity(lab.ours.issue("rsa-legacy", key="rsa"))
    server = serve(Handshakes.server("legacy", rsa, verify=False, trusted=lab.trusted))
    options = ("-cipher", "AES128-SHA:@SECLEVEL=0")
    assert s_client(server.port, lab.ours.root, None, *options, version="-tls1").served
    assert server.outcome().version == "TLSv1"
    assert "INSECURE" in PROFILES["legacy"].warning
    assert not PROFILES["rfc9325"].warning


def test_tls_1_3_where_both_can(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes(verify=False))
    assert s_client(server.port, lab.ours.root, version="-no_ssl3").served
    assert server.outcome().version == "TLSv1.3"


def test_what_is_missing_is_what_openssl_has_not() -> None:
    assert missing("rfc9325") == ()
    lacking = missing("rfc9325-modified")
    assert "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" not in lacking
    assert "TLS_AES_128_CCM_SHA256" in lacking or ssl.OPENSSL_VERSION_INFO >= (4,)
    known = {
        str(c["name"]) for c in client_context("legacy", trusted=TrustedList(), verify=False).get_ciphers()
    }
    for suite in PROFILES["legacy"].suites:
        assert (openssl_name(suite) in known) == (suite not in missing("legacy"))


@pytest.mark.parametrize(
    ("iana", "openssl"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", "ECDHE-ECDSA-AES256-CCM8"),
        ("TLS_ECDHE_ECDSA_WITH_CAMELLIA_128_GCM_SHA256", "ECDHE-ECDSA-CAMELLIA128-GCM-SHA256"),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", "DES-CBC3-SHA"),
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ],
)
def test_names_of_suites(iana: str, openssl: str) -> None:
    assert openssl_name(iana) == openssl


@pytest.mark.peer("echoscu")
@pytest.mark.parametrize(
    ("profile", "option", "suite"),
    [
        ("rfc9325", "+py", "TLS_AES"),
        ("rfc9325", "+px", "TLS_AES"),
        ("rfc9325-modified", "+pz", "ECDHE-RSA-AES"),
        ("legacy", "+pa", "AES128-SHA"),
        ("rfc9325", "+pa", None),
    ],
)
def test_dcmtk(
    lab: Lab, serve: type[Server], tmp_path: Path, profile: ProfileName, option: str, suite: str | None
) -> None:
    """DCMTK's client, with a certificate of its own; the server here is no DICOM, it sees the request begin."""
    pacs = lab.ours.issue(f"pacs-{profile}{option[1:]}", key="rsa", folder=tmp_path)
    scanner = lab.ours.issue("scanner", use="client", key="rsa", folder=tmp_path)
    handshakes = Handshakes.server(profile, identity(pacs), verify=True, trusted=lab.trusted)
    server = serve(handshakes)
    echoscu = find_peer("echoscu")
    assert echoscu
    command = [echoscu, "+tls", str(scanner.private_key), str(scanner.certificate), "-pw"]
    command += ["+cf", str(lab.ours.root), option, "127.0.0.1", str(server.port)]
    subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    outcome = server.outcome()
    if suite is None:
        assert "no cipher suite in common with the profile rfc9325" in outcome.reason
        return
    assert outcome.reason == ""
    assert outcome.suite.startswith((suite, "ECDHE-RSA-AES") if suite == "TLS_AES" else suite)
    assert outcome.heard.startswith(b"\x01\x00")  # A-ASSOCIATE-RQ
    assert outcome.peer
    assert outcome.peer.subject == "scanner, pacskit teaching authority"
