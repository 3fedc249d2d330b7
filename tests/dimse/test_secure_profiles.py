"""The running Secure DICOM Listener as sslyze, openssl and DCMTK see its profiles."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.certificates.hospital import Lab
from tests.dimse.secured import HERE, RELEASE_RP, running
from tests.peers import find_peer


@pytest.mark.peer("sslyze")
def test_sslyze_finds_no_weakness_in_the_default(tmp_path: Path, lab: Lab) -> None:
    report = tmp_path / "report.json"
    scans = (
        "sslv2 sslv3 tlsv1 tlsv1_1 tlsv1_2 tlsv1_3 compression heartbleed robot openssl_ccs fallback reneg"
    )
    with running(tmp_path, lab, trusted=[], verify_peer=False) as secured:
        command = [
            str(find_peer("sslyze")),
            "--mozilla_config=disable",
            f"--json_out={report}",
            "--early_data",
        ]
        command += [f"--{scan}" for scan in scans.split()]
        subprocess.run([*command, f"{HERE}:{secured.port}"], check=True, capture_output=True, timeout=200)
        assert secured.pynetdicom(None).is_established, "it serves on"
    (server,) = json.loads(report.read_text())["server_scan_results"]
    found: dict[str, Any] = {}
    for name, scan in server["scan_result"].items():
        if scan["status"] != "NOT_SCHEDULED":
            assert scan["status"] == "COMPLETED", (name, scan)
            found[name] = scan["result"]
    accepted = {
        version: {
            each["cipher_suite"]["name"]
            for each in found[f"{version}_cipher_suites"]["accepted_cipher_suites"]
        }
        for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    }
    assert {version for version, suites in accepted.items() if suites} == {"tls_1_2", "tls_1_3"}
    for suite in accepted["tls_1_2"]:
        assert suite.startswith("TLS_ECDHE_")
        assert suite.endswith(("_GCM_SHA256", "_GCM_SHA384", "_POLY1305_SHA256")), suite
    assert not found["tls_compression"]["supports_compression"]
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"]
    assert found["session_renegotiation"]["supports_secure_renegotiation"]
    assert not found["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert not found["tls_1_3_early_data"]["supports_early_data"]


@pytest.mark.peer("openssl")
@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("rfc9325", ("-tls1_3",)),
        ("rfc9325-modified", ("-tls1_3",)),
        ("rfc9325-modified", ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM8")),
        ("legacy", ("-tls1_3",)),
    ],
)
def test_openssl(tmp_path: Path, lab: Lab, profile: str, options: tuple[str, ...]) -> None:
    with running(tmp_path, lab, tls_profile=profile) as secured:
        assert RELEASE_RP in secured.openssl(lab.clients["right"], *options).stdout


@pytest.mark.peer("echoscu")
@pytest.mark.parametrize(
    ("profile", "option", "served"),
    [
        ("rfc9325", "+py", True),
        ("rfc9325-modified", "+pz", True),
        ("legacy", "+pa", True),
        ("rfc9325", "+pa", False),
    ],
)
def test_dcmtk(tmp_path: Path, lab: Lab, profile: str, option: str, served: bool) -> None:
    pacs = lab.ours.issue("pacs-rsa", key="rsa", folder=tmp_path)
    scanner = lab.ours.issue("scanner-rsa", use="client", key="rsa", folder=tmp_path)
    files = {"certificate": pacs.certificate, "private_key": pacs.private_key}
    with running(tmp_path, lab, tls_profile=profile, **files) as secured:
        assert (secured.dcmtk("echoscu", scanner, option).returncode == 0) == served
        if not served:
            assert "no cipher suite in common with the profile rfc9325" in secured.reasons()[0]
