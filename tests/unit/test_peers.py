"""AET@HOST:PORT."""

from __future__ import annotations

import pytest

from pacskit.errors import SettingError
from pacskit.peers import PeerAddress


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("PACS@10.0.0.1:104", PeerAddress("PACS", "10.0.0.1", 104)),
        ("MY PACS@pacs.example:11112", PeerAddress("MY PACS", "pacs.example", 11112)),
        ("A@B@host:1", PeerAddress("A@B", "host", 1)),
        ("PACS@[::1]:104", PeerAddress("PACS", "::1", 104)),
    ],
)
def test_parse(text: str, peer: PeerAddress) -> None:
    assert PeerAddress.parse(text) == peer
    assert PeerAddress.parse(str(peer)) == peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PACS",
        "PACS@host",
        "@host:104",
        "PACS@:104",
        "PACS@host:0",
        "PACS@host:x",
        "PACS@host:65536",
        "TOO_LONG_AE_TITLE@h:1",
    ],
)
def test_what_is_no_peer(text: str) -> None:
    with pytest.raises(SettingError):
        PeerAddress.parse(text)
