"""Phantoms: valid IODs, true names, one regular volume, plausible values, the same for the same seed."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from pacskit.imaging.series import Series
from pacskit.simulator import phantoms
from tests.peers import find_peer

SMALL = {"ct": {"slices": 5, "size": 128}, "mr": {"slices": 5, "size": 96}, "us": {"frames": 4}}


def made(kind: str, **options: object) -> list[Dataset]:
    return list(phantoms.STUDIES[kind](**{**SMALL[kind], **options}))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return phantoms.write(tmp_path_factory.mktemp("phantoms"))


@pytest.mark.peer("dciodvfy")
def test_no_errors_from_dciodvfy(written: list[Path]) -> None:
    program = find_peer("dciodvfy")
    assert program
    for path in written:
        ran = subprocess.run([program, str(path)], capture_output=True, check=False, timeout=60)
        said = (ran.stdout + ran.stderr).decode("utf-8", "replace")
        assert "Image" in said, said
        assert [line for line in said.splitlines() if line.startswith(("Error", "Warning"))] == []


@pytest.mark.parametrize(("kind", "shape"), [("ct", (40, 512, 512)), ("mr", (30, 256, 256))])
def test_a_phantom_forms_a_volume(written: list[Path], kind: str, shape: tuple[int, int, int]) -> None:
    paths = [path for path in written if path.parent.name == kind]
    positions = {ds.SOPInstanceUID: ds.ImagePositionPatient for ds in map(pydicom.dcmread, paths)}
    volume = Series(paths).volume()
    assert volume.array.shape == shape
    for index, uid in enumerate(volume.uids):
        assert np.allclose((volume.affine @ [index, 0, 0, 1])[:3], positions[uid], atol=1e-3)


def test_written_files(written: list[Path]) -> None:
    assert len(written) == 40 + 30 + 1
    read = [pydicom.dcmread(path, stop_before_pixels=True) for path in written]
    assert len({ds.SOPInstanceUID for ds in read}) == len(read)
    assert len({ds.SeriesInstanceUID for ds in read}) == 3
    assert {str(ds.PatientName) for ds in read} == {
        "Müller^Jürgen",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Phantom^Ada",
    }
    for ds in read:
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert len(ds.SOPInstanceUID) <= 64
        assert ds.PatientID.startswith("PHANTOM-")


@pytest.mark.parametrize(("kind", "step"), [("ct", 2.5), ("mr", 5.0)])
def test_slices_form_one_volume(kind: str, step: float) -> None:
    slices = made(kind)
    assert len({(ds.SeriesInstanceUID, ds.FrameOfReferenceUID) for ds in slices}) == 1
    positions = np.array([ds.ImagePositionPatient for ds in slices], float)
    np.testing.assert_allclose(np.diff(positions, axis=0), [[0, 0, step]] * 4, atol=1e-5)
    for ds in slices:
        assert ds.SliceThickness == ds.SpacingBetweenSlices == step
        centre = positions[0, 0] + (ds.Columns - 1) / 2 * ds.PixelSpacing[1]
        assert abs(centre) < 1e-3


@pytest.mark.parametrize("kind", phantoms.STUDIES)
def test_same_seed_same_instances(kind: str) -> None:
    first, again, other = made(kind), made(kind), made(kind, seed=2)
    assert first == again
    assert first[0].SOPInstanceUID != other[0].SOPInstanceUID
    assert first[0].PixelData != other[0].PixelData
    later = made(kind, study_datetime=dt.datetime(2031, 5, 6, 7, 8, 9))
    assert (later[0].StudyDate, later[0].StudyTime) == ("20310506", "070809")
    assert later[0].StudyInstanceUID != first[0].StudyInstanceUID


def test_hounsfield_units() -> None:
    ds = made("ct", size=256)[2]
    hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    assert abs(hu[:12, :12].mean() + 1000) < 10
    assert hu.max() > 500
    assert 0.08 < ((hu > -950) & (hu < -700)).mean() < 0.5, "lung"
    assert ((hu > 0) & (hu < 100)).mean() > 0.05, "muscle"


def test_ultrasound_beats_inside_its_sector() -> None:
    (ds,) = made("us", frames=8)
    frames = ds.pixel_array
    assert frames.shape == (8, 480, 640)
    assert not frames[:, :10].any(), "nothing burned in above the sector"
    dark = [(frame[90:220, 310:450] < 40).mean() for frame in frames]
    assert dark[0] > dark[4], "the left ventricle is larger at the end of diastole"


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no phantom 'pet'"):
        phantoms.write(tmp_path, ("pet",))
