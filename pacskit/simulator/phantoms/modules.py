"""The modules every phantom has: patient, study, series, equipment, SOP common (PS3.3 C.7), UIDs."""

from __future__ import annotations

import datetime as dt
import uuid

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacskit.imaging.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacskit.simulator.phantoms.patients import Patient

_NAMESPACE = uuid.UUID("f7bd3c4e-60a0-4d21-9b3b-5a3a4e0c1d27")
_FIRST = dt.datetime(2026, 1, 15, 8, 0)


class Study:
    """What the instances of one phantom study share; same kind, patient, seed and time, same UIDs."""

    def __init__(self, modality: str, patient: Patient, seed: int, when: dt.datetime | None) -> None:
        self.modality, self.patient, self.seed = modality, patient, seed
        self.when = _FIRST + dt.timedelta(minutes=seed) if when is None else when
        self._key = f"{modality}/{patient.patient_id}/{seed}/{self.when.isoformat()}"
        self.study_uid, self.series_uid, self.frame_of_reference_uid = map(
            self.uid, ("study", "series", "frame")
        )

    def uid(self, what: str) -> UID:
        """A UID of this study, from its key and `what` (PS3.5 B.2)."""
        return UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{self._key}/{what}').int}")

    def instance(self, sop_class: str, number: int, *, seconds: float, body_part: str = "") -> Dataset:
        """An instance without image: the common modules, acquired `seconds` after the study began."""
        ds = Dataset()
        ds.SpecificCharacterSet = list(self.patient.character_set)
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, self.uid(f"instance/{number}")
        self._times(ds, seconds)
        ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = self.modality, "pacskit", "Phantom"
        ds.DeviceSerialNumber, ds.SoftwareVersions = "PHANTOM", IMPLEMENTATION_VERSION_NAME
        ds.InstitutionName, ds.StationName = "Phantom Hospital", f"PHANTOM{self.modality}"
        ds.PatientName, ds.PatientID = self.patient.name, self.patient.patient_id
        ds.PatientBirthDate, ds.PatientSex = self.patient.birth_date, self.patient.sex
        ds.ReferringPhysicianName = ""
        ds.StudyInstanceUID, ds.SeriesInstanceUID = self.study_uid, self.series_uid
        ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = str(self.seed % 10**8), 1, number
        ds.AccessionNumber = f"PH{self.modality}{self.seed % 10**8:08d}"
        ds.PatientOrientation = None
        if body_part:
            ds.BodyPartExamined = body_part
        ds.BurnedInAnnotation = "NO"
        ds.file_meta = _meta(ds)
        return ds

    def slice(self, ds: Dataset, *, size: int, spacing: float, z: float, thickness: float) -> None:
        """Geometry of an axial slice centred on x = y = 0 (PS3.3 C.7.6.2, C.7.4.1)."""
        corner = -(size - 1) / 2 * spacing
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = self.frame_of_reference_uid, ""
        del ds.PatientOrientation
        ds.PatientPosition = "HFS"
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [round(corner, 6), round(corner, 6), round(z, 6)]
        ds.PixelSpacing = [round(spacing, 8), round(spacing, 8)]
        ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = thickness, thickness, round(z, 6)

    def _times(self, ds: Dataset, seconds: float) -> None:
        acquired = self.when + dt.timedelta(seconds=seconds)
        ds.StudyDate, ds.StudyTime = f"{self.when:%Y%m%d}", f"{self.when:%H%M%S}"
        ds.SeriesDate, ds.SeriesTime = ds.StudyDate, ds.StudyTime
        for what in ("Acquisition", "Content", "InstanceCreation"):
            setattr(ds, f"{what}Date", f"{acquired:%Y%m%d}")
            setattr(ds, f"{what}Time", f"{acquired:%H%M%S.%f}")


def grey_pixels(ds: Dataset, rows: int, columns: int, *, allocated: int, stored: int, data: bytes) -> None:
    """Image Pixel module (PS3.3 C.7.6.3), unsigned MONOCHROME2."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, stored, stored - 1, 0
    ds.add_new("PixelData", "OW" if allocated > 8 else "OB", data + b"\0" * (len(data) % 2))


def _meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
