"""`pacskit certificate`, and the handshake test behind it and the panel's button."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hospital import Lab, identity
from shaking import Server

from pacskit.certificates import TrustedList, try_handshake
from pacskit.cli import main

ROW = "{:12}{}".format


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pacskit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pacskit", "certificate", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_from_nothing_to_a_verified_handshake(
    lab: Lab, serve: type[Server], tmp_path: Path, pacskit: Run
) -> None:
    folder = tmp_path / "lab"
    assert pacskit("create", folder) == (0, f"{folder / 'root.crt'}\n", "")
    assert pacskit("issue", folder, "pacs")[0] == 0
    assert pacskit("issue", folder, "scanner", "--client")[0] == 0
    code, out, _ = pacskit("check", "--certificate", folder / "pacs.crt", "--key", folder / "pacs.key")
    assert (code, out) == (0, "pacs, pacskit teaching authority\n")
    code, out, _ = pacskit("check", "--certificate", folder / "pacs.crt", "--key", folder / "scanner.key")
    assert code == 1
    assert out.startswith("Certificate and private key do not match\nscanner.key is the key of another")
    code, out, _ = pacskit("show", folder / "pacs.crt")
    assert ROW("subject", "pacs, pacskit teaching authority") in out
    assert ROW("issuer", "pacskit teaching root") in out
    assert "localhost, " in out
    assert pacskit("revoke", folder, "scanner") == (0, f"{folder / 'root.crl'}\n", "")
    code, _, err = pacskit("create", folder)
    assert code == 1
    assert (
        err
        == f"pacskit: {folder / 'root.crt'} exists: nothing is overwritten, choose another name or folder\n"
    )
    assert pacskit("test", "nowhere")[0] == 2

    server = serve(lab.handshakes())
    scanner = lab.clients["right"]
    assert scanner
    options = ["--trust", lab.ours.root, "--certificate", scanner.certificate, "--key", scanner.private_key]
    code, out, err = pacskit("test", f"127.0.0.1:{server.port}", *options)
    assert (code, err) == (0, "")
    assert ROW("version", "TLSv1.3") in out
    assert ROW("suite", "TLS_AES_256_GCM_SHA384") in out
    assert ROW("certificate", "pacs, signed by Hospital Root (EC P-256)") in out
    assert ROW("result", "verified: pacs, pacskit teaching authority") in out
    code, out, _ = pacskit("test", f"127.0.0.1:{server.port}", "--trust", lab.other.root)
    assert code == 1
    assert "is signed by Hospital Root, which is not on the trusted list: add Hospital Root" in out


@pytest.mark.parametrize("kind", ["none", "wrong root", "expired", "wrong use"])
def test_a_refusal_of_ours_is_told_though_tls_1_3_says_it_late(
    lab: Lab, serve: type[Server], kind: str
) -> None:
    server = serve(lab.handshakes())
    shown = lab.clients[kind]
    report = try_handshake(
        "127.0.0.1", server.port, trusted=lab.trusted, identity=identity(shown) if shown else None
    )
    assert not report.ok
    wanted = {
        "none": "the server wants a certificate of ours",
        "wrong root": "the server does not know who signed our certificate",
        "expired": "the server says that our certificate has expired",
        "wrong use": "the server does not accept our certificate's kind or use",
    }
    assert wanted[kind] in report.verdict
    assert server.outcome().reason


def test_a_server_that_is_not_verified_still_says_what_it_is(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes(verify=False))
    for trusted, name, sentence in (
        (
            TrustedList().add(lab.other.root),
            None,
            "signed by Hospital Root, which is not on the trusted list",
        ),
        (lab.trusted, "elsewhere.example", "is for another name or address than the one called"),
        (TrustedList(), None, "the trusted list is empty"),
    ):
        report = try_handshake("127.0.0.1", server.port, trusted=trusted, server_name=name)
        assert not report.ok
        assert sentence in report.verdict
        assert report.version == "TLSv1.3"
        assert report.chain == ("pacs, signed by Hospital Root (EC P-256)",)


def test_nobody_there(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes())
    server.close()
    report = try_handshake("127.0.0.1", server.port, trusted=lab.trusted)
    assert not report.ok
    assert report.verdict == "no connection: Connection refused"
