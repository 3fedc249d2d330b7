"""Every real file renders or says why not; real series form the volumes they hold."""

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files

from pacskit.errors import GeometryError, PixelError
from pacskit.imaging import display, pixels
from pacskit.imaging.series import Series
from pacskit.imaging.volumes import volume

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def shared():
    if not SHARED.is_dir():
        pytest.skip("the shared real data is not beside the repository")
    return SHARED


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def read(path):
    try:
        return pydicom.dcmread(path, force=True)
    except Exception:  # noqa: BLE001 - files no reader takes are import's concern, not a picture's
        return None


def outcome(ds):
    """'shown' or the sentence; any other exception is a failure of the test."""
    try:
        picture = display.render(ds)
        last = max(pixels.number_of_frames(ds) - 1, 0)
        display.render(ds, last)
        display.windows(ds)
    except PixelError as error:
        return str(error)
    assert picture.dtype == np.uint8
    assert picture.ndim == 2 or picture.shape[2] == 3
    assert display.png(picture).startswith(b"\x89PNG")
    return "shown"


@pytest.mark.filterwarnings("ignore")
def test_every_shared_file_renders_or_says_why_not(shared):
    results = {
        path: outcome(ds)
        for path in sorted(shared.rglob("*"))
        if path.is_file() and (ds := read(path)) is not None
    }
    shown = [path for path, said in results.items() if said == "shown"]
    failed = {
        path.name: said for path, said in results.items() if said != "shown" and "no pixel data" not in said
    }
    assert len(shown) >= 510
    assert len(failed) <= 20, failed
    assert all(said.endswith((".", ")")) or ": " in said for said in failed.values())
    assert "JPEG Extended" in failed["JPGExtended.dcm"]


@pytest.mark.filterwarnings("ignore")
def test_pydicoms_own_files_render_or_say_why_not():
    for path in get_testdata_files("*.dcm"):
        ds = read(path)
        if ds is not None:
            assert outcome(ds)


def test_ybr_is_not_converted_twice(shared):
    path = next(shared.rglob("SC_ybr_full_uncompressed.dcm"))
    plain = next(shared.rglob("SC_rgb.dcm"))
    difference = display.render(pydicom.dcmread(path)).astype(int) - display.render(pydicom.dcmread(plain))
    assert np.abs(difference).max() <= 6  # 8 bit YBR rounds that much; converting twice is off by 100


@pytest.mark.parametrize(
    ("folder", "pattern", "shape"),
    [
        ("neurolabusc+dcm_qa_ge", "*.MRDC.*", (130, 256, 256)),
        ("Slicer+Slicer", "CTHead*.dcm", (93, 64, 64)),
        ("neurolabusc+dcm_qa_canon", "*.dcm", (26, 80, 80)),
    ],
)
def test_real_stacks_are_one_volume_with_the_files_positions(shared, folder, pattern, shape):
    series = Series(sorted((shared / folder).rglob(pattern)))
    made = series.volume()
    assert made.array.shape == shape
    by_uid = {ds.SOPInstanceUID: ds for ds in series.datasets()}
    for k, uid in enumerate(made.uids):
        ds = by_uid[uid]
        assert np.allclose((made.affine @ [k, 0, 0, 1])[:3], ds.ImagePositionPatient, atol=1e-3)
        assert np.array_equal(made.array[k], pixels.frame(ds))


def test_philips_time_points(shared):
    found = Series(sorted((shared / "neurolabusc+dcm_qa_philips").rglob("*.dcm"))).volumes()
    assert [key.temporal_position for key in found] == [1, 2, 3]
    assert all(each.array.shape == (9, 64, 64) for each in found.values())


def test_uih_mosaics_by_gradient(shared):
    paths = sorted((shared / "neurolabusc+dcm_qa_uih").rglob("*.dcm"))
    found = Series(paths).volumes()
    assert [key.b_value for key in found] == [1.25, 929.75, 929.75, 929.75]
    places = [item.ImagePositionPatient for item in pydicom.dcmread(paths[0])[0x0065, 0x1051].value]
    for each in found.values():
        assert each.array.shape == (20, 64, 64)
        for k, (_, tile) in enumerate(each.frames):
            assert np.allclose((each.affine @ [k, 0, 0, 1])[:3], places[tile], atol=1e-3)


@pytest.mark.parametrize("direction", ["ap", "pa", "rl", "lr"])
def test_siemens_mosaics_by_acquisition(shared, direction):
    paths = sorted((shared / "neurolabusc+dcm_qa_nih").rglob(f"epi_pe_{direction}-*.dcm"))
    found = Series(paths).volumes()
    assert [key.acquisition for key in found] == [1, 2]
    picture = pixels.frame(pydicom.dcmread(paths[0]))
    made = next(iter(found.values()))
    assert made.array.shape == (5, 72, 72)
    # 216 columns of 3 mm from -324 are 648 mm around the centre 0; a tile of 72 starts at -108.
    assert np.allclose((made.affine @ [0, 0, 0, 1])[:3], (-108, -108, 16))
    assert np.allclose((made.affine @ [4, 0, 0, 1])[:3], (-108, -108, 64))
    assert np.array_equal(made.array[4], picture[72:144, 72:144])
    with pytest.raises(GeometryError, match=r"2 volumes \(acquisition 1; acquisition 2\)"):
        volume([pydicom.dcmread(path) for path in paths])


def test_an_enhanced_ct_is_a_volume(shared):
    made = volume([pydicom.dcmread(next(shared.rglob("eCT_Supplemental.dcm")))])
    assert made.array.shape == (2, 512, 512)
    assert made.spacing[0] == pytest.approx(10)


def test_a_real_cine_says_what_it_is(shared):
    with pytest.raises(GeometryError, match="a cine of 120 frames"):
        volume([pydicom.dcmread(next(shared.rglob("color3d_jpeg_baseline.dcm")))])
