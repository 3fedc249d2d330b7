"""One multi-frame object of 200 MB: rate, and how far the receiver's memory grows."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from bench.corpus import EXPLICIT_LE
from bench.raw_sender import RawAssociation, associate_rq
from bench.results import Row, ratios
from bench.servers import Server, present

US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SIZE = 200_000_000
FRAGMENT = 131_066
MEGABYTE = 1e6


def _header(uid: str) -> bytes:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = US_MULTI_FRAME, uid
    dataset.PatientName, dataset.PatientID = "Bench^Large", "BENCH"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{uid}.1", f"{uid}.2"
    dataset.Modality, dataset.Rows, dataset.Columns, dataset.NumberOfFrames = (
        "US",
        1000,
        1000,
        SIZE // 1_000_000,
    )
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue() + b"\xe0\x7f\x10\0OB\0\0" + SIZE.to_bytes(4, "little")


def _fragments(header: bytes) -> Iterator[bytes]:
    stream = io.BytesIO(header)
    while piece := stream.read(FRAGMENT):
        yield piece
    frame, left = bytes(FRAGMENT), SIZE
    while left:
        yield frame[: min(left, FRAGMENT)]
        left -= min(left, FRAGMENT)


def _one(server: Server) -> tuple[float, float]:
    """MB/s, and growth in MB."""
    before, most, done = server.memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, server.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    uid = f"1.2.826.0.1.3680043.10.9999.{time.time_ns()}"
    association = RawAssociation(server.port, associate_rq([(US_MULTI_FRAME, (EXPLICIT_LE,))]))
    began = time.perf_counter()
    status = association.store(1, US_MULTI_FRAME, uid, _fragments(_header(uid)))
    spent = time.perf_counter() - began
    association.release()
    done.set()
    watcher.join()
    if status:
        raise RuntimeError(f"{server.name} answered status {status:04X}H")
    return SIZE / MEGABYTE / spent, (most - before) / MEGABYTE


def run(work: Path, rounds: int) -> list[Row]:
    rates: dict[str, list[float]] = {}
    growths: dict[str, list[float]] = {}
    names = present()
    for turn in range(rounds):
        for name in random.sample(names, len(names)):
            with Server(name, work / f"large-{turn}-{name}") as server:
                rate, growth = _one(server)
                rates.setdefault(name, []).append(rate)
                growths.setdefault(name, []).append(growth)
    return [
        *ratios("200 MB object", " MB/s", {name: rates[name] for name in names}, {"storescp": 3.0}),
        *ratios(
            "200 MB object, growth of memory",
            " MB",
            {name: growths[name] for name in names},
            "ours <64 MB",
            compare=False,
        ),
    ]
