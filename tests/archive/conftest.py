"""Archives and instances for these tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacskit.archive import Archive, Origin, Stored
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings


@pytest.fixture
def events() -> EventBus:
    return EventBus(remember=100_000)


@pytest.fixture
def fast() -> ArchiveSettings:
    return ArchiveSettings(durability="fast")


@pytest.fixture
def archive(tmp_path: Path, events: EventBus, fast: ArchiveSettings) -> Iterator[Archive]:
    with Archive.create_or_open(tmp_path / "archive", events, fast) as opened:
        yield opened


def make(sop: str = "1.2.3.1", study: str = "1.2.3", series: str = "1.2.3.0", **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = sop, study, series
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "001", "Doe^Jane", "19700101"
    dataset.StudyDate, dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "20260131", "CT", 1, 1
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


Send = Callable[..., Stored]
_clock = itertools.count()


def send_to(
    archive: Archive,
    dataset: Dataset,
    *,
    body: bytes | None = None,
    at: float | None = None,
    ae: str = "SCANNER",
    sop: str | None = None,
    at_once: bool = False,
) -> Stored:
    """One instance as a listener would store it; `at_once`: one that came before anything was written."""
    incoming = archive.incoming(
        sop_class_uid=CTImageStorage,
        sop_instance_uid=str(dataset.SOPInstanceUID) if sop is None else sop,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        origin=Origin(
            calling_ae=ae,
            called_ae="PACSKIT",
            address="dicom://10.0.0.1:104",
            received_at=1_769_000_000.123 + next(_clock) if at is None else at,
        ),
    )
    stream = BytesIO(encode(dataset) if body is None else body)
    try:
        if at_once:
            return incoming.commit([stream.read(100), stream.read()])
        while piece := stream.read(1000):
            incoming.write([piece, memoryview(b"")])
        return incoming.commit()
    finally:
        incoming.discard()


@pytest.fixture
def send(archive: Archive) -> Send:
    return lambda dataset, **options: send_to(archive, dataset, **options)
