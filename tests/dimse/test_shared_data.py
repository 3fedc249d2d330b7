"""All real files at hand, sent by DCMTK's storescu to us and to storescp +B: what came is compared byte by byte.

`storescu` rewrites data sets on the way, so what `storescp +B` writes for the same command is "as sent".
The outcome of each file goes to artifacts/shared-data.csv.
"""

from __future__ import annotations

import csv
import os
import struct
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

import pacskit
from pacskit.events import InstanceRefused

OPTIONS = {
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.4.100": "-xm",
    "1.2.840.10008.1.2.4.102": "-xn",
    "1.2.840.10008.1.2.5": "-xr",
}
"""What makes storescu propose a file's own transfer syntax."""


@dataclass(frozen=True)
class Outcome:
    path: Path
    kind: str
    detail: str = ""


def data_set(path: Path) -> bytes:
    raw = path.read_bytes()
    return raw[144 + struct.unpack_from("<L", raw, 140)[0] :]


def transfer_syntax(path: Path) -> str:
    try:
        return str(
            pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta.get("TransferSyntaxUID", "")
        )
    except Exception:  # noqa: BLE001 - what pydicom cannot read, storescu may still try
        return ""


RECODED = (
    *("PhotometricInterpretation", "PlanarConfiguration", "DerivationDescription"),
    *("DerivationCodeSequence", "DataSetTrailingPadding"),
)
"""What may be another value in another transfer syntax."""


def attributes(path: Path) -> pydicom.Dataset:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    dataset.remove_private_tags()  # their VR is lost in implicit VR little endian
    kept = [e for e in dataset if e.keyword not in RECODED and e.tag.element and e.tag.group != 0x7FE0]
    return pydicom.Dataset({element.tag: element for element in kept})


def storescu(path: Path, port: int, called: str) -> subprocess.CompletedProcess[bytes]:
    option = OPTIONS.get(transfer_syntax(path), "-x=")
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command = ["storescu", "-R", option, "-aec", called, "127.0.0.1", str(port), str(path)]
    return subprocess.run(command, capture_output=True, env=environment, timeout=120, check=False)


def outcome(path: Path, station: pacskit.Station, reference_port: int, reference: Path) -> Outcome:
    """Send one file to both, and say what became of it."""
    for old in reference.iterdir():
        old.unlink()
    storescu(path, reference_port, "PACSKIT")
    sent = next(iter(reference.iterdir()), None)
    with station.events.queue(InstanceRefused) as refused:
        storescu(path, station.listener.status.port, "PACSKIT")
        event = refused.get(0)
    if sent is None:
        return Outcome(path, "not sent by storescu")
    if event is not None:
        return Outcome(path, "refused", f"{event.status:04X}H {event.reason}")
    uid = str(pydicom.dcmread(sent, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
    stored = station.table(level="instance", SOPInstanceUID=uid)
    assert len(stored) == 1, f"{path} was sent and is neither stored nor refused"
    (series_uid,) = stored["series_uid"]
    paths = station.series(series_uid).paths
    if not any(data_set(ours) == data_set(sent) for ours in paths):
        apart = [one.path for one in station.archive.aside() if one.sop_instance_uid == uid]
        if any(data_set(one) == data_set(sent) for one in apart):
            return Outcome(path, "aside", "another content is stored under its UID")
        ours = next(p for p in paths if pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID == uid)
        syntaxes = {transfer_syntax(ours), transfer_syntax(sent)}
        if len(syntaxes) == 1:  # the same instance, with other group lengths or padding
            pixels = [pydicom.dcmread(one).get("PixelData") for one in (ours, sent)]
            assert pixels[0] == pixels[1], f"{path}: what we stored is not what was sent"
        assert attributes(ours) == attributes(sent), f"{path} in {syntaxes}"
        return Outcome(path, "stored", "the first came in other bytes: attributes compared")
    return Outcome(path, "stored")


@pytest.fixture(scope="module")
def data_folder() -> Path:
    """All of the shared data where it is there, else the files that come with the project."""
    root = Path(__file__).parents[2]
    shared = Path(os.environ.get("PACSKIT_SHARED_DATA", root.parent / "shared" / "data"))
    return shared if shared.is_dir() else root / "tests" / "data"


@pytest.mark.peer("storescu")
@pytest.mark.peer("storescp")
@pytest.mark.timeout(600)
def test_every_file_is_stored_as_sent_or_refused_with_a_reason(data_folder: Path, station, storescp) -> None:
    files = sorted(p for p in data_folder.rglob("*") if p.is_file() and p.suffix != ".md")
    reference, peer = storescp("+B", "+xa", "-aet", "PACSKIT")
    outcomes = [outcome(path, station, peer.port, reference) for path in files]
    artifacts = Path(__file__).parents[2] / "artifacts"
    artifacts.mkdir(exist_ok=True)
    with (artifacts / "shared-data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "outcome", "detail"])
        writer.writerows((o.path.relative_to(data_folder), o.kind, o.detail) for o in outcomes)
    counts = Counter(o.kind for o in outcomes)
    print(counts)
    assert counts["stored"] > 0.6 * len(files)
    for o in outcomes:
        if o.kind == "refused":
            assert o.detail.startswith(("A900H", "C000H")), o
            assert len(o.detail) > 20, f"a reason is a sentence: {o}"
    stored = station.table(level="instance")
    assert stored["sop_instance_uid"].is_unique
    assert int(station.studies()["instances"].sum()) == len(stored)
    paths = [p for uid in station.table(level="series")["series_uid"] for p in station.series(uid).paths]
    read = {
        str(pydicom.dcmread(p, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        for p in paths
    }
    assert read == set(stored["sop_instance_uid"])
