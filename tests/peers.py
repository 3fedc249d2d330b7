"""Which outside program the tests talk to comes from which Debian package, and where it is found."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PACKAGE_OF = {
    **dict.fromkeys(
        [
            "storescu",
            "storescp",
            "echoscu",
            "findscu",
            "movescu",
            "getscu",
            "dcmqrscp",
            "dcmdump",
            "dcmodify",
            "dump2dcm",
            "dcmconv",
            "dcmcjpeg",
            "dcmdjpeg",
            "dcmcrle",
            "dcmdrle",
            "img2dcm",
            "dcmftest",
            "termscu",
            "wlmscpfs",
        ],
        "dcmtk",
    ),
    **dict.fromkeys(("dciodvfy", "dcentvfy", "dcdump"), "dicom3tools"),
    "Orthanc": "orthanc",
    "chromium": "chromium",
    "strace": "strace",
    "openssl": "openssl",
    "sslyze": "sslyze",
}
# Debian puts daemons where only root looks.
OWN = Path(__file__).resolve().parent.parent / ".venv" / "sslyze" / "bin"
"""What tools/peers.py puts into an environment of its own."""
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", str(OWN)))


def find_peer(name: str) -> str | None:
    """The program's path, or None; raises KeyError for one that PACKAGE_OF does not list."""
    if name not in PACKAGE_OF:
        raise KeyError(f"tests/peers.py does not know {name!r}: add it to PACKAGE_OF with its package")
    return shutil.which(name, path=SEARCHED)


def why_missing(name: str) -> str | None:
    """None where the program is there, else the sentence to skip or fail with."""
    if find_peer(name):
        return None
    return f"{name} is missing: install the package {PACKAGE_OF[name]} (python3 tools/peers.py, as root)"
