"""Windows and tables against formulas written a second time, straight from PS3.3 C.11.2."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pacskit.errors import PixelError
from pacskit.imaging import display, pixels
from pacskit.imaging.display import Window, render, windows
from pacskit.imaging.voi import apply_window


def image(values, **attributes):
    """A greyscale data set of int16 or uint16 values."""
    array = np.asarray(values)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.Rows, ds.Columns = array.shape[:2]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * array.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    ds.PixelData = array.tobytes()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def linear(x, c, w):
    if x <= c - 0.5 - (w - 1) / 2:
        return 0.0
    if x > c - 0.5 + (w - 1) / 2:
        return 255.0
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * 255.0


def linear_exact(x, c, w):
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 255.0
    return ((x - c) / w + 0.5) * 255.0


def sigmoid(x, c, w):
    return 255.0 / (1 + math.exp(-4 * (x - c) / w))


RAMP = np.arange(-400, 400, dtype=np.int16).reshape(20, 40)


@pytest.mark.parametrize(
    ("name", "formula"), [("LINEAR", linear), ("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid)]
)
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-20.5, 1), (0, 2), (100, 37.5), (1000, 10)])
def test_each_function_is_the_standards_formula(name, formula, centre, width):
    expected = [
        [
            formula(float(x), centre, width)
            if abs(-4 * (x - centre) / width) < 700 or name != "SIGMOID"
            else 255.0 * (x > centre)
            for x in row
        ]
        for row in RAMP
    ]
    got = render(image(RAMP), window=Window(centre, width, name))
    assert got.dtype == np.uint8
    assert np.abs(got - np.asarray(expected)).max() <= 0.5000001


def test_a_files_window_is_taken_after_the_modality_lut():
    ds = image(
        RAMP,
        RescaleSlope="2",
        RescaleIntercept="-100",
        WindowCenter=["40", "0"],
        WindowWidth=["300", "50"],
        WindowCenterWidthExplanation=["BRAIN", "BONE"],
    )
    assert [(w.centre, w.width, w.explanation) for w in windows(ds)] == [(40, 300, "BRAIN"), (0, 50, "BONE")]
    expected = np.vectorize(lambda x: linear(x * 2.0 - 100, 40, 300))(RAMP)
    assert np.abs(render(ds) - expected).max() <= 0.5000001


def test_monochrome1_is_inverted_and_padding_stays_black():
    values = np.array([[-2000, 0, 100, 200]], dtype=np.int16)
    plain = image(values, WindowCenter="100", WindowWidth="200", PixelPaddingValue=-2000)
    plain["PixelPaddingValue"].VR = "SS"
    inverted = image(
        values,
        WindowCenter="100",
        WindowWidth="200",
        PhotometricInterpretation="MONOCHROME1",
        PixelPaddingValue=-2000,
    )
    assert render(plain)[0, 0] == 0
    assert render(inverted)[0, 0] == 0
    assert (render(plain)[0, 1:].astype(int) + render(inverted)[0, 1:] == 255).all()


def test_padding_of_the_wrong_sign_and_its_range_are_recognised():
    ds = image(
        np.array([[-2000, -1999, 5]], dtype=np.int16),
        PixelPaddingValue=65536 - 2000,
        PixelPaddingRangeLimit=65536 - 1999,
    )
    assert pixels.padding(ds, pixels.stored_frame(ds)).tolist() == [[True, True, False]]


def test_padding_does_not_pull_a_computed_window():
    values = np.full((10, 10), -2000, dtype=np.int16)
    values[0] = np.arange(10)
    ds = image(values, PixelPaddingValue=-2000)
    (window,) = windows(ds)
    assert window.explanation.startswith("computed")
    assert window.centre - window.width / 2 >= 0


def table(entries, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US" if first >= 0 else "SS"
    item.LUTData = np.asarray(entries, "<u2").tobytes()
    item["LUTData"].VR = "OW"
    item.LUTExplanation = "SOFT"
    return item


def test_a_voi_lut_maps_and_clamps():
    ds = image(
        np.array([[0, 10, 11, 12, 13, 99]], dtype=np.uint16),
        VOILUTSequence=[table([0, 1023, 4095, 2048], 10, 12)],
    )
    assert render(ds).tolist() == [[0, 0, 64, 255, 128, 128]]
    (window,) = windows(ds)
    assert (window.function, window.lut, window.explanation) == ("VOI_LUT", 0, "SOFT")
    with pytest.raises(PixelError, match="VOI LUT number 2"):
        render(ds, window=Window(0, 1, "VOI_LUT", lut=1))


def test_a_modality_lut_maps():
    ds = image(np.array([[0, 1, 2, 7]], dtype=np.uint16), ModalityLUTSequence=[table([500, 600, 700], 0, 16)])
    assert pixels.frame(ds).tolist() == [[500, 600, 700, 700]]


def test_palette_colour_becomes_rgb():
    ds = image(np.array([[0, 1, 2]], dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, entries in (("Red", [0, 65535, 0]), ("Green", [0, 0, 32768]), ("Blue", [257, 0, 0])):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [3, 0, 16])
        ds[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.asarray(entries, "<u2").tobytes())
        ds[f"{colour}PaletteColorLookupTableData"].VR = "OW"
    assert render(ds).tolist() == [[[0, 0, 1], [255, 0, 0], [0, 128, 0]]]
    assert windows(ds) == []


def test_pixels_that_are_not_square_are_resampled():
    ds = image(np.zeros((10, 20), np.uint8))
    ds.PixelSpacing = ["2", "1"]
    assert render(ds).shape == (20, 20)
    ds.PixelSpacing = ["0.5", "1"]
    assert render(ds).shape == (10, 40)
    del ds.PixelSpacing
    ds.PixelAspectRatio = ["4", "2"]
    assert render(ds).shape == (20, 20)
    ds.PixelAspectRatio = ["1000", "1"]
    assert render(ds).shape == (10, 20)


def test_rescale_keeps_integers_where_it_can():
    assert pixels.frame(image(RAMP)).dtype == np.int16
    assert pixels.frame(image(RAMP, RescaleSlope="1", RescaleIntercept="-1024")).dtype == np.int32
    fractions = pixels.frame(image(RAMP, RescaleSlope="0.5", RescaleIntercept="0"))
    assert fractions.dtype == np.float32
    assert np.array_equal(fractions, RAMP * np.float32(0.5))


@pytest.mark.parametrize("width", [0, -3, math.nan])
def test_an_impossible_window_is_a_sentence(width):
    with pytest.raises(PixelError, match="width above 0"):
        apply_window(RAMP, Window(0, width))


def test_odd_headers_are_survived():
    ds = image(np.full((3, 3), 7, np.uint16), WindowCenter="40", WindowWidth="0")
    assert render(ds).shape == (3, 3)
    with pytest.raises(PixelError, match="Frame 2 was asked for"):
        render(ds, 1)
    del ds.PixelData
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    assert "Basic Text SR" in (display.not_an_image(ds) or "")
    with pytest.raises(PixelError, match="no pixel data"):
        render(ds)


def test_a_png_holds_the_picture():
    grey = render(image(RAMP), window=Window(0, 800))
    again = np.asarray(Image.open(io.BytesIO(display.png(grey))))
    assert np.array_equal(again, grey)
