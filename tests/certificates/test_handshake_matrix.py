"""Whom a listener lets in: openssl's client with each kind of certificate, verification on and off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hospital import Lab
from shaking import Server, s_client

from pacskit.certificates import RevocationLists, TrustedList
from pacskit.certificates.trust import NOBODY

pytestmark = pytest.mark.peer("openssl")

WANTED = {
    "none": "the client showed no certificate: give it one that an authority on the trusted list signed, or "
    "turn Verify peer certificate off",
    "right": "",
    "right, by intermediate": "",
    "wrong root": "the client's certificate (stranger) is signed by Other Root, which is not on the trusted "
    "list: add Other Root",
    "same name, other key": "the client's certificate (imposter) is signed by Hospital Root, but with another "
    "key than the Hospital Root on the trusted list: add the right one",
    "expired": "the client's certificate (old-scanner) expired on 2020-01-31: it needs a new one",
    "not yet valid": r"re:the client's certificate \(new-scanner\) is not valid before .* UTC: it needs a new one",
    "revoked": r"re:the certificate stolen-scanner was revoked on \d{4}-\d\d-\d\d, says root\.crl",
    "wrong use": "the client's certificate (web-server) is for another use: it has to be one for TLS clients "
    "(extended key usage)",
}


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("verify", [True, False], ids=["verify", "any"])
@pytest.mark.parametrize("kind", WANTED)
def test_who_is_let_in(lab: Lab, serve: type[Server], kind: str, verify: bool, version: str) -> None:
    lists = RevocationLists.read([lab.revocation])
    server = serve(lab.handshakes(verify=verify, revoked=lists))
    client = s_client(server.port, lab.ours.root, lab.clients[kind], version=version)
    outcome = server.outcome()
    wanted = WANTED[kind] if verify else ""
    if wanted.startswith("re:"):
        assert re.fullmatch(wanted[3:], outcome.reason)
    else:
        assert outcome.reason == wanted
    assert client.served == (wanted == "")
    assert (outcome.peer is not None) == (verify and not wanted)
    if outcome.peer is not None:
        signer = "Ward CA" if "intermediate" in kind else "Hospital Root"
        assert outcome.peer.issuer == signer
        assert outcome.peer.subject.endswith(", pacskit teaching authority")
        assert len(outcome.peer.fingerprint) == 95


def test_an_intermediate_alone_can_be_trusted(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes(trusted=TrustedList().add(lab.ward.root)))
    assert s_client(server.port, lab.ours.root, lab.clients["right, by intermediate"]).served
    assert server.outcome().peer
    assert not s_client(server.port, lab.ours.root, lab.clients["right"]).served  # the root isn't trusted
    assert "Hospital Root, which is not on the trusted list" in server.outcome().reason


def test_a_list_of_one_authority_locks_out_no_client_of_another(lab: Lab, serve: type[Server]) -> None:
    both = lab.trusted.add(lab.other.root)
    server = serve(lab.handshakes(trusted=both, revoked=RevocationLists.read([lab.revocation])))
    assert s_client(server.port, lab.ours.root, lab.clients["wrong root"]).served
    assert s_client(server.port, lab.ours.root, lab.clients["right"]).served
    assert not s_client(server.port, lab.ours.root, lab.clients["revoked"]).served


def test_an_empty_list_lets_nobody_in_and_says_so(lab: Lab, serve: type[Server]) -> None:
    server = serve(lab.handshakes(trusted=TrustedList()))
    assert not s_client(server.port, lab.ours.root, lab.clients["right"]).served
    assert server.outcome().reason == NOBODY[0].lower() + NOBODY[1:]


def test_the_systems_store_counts_for_nothing(
    lab: Lab, serve: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.other.root))
    server = serve(lab.handshakes())
    assert not s_client(server.port, lab.ours.root, lab.clients["wrong root"]).served


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumption_opens_no_back_door(lab: Lab, serve: type[Server], version: str, tmp_path: Path) -> None:
    """A revoked client gets its ticket before we look: the session must not let it in afterwards."""
    server = serve(lab.handshakes(revoked=RevocationLists.read([lab.revocation])))
    for kind in ("right", "revoked"):
        session = tmp_path / kind
        s_client(server.port, lab.ours.root, lab.clients[kind], "-sess_out", str(session), version=version)
        first = server.outcome()
        assert bool(first.peer) == (kind == "right")
        assert session.exists()
        again = s_client(
            server.port, lab.ours.root, lab.clients[kind], "-sess_in", str(session), version=version
        )
        outcome = server.outcome()
        if kind == "right":
            assert again.served
            assert outcome.resumed
            assert outcome.peer == first.peer
        else:
            assert not again.served
            assert "not admitted here" in outcome.reason


def test_another_context_opens_no_session_of_the_one_before(
    lab: Lab, serve: type[Server], tmp_path: Path
) -> None:
    session = tmp_path / "session"
    server = serve(lab.handshakes())
    s_client(server.port, lab.ours.root, lab.clients["revoked"], "-sess_out", str(session))
    assert server.outcome().peer
    server.handshakes = lab.handshakes(revoked=RevocationLists.read([lab.revocation]))
    assert not s_client(server.port, lab.ours.root, lab.clients["revoked"], "-sess_in", str(session)).served
    assert "revoked on" in server.outcome().reason
