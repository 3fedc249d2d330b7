"""Who is let in, as a table: `python -m tests.dimse.matrix` writes it into docs/tls.md."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from pacskit.certificates.authority import Issued
from tests.certificates.hospital import Lab
from tests.dimse.secured import RELEASE_RP, Secured, running
from tests.peers import why_missing

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tls.md"
BEGIN, END = "<!-- matrix: make docs -->\n", "<!-- end of matrix -->\n"
KINDS = ("none", "right", "wrong root", "expired", "revoked", "wrong use")
HEAD = (
    "| Client's certificate | Verify | DCMTK | pynetdicom | openssl | What log and live table say |",
    "|---|---|---|---|---|---|",
)


def _dcmtk(secured: Secured, issued: Issued | None) -> bool:
    return secured.dcmtk("echoscu", issued).returncode == 0


def _pynetdicom(secured: Secured, issued: Issued | None) -> bool:
    association = secured.pynetdicom(issued)
    if not association.is_established:
        return False
    status = association.send_c_echo().Status
    association.release()
    return status == 0


def _openssl(secured: Secured, issued: Issued | None) -> bool:
    return RELEASE_RP in secured.openssl(issued).stdout


CLIENTS: tuple[Callable[[Secured, Issued | None], bool], ...] = (_dcmtk, _pynetdicom, _openssl)


def rows(folder: Path, lab: Lab) -> list[str]:
    """One for each kind of certificate and setting of Verify, by three real clients."""
    found = []
    for verify in (True, False):
        with running(folder / str(verify), lab, verify_peer=verify, crl=[lab.revocation]) as secured:
            for kind in KINDS:
                before = {refusal: refusal.count for refusal in secured.slot.refusals()}
                served = [client(secured, lab.clients[kind]) for client in CLIENTS]
                assert secured.dcmtk("echoscu", lab.clients["right"]).returncode == 0, "all were taken by now"
                new = [refusal for refusal in secured.slot.refusals() if refusal not in before]
                assert sum(refusal.count for refusal in new) == served.count(False), (kind, verify, new)
                told = "; ".join(sorted({refusal.reason for refusal in new})) or "–"
                told = re.sub(r"revoked on [\d-]+", "revoked on (date)", told)
                results = " | ".join("accepted" if good else "refused" for good in served)
                found.append(f"| {kind} | {'on' if verify else 'off'} | {results} | {told} |")
    return found


def table(folder: Path, lab: Lab) -> str:
    return "\n".join((*HEAD, *rows(folder, lab))) + "\n"


def written(page: str) -> str:
    """The table as the page has it."""
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)]


def main() -> None:
    for reason in filter(None, map(why_missing, ("echoscu", "openssl"))):
        print(f"docs/tls.md: the table stays as it is, {reason}")
        return
    page = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"PACSKIT_HOME": f"{folder}/home", "PACSKIT_SITE": f"{folder}/site.toml"}
        new = table(Path(folder), Lab.create(Path(folder)))
    PAGE.write_text(
        page.replace(written(page), new) if written(page) else page.replace(BEGIN, BEGIN + new), "utf-8"
    )


if __name__ == "__main__":
    main()
