"""Whom the Secure DICOM Listener lets in, by kind of certificate and client: the table of docs/tls.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacskit.certificates import PROFILES, missing
from tests.certificates.hospital import Lab
from tests.dimse.matrix import KINDS, PAGE, table, written


@pytest.mark.peer("echoscu", "openssl")
@pytest.mark.filterwarnings("ignore")
def test_who_is_let_in(tmp_path: Path, lab: Lab) -> None:
    made = table(tmp_path, lab)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in made.splitlines()[2:]]
    assert [(row[0], row[1]) for row in rows] == [(kind, on) for on in ("on", "off") for kind in KINDS]
    for kind, verify, *results, told in rows:
        good = verify == "off" or kind == "right"
        assert results == ["accepted" if good else "refused"] * 3
        assert (told == "–") == good
    assert made == written(PAGE.read_text("utf-8")), "stale: make docs"


def test_what_is_missing_here_is_named() -> None:
    page = PAGE.read_text("utf-8")
    for profile in PROFILES.values():
        assert f"`{profile.name}`" in page
        for suite in missing(profile.name):
            assert f"`{suite}`" in page, (
                f"{profile.name}: {suite} is missing here, and docs/tls.md does not say so"
            )
