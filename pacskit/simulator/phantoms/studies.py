"""The phantom studies as IODs: CT Image, MR Image, Ultrasound Multi-frame Image (PS3.3 A.3, A.4, A.7)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, UltrasoundMultiFrameImageStorage

from pacskit.simulator.phantoms import ct_anatomy, mr_anatomy, us_anatomy
from pacskit.simulator.phantoms.modules import Study, grey_pixels
from pacskit.simulator.phantoms.patients import JAPANESE, PLAIN, UMLAUTS, Patient

CT_SPACING, MR_SPACING = 2.5, 5.0
"""mm from slice to slice."""


def ct(
    patient: Patient = UMLAUTS,
    *,
    slices: int = 40,
    size: int = 512,
    seed: int = 1,
    study_datetime: dt.datetime | None = None,
) -> Iterator[Dataset]:
    """A thorax with contrast, feet to head; without `study_datetime` the time follows from the seed."""
    study = Study("CT", patient, seed, study_datetime)
    spacing = ct_anatomy.FIELD_OF_VIEW / size
    for index, image in enumerate(ct_anatomy.thorax(slices, size, CT_SPACING, seed)):
        ds = study.instance(CTImageStorage, index + 1, seconds=60 + index * 0.05, body_part="CHEST")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.StudyDescription, ds.SeriesDescription = "CT thorax", "Thorax 2.5 mm soft tissue"
        ds.ProtocolName, ds.AcquisitionNumber = "Thorax contrast", 1
        ds.ContrastBolusAgent, ds.ContrastBolusRoute = "Iodinated contrast", "IV"
        ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime, ds.Exposure = 120, 200, 500, 100
        ds.ConvolutionKernel, ds.FilterType = "PHANTOM", "NONE"
        ds.ReconstructionDiameter, ds.GantryDetectorTilt = ct_anatomy.FIELD_OF_VIEW, 0
        z = (index - (slices - 1) / 2) * CT_SPACING
        study.slice(ds, size=size, spacing=spacing, z=z, thickness=CT_SPACING)
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = [40, -600], [400, 1500]
        ds.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        stored = (image.astype(np.int32) + 1024).astype("<u2")
        grey_pixels(ds, size, size, allocated=16, stored=12, data=stored.tobytes())
        yield ds


def mr(
    patient: Patient = JAPANESE,
    *,
    slices: int = 30,
    size: int = 256,
    seed: int = 1,
    study_datetime: dt.datetime | None = None,
) -> Iterator[Dataset]:
    """A head, T1-weighted, feet to head; without `study_datetime` the time follows from the seed."""
    study = Study("MR", patient, seed, study_datetime)
    spacing = mr_anatomy.FIELD_OF_VIEW / size
    for index, image in enumerate(mr_anatomy.brain(slices, size, MR_SPACING, seed)):
        ds = study.instance(MRImageStorage, index + 1, seconds=120, body_part="BRAIN")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        ds.StudyDescription, ds.SeriesDescription = "MR brain", "T1 SE axial"
        ds.ProtocolName, ds.AcquisitionNumber = "Brain T1", 1
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
        ds.MRAcquisitionType, ds.MagneticFieldStrength, ds.ImagingFrequency = "2D", 1.5, 63.87
        ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.EchoNumbers = 520, 12, 1, 1
        ds.NumberOfAverages, ds.FlipAngle, ds.ImagedNucleus = 1, 90, "1H"
        z = (index - (slices - 1) / 2) * MR_SPACING
        study.slice(ds, size=size, spacing=spacing, z=z, thickness=MR_SPACING)
        ds.WindowCenter, ds.WindowWidth = 500, 1000
        grey_pixels(
            ds, size, size, allocated=16, stored=12, data=np.minimum(image, 4095).astype("<u2").tobytes()
        )
        yield ds


def us(
    patient: Patient = PLAIN,
    *,
    frames: int = 30,
    seed: int = 1,
    study_datetime: dt.datetime | None = None,
) -> Iterator[Dataset]:
    """A beating heart, apical four-chamber view: one multi-frame instance, one heart cycle of 900 ms."""
    study = Study("US", patient, seed, study_datetime)
    images = us_anatomy.heart(frames, seed)
    ds = study.instance(UltrasoundMultiFrameImageStorage, 1, seconds=30, body_part="HEART")
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.StudyDescription, ds.SeriesDescription = "Echocardiography", "Apical four-chamber"
    ds.ProtocolName = "Adult echo"
    ds.NumberOfFrames, ds.FrameTime = frames, round(900 / frames, 4)
    ds.FrameIncrementPointer = 0x00181063
    ds.RecommendedDisplayFrameRate, ds.HeartRate = max(1, round(frames / 0.9)), 67
    ds.LossyImageCompression = "00"
    ds.TransducerType, ds.MechanicalIndex = "SECTOR_PHASED", "1.1"
    ds.SequenceOfUltrasoundRegions = [_region()]
    grey_pixels(ds, us_anatomy.ROWS, us_anatomy.COLUMNS, allocated=8, stored=8, data=images.tobytes())
    yield ds


def _region() -> Dataset:
    """US Region Calibration (PS3.3 C.8.5.5): the sector, in cm."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, us_anatomy.APEX_ROW
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = us_anatomy.COLUMNS - 1, us_anatomy.ROWS - 1
    region.ReferencePixelX0, region.ReferencePixelY0 = us_anatomy.COLUMNS // 2, 0
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
    region.PhysicalDeltaX = region.PhysicalDeltaY = us_anatomy.MM_PER_PIXEL / 10
    region.TransducerFrequency = 2500
    return region
