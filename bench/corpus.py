"""CT and MR instances as scanners write them (private groups, nested sequences), each with UIDs of its own.

pydicom encodes one header of a kind; the others are made of it by exchanging values of equal length, so that
a sender can prepare thousands in a second.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

ROOT = "1.2.826.0.1.3680043.10.9999"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
MATRIX = {"CT": 512, "MR": 128}
"""Rows and columns: 532 KB and 38 KB an instance."""
PER_SERIES, PER_STUDY = 250, 500
_RUN, _STUDY, _SERIES, _INSTANCE = 1_111_111_111, 11_111_111, 22_222_222, 33_333_333


def _study_uid(run: int, study: int) -> str:
    return f"{ROOT}.{run}.1.{study}"


def _series_uid(run: int, series: int) -> str:
    return f"{ROOT}.{run}.2.{series}"


def _instance_uid(run: int, instance: int) -> str:
    return f"{ROOT}.{run}.3.{instance}"


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator="99SYN", CodeMeaning=meaning)


def _dataset(modality: str) -> Dataset:
    date, clock = "20240131", "101112.5"
    instance = _instance_uid(_RUN, _INSTANCE)
    referenced = _item(
        ReferencedSOPClassUID=CT,
        ReferencedSOPInstanceUID=f"{ROOT}.8.1",
        PurposeOfReferenceCodeSequence=[_code("121311", "Localizer")],
    )
    request = _item(
        RequestedProcedureDescription="Head",
        ScheduledProtocolCodeSequence=[_code("SP", "Scheduled protocol")],
        RequestedProcedureID="R1",
    )
    dataset = _item(
        SpecificCharacterSet="ISO_IR 100",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        InstanceCreationDate=date, InstanceCreationTime=clock,
        SOPClassUID=CT if modality == "CT" else MR, SOPInstanceUID=instance,
        StudyDate=date, SeriesDate=date, AcquisitionDate=date, ContentDate=date,
        StudyTime="101000", SeriesTime="101100", AcquisitionTime=clock, ContentTime="101113.7",
        AccessionNumber="ACC00001", Modality=modality, Manufacturer="SYNTHETIC",
        InstitutionName="Test Hospital", InstitutionAddress="1 Nowhere Street",
        ReferringPhysicianName="Ref^Doctor", StationName="STATION1", StudyDescription="Synthetic study",
        ProcedureCodeSequence=[_code("P1", "Procedure one")], SeriesDescription="Axial 1.25 mm",
        InstitutionalDepartmentName="Radiology", PerformingPhysicianName="Perf^Doctor",
        OperatorsName="Op^Erator", ManufacturerModelName="SynthScan 9000",
        ReferencedStudySequence=[_item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=f"{ROOT}.7")],
        ReferencedImageSequence=[referenced, referenced, referenced],
        PatientName=f"Synth^Patient{_STUDY}", PatientID=f"PID{_STUDY}", PatientBirthDate="19700101",
        PatientSex="O", PatientAge="054Y", PatientWeight="70", PatientSize="1.75",
        BodyPartExamined="HEAD", SliceThickness="1.25", DeviceSerialNumber="12345",
        SoftwareVersions=["1.0", "2.0"], ProtocolName="Protocol", PatientPosition="HFS",
        StudyInstanceUID=_study_uid(_RUN, _STUDY), SeriesInstanceUID=_series_uid(_RUN, _SERIES),
        StudyID="1", SeriesNumber=1, AcquisitionNumber=1, InstanceNumber=_INSTANCE,
        ImagePositionPatient=["-125.0", "-125.0", "1.25"], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        FrameOfReferenceUID=f"{ROOT}.3.1", PositionReferenceIndicator="SN", SliceLocation="1.25",
        ImageComments="synthetic", SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        Rows=MATRIX[modality], Columns=MATRIX[modality], PixelSpacing=["0.488281", "0.488281"],
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1,
        WindowCenter="40", WindowWidth="400", RequestAttributesSequence=[request],
    )  # fmt: skip
    if modality == "CT":
        more = _item(
            KVP="120", RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU", ScanOptions="HELICAL",
            DataCollectionDiameter="500", ReconstructionDiameter="250", DistanceSourceToDetector="949",
            DistanceSourceToPatient="541", GantryDetectorTilt="0", TableHeight="150", RotationDirection="CW",
            ExposureTime="500", XRayTubeCurrent="300", Exposure="150", FilterType="BODY",
            GeneratorPower="36", FocalSpots="1.2", ConvolutionKernel="STANDARD", SpiralPitchFactor=0.98,
        )  # fmt: skip
    else:
        more = _item(
            ScanningSequence="SE", SequenceVariant="NONE", MRAcquisitionType="2D", RepetitionTime="500",
            EchoTime="15", MagneticFieldStrength="1.5", EchoNumbers=1, FlipAngle="90", EchoTrainLength=1,
        )  # fmt: skip
    dataset.update(more)
    block = dataset.private_block(0x0009, "SYNTH_IDEN_01", create=True)
    block.add_new(0x01, "LO", "PRIVATE_FORMAT")
    block.add_new(0x27, "SL", 1706695872)
    block = dataset.private_block(0x0019, "SYNTH_ACQU_01", create=True)
    for number in range(8):
        block.add_new(0x10 + number, "DS", f"{number * 1.5:.4f}")
    block = dataset.private_block(0x0029, "SYNTH_CSA HEADER", create=True)
    block.add_new(0x10, "OB", bytes(range(256)) * 12)
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """A data set in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@dataclass(frozen=True)
class Kind:
    """Instances of one modality; `run` makes their UIDs unlike those of every other run."""

    modality: str
    sop_class: str
    header: bytes
    """Encoded data set up to Pixel Data's own header, with placeholders."""
    pixels: bytes

    @classmethod
    def of(cls, modality: str) -> Kind:
        matrix = MATRIX[modality]
        noise = random.Random(1).randbytes(matrix * matrix * 2)
        header = encoded(_dataset(modality)) + b"\xe0\x7f\x10\0OW\0\0" + len(noise).to_bytes(4, "little")
        return cls(modality, CT if modality == "CT" else MR, header, noise)

    def instance(self, run: int, number: int) -> tuple[str, bytes]:
        """(SOP Instance UID, header): as long as every other one. `run` has ten digits."""
        study, series = 10_000_000 + number // PER_STUDY, 20_000_000 + number // PER_SERIES
        instance = 30_000_000 + number
        header = self.header.replace(b"%d" % _RUN, b"%d" % run).replace(b"%d" % _STUDY, b"%d" % study)
        header = header.replace(b"%d" % _SERIES, b"%d" % series).replace(b"%d" % _INSTANCE, b"%d" % instance)
        return _instance_uid(run, instance), header

    def write(self, folder: Path, run: int, numbers: range) -> None:
        """Part 10 files, for senders that send files."""
        from_meta = b"\x02\0\x10\0UI" + (len(EXPLICIT_LE) + 1).to_bytes(2, "little")
        folder.mkdir(parents=True)
        for number in numbers:
            uid, header = self.instance(run, number)
            meta = b"".join(
                b"\x02\0" + tag + b"UI" + (len(value) + len(value) % 2).to_bytes(2, "little")
                + value + b"\0" * (len(value) % 2)
                for tag, value in ((b"\x02\0", self.sop_class.encode()), (b"\x03\0", uid.encode()))
            )  # fmt: skip
            meta += from_meta + EXPLICIT_LE.encode() + b"\0"
            start = bytes(128) + b"DICM\x02\0\0\0UL\4\0" + len(meta).to_bytes(4, "little")
            (folder / f"{number:06}.dcm").write_bytes(start + meta + header + self.pixels)
