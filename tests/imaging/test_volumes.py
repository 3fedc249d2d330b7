"""Volumes of synthesised series: the affine, the keys, and the sentences where there is no volume."""

import pickle

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pacskit.errors import GeometryError
from pacskit.imaging.series import Series
from pacskit.imaging.volumes import volume, volumes

OBLIQUE = (0.9, 0.3, np.sqrt(1 - 0.9), -0.31622776601, 0.94868329805, 0.0)


def one(position, orientation=(1, 0, 0, 0, 1, 0), fill=0, rows=3, columns=4, **attributes):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPInstanceUID = generate_uid()
    ds.Rows, ds.Columns = rows, columns
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = np.full((rows, columns), fill, "<u2").tobytes()
    ds.ImagePositionPatient = [float(part) for part in position]
    ds.ImageOrientationPatient = [float(part) for part in orientation]
    ds.PixelSpacing = [0.5, 0.8]
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def stack(count=5, **attributes):
    return [one((0, 0, 2.5 * k), fill=k, InstanceNumber=k + 1, **attributes) for k in range(count)]


def test_the_affine_gives_each_slices_position_and_axes():
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    places = [np.array([10, -20, 30]) + normal * 3 * k for k in range(6)]
    shuffled = [one(places[k], OBLIQUE, fill=k) for k in (3, 0, 5, 1, 4, 2)]
    made = volume(shuffled)
    assert made.array.shape == (6, 3, 4)
    for k, place in enumerate(places):
        assert made.array[k, 0, 0] == k
        assert np.allclose((made.affine @ [k, 0, 0, 1])[:3], place, atol=1e-9)
        last = place + np.array(OBLIQUE[:3]) * 0.8 * 3 + np.array(OBLIQUE[3:]) * 0.5 * 2
        assert np.allclose((made.affine @ [k, 2, 3, 1])[:3], last, atol=1e-9)
    assert made.uids == tuple(shuffled[i].SOPInstanceUID for i in (1, 3, 5, 0, 4, 2))
    assert made.spacing == pytest.approx((3, 0.5, 0.8), abs=1e-4)
    assert made.tilt == 0


def test_a_tilted_gantry_shears_the_affine():
    made = volume([one((0, k, 2.0 * k), fill=k) for k in range(4)])
    assert np.allclose((made.affine @ [3, 0, 0, 1])[:3], (0, 3, 6))
    assert made.tilt == pytest.approx(np.degrees(np.arctan(0.5)))


def test_a_missing_slice_is_named():
    images = stack(8)
    del images[3]
    with pytest.raises(GeometryError, match=r"1 slice\(s\) missing at 7\.5 mm"):
        volume(images)


def test_uneven_spacing_is_refused_and_rounding_is_not():
    with pytest.raises(GeometryError, match=r"uneven, from 2 to 2\.6 mm"):
        volume([one((0, 0, z)) for z in (0, 2, 4, 6, 8.6)])
    made = volume([one((0, 0, round(0.625 * k, 1))) for k in range(20)])
    assert 0 < made.deviation <= 0.1


def test_echoes_are_told_apart_and_named():
    images = [*stack(EchoTime=2.4), *stack(EchoTime=4.9), *stack(EchoTime=7.3)]
    found = volumes(images)
    assert [key.echo_time for key in found] == [2.4, 4.9, 7.3]
    assert all(each.array.shape == (5, 3, 4) for each in found.values())
    with pytest.raises(
        GeometryError, match=r"3 volumes \(echo 2.4 ms; echo 4.9 ms; echo 7.3 ms\): take one of volumes\(\)"
    ):
        volume(images)


def test_image_type_b_value_and_gradient_are_keys():
    kinds = [*stack(ImageType=["ORIGINAL", "PRIMARY", "M"]), *stack(ImageType=["ORIGINAL", "PRIMARY", "P"])]
    assert [key.image_type for key in volumes(kinds)] == ["ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"]
    diffusion = [
        *stack(DiffusionBValue=0.0),
        *stack(DiffusionBValue=1000.0, DiffusionGradientOrientation=[1.0, 0.0, 0.0]),
        *stack(DiffusionBValue=1000.0, DiffusionGradientOrientation=[0.0, 1.0, 0.0]),
    ]
    assert [str(key) for key in volumes(diffusion)] == [
        "b 0",
        "b 1000, gradient (0, 1, 0)",
        "b 1000, gradient (1, 0, 0)",
    ]


@pytest.mark.parametrize(
    ("vendor", "creator", "tag", "vr", "values"),
    [
        ("SIEMENS", "SIEMENS MR HEADER", 0x0019100C, "IS", ("0", "1000")),
        (
            "GE MEDICAL SYSTEMS",
            "GEMS_PARM_01",
            0x00431039,
            "IS",
            (["0", "8", "0", "0"], ["1000001000", "8", "0", "0"]),
        ),
        ("Philips Healthcare", "Philips Imaging DD 001", 0x20011003, "FL", (0.0, 1000.0)),
        ("UIH", "Image Private Header", 0x00651009, "FD", (0.0, 1000.0)),
    ],
)
def test_vendors_private_b_values(vendor, creator, tag, vr, values):
    images = []
    for number in values:
        part = stack(Manufacturer=vendor)
        for ds in part:
            ds.add_new((tag >> 16 << 16) | 0x10, "LO", creator)
            ds.add_new(tag, vr, number)
        images += part
    assert [key.b_value for key in volumes(images)] == [0, 1000]


def test_time_points_and_the_order_as_last_resort():
    times = [*stack(TemporalPositionIdentifier=1), *stack(TemporalPositionIdentifier=2)]
    assert [key.temporal_position for key in volumes(times)] == [1, 2]
    # Acquisition Time differs with every image here: it separates nothing, only the order is left.
    bare = [
        one((0, 0, 2.0 * (n % 3)), fill=n, InstanceNumber=n + 1, AcquisitionTime=f"1000{n:02d}")
        for n in range(6)
    ]
    found = list(volumes(bare).items())
    assert [str(key) for key, _ in found] == ["repeat 1", "repeat 2"]
    assert [each.array[:, 0, 0].tolist() for _, each in found] == [[0, 1, 2], [3, 4, 5]]


def test_one_image_twice_at_a_place_is_not_guessed_away():
    with pytest.raises(GeometryError, match="occur more often"):
        volumes([*stack(), one((0, 0, 5.0))])


def test_the_same_instance_twice_counts_once():
    images = stack()
    assert volume([*images, images[0]]).array.shape[0] == 5


def test_planes_of_a_localizer_are_separate():
    planes = [one((0, 0, 0)), one((0, 0, 0), (1, 0, 0, 0, 0, -1)), one((0, 0, 0), (0, 1, 0, 0, 0, -1))]
    assert [key.orientation for key in volumes(planes)] == ["axial", "coronal", "sagittal"]


def test_without_geometry_a_sentence_says_what_it_is():
    cine = one((0, 0, 0), NumberOfFrames=120, FrameTime=33.0, Modality="US")
    with pytest.raises(GeometryError, match="a cine of 120 frames"):
        volume([cine])
    plain = one((0, 0, 0))
    del plain.ImagePositionPatient
    with pytest.raises(GeometryError, match=r"no usable Image Position \(Patient\)"):
        volume([plain])
    with pytest.raises(GeometryError, match="orthogonal unit vectors"):
        volume([one((0, 0, 0), (1, 0, 0, 1, 0, 0))])
    with pytest.raises(GeometryError, match="no images"):
        volume([])


def item(**attributes):
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def test_an_enhanced_objects_frames_form_volumes_by_echo():
    ds = one((0, 0, 0), NumberOfFrames=6)
    del ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing
    ds.PixelData = np.repeat(np.arange(6, dtype="<u2"), 12).tobytes()
    ds.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=[1, 1])],
            PixelValueTransformationSequence=[item(RescaleSlope="2", RescaleIntercept="-1")],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, -4.0 * (n // 2)])],
            MREchoSequence=[item(EffectiveEchoTime=(10.0, 20.0)[n % 2])],
        )
        for n in range(6)
    ]
    found = volumes([ds])
    assert [key.echo_time for key in found] == [10, 20]
    first, second = found.values()
    assert first.array[:, 0, 0].tolist() == [7, 3, -1]  # frames 4, 2, 0, sorted upwards along the normal
    assert second.frames == ((ds.SOPInstanceUID, 5), (ds.SOPInstanceUID, 3), (ds.SOPInstanceUID, 1))
    assert np.allclose((first.affine @ [0, 0, 0, 1])[:3], (0, 0, -8))


def test_a_dose_grid_is_a_volume():
    ds = one((5, 6, 7), NumberOfFrames=3, GridFrameOffsetVector=[0, 2, 4], DoseGridScaling="0.25")
    ds.PixelData = np.repeat(np.arange(3, dtype="<u2"), 12).tobytes()
    made = volume([ds])
    assert made.array[:, 0, 0].tolist() == [0, 0.25, 0.5]
    assert np.allclose((made.affine @ [2, 0, 0, 1])[:3], (5, 6, 11))


def test_a_series_reads_its_files_and_is_picklable(tmp_path):
    paths = []
    for number, ds in enumerate(stack()):
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        paths.append(tmp_path / f"{number}.dcm")
    series = pickle.loads(pickle.dumps(Series(paths)))
    assert len(series) == 5
    assert series.paths == paths
    assert [ds.InstanceNumber for ds in series.datasets()] == [1, 2, 3, 4, 5]
    assert series.volume().array.shape == (5, 3, 4)
    assert len(series.volumes()) == 1
