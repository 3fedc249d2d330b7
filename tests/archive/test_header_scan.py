"""The quick scan of a header finds what the careful walk finds, and what pydicom reads."""

from __future__ import annotations

import itertools
import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.filereader import read_dataset
from pydicom.misc import is_dicom

from pacskit.archive import elements as elements_module
from pacskit.archive import plain
from pacskit.archive.elements import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, BadDataSet, walk
from pacskit.archive.header import KEYWORDS, read_attributes
from pacskit.imaging.part10 import META_LIMIT, read_head
from tests.archive.conftest import encode, make
from tests.growth import GROWTH, resident

WANTED = frozenset(
    (
        0x00080016,
        0x00080018,
        0x00080060,
        0x00100010,
        0x00100020,
        0x0020000D,
        0x0020000E,
        0x00280010,
    )
)
TAGS = sorted(
    {*WANTED, 0x00081140, 0x00082112, 0x00090010, 0x00091001, 0x00180050, 0x00290010, 0x00291010, 0x00400275,
     0x52009230, 0x7FE00010, 0xFFFCFFFC}
)  # fmt: skip
SHORT, LONG = ["AE", "CS", "LO", "PN", "UI", "US", "IS"], ["OB", "OW", "UN", "UT", "UC", "OV"]
SEQUENCES = (0x00081140, 0x00082112, 0x00400275, 0x52009230)
"""By the dictionary: pydicom looks for the delimiter of any other, and takes that of a sequence within."""
UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
SYNTAXES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)


class Element:
    """A value, or the items of a sequence."""

    def __init__(self, tag, vr, value=b"", items=None, undefined=False):
        self.tag, self.vr, self.value, self.items, self.undefined = tag, vr, value, items, undefined

    def encode(self, order, implicit):
        tag = struct.pack(f"{order}HH", self.tag >> 16, self.tag & 0xFFFF)
        value = self.value if self.items is None else self._items(order, implicit)
        length = UNDEFINED if self.undefined else len(value)
        if implicit:
            return tag + struct.pack(f"{order}I", length) + value
        if self.vr in LONG or self.vr == "SQ":
            return tag + self.vr.encode() + struct.pack(f"{order}HI", 0, length) + value
        return tag + self.vr.encode() + struct.pack(f"{order}H", length) + value

    def _items(self, order, implicit):
        parts = []
        for undefined, elements in self.items:
            body = b"".join(element.encode(order, implicit) for element in elements)
            parts.append(
                struct.pack(f"{order}HHI", 0xFFFE, 0xE000, UNDEFINED if undefined else len(body)) + body
            )
            if undefined:
                parts.append(struct.pack(f"{order}HHI", 0xFFFE, 0xE00D, 0))
        if self.undefined:
            parts.append(struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0))
        return b"".join(parts)


def encoded(elements, syntax):
    order = ">" if syntax == BIG_ENDIAN else "<"
    body = b"".join(element.encode(order, syntax == IMPLICIT) for element in elements)
    if syntax != DEFLATED:
        return body
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


@pytest.fixture(params=[elements_module.FIRST_PIECE, 50], ids=["usual pieces", "small pieces"])
def pieces(request, monkeypatch):
    """How much of a data set is in the buffer: values end behind it, headers are cut by its end."""
    monkeypatch.setattr(elements_module, "FIRST_PIECE", request.param)
    monkeypatch.setattr(elements_module, "PIECE", max(request.param, 70))


def found(body, syntax, quick):
    """What a walk says: its values, or its sentence."""
    try:
        return walk(lambda size, at: body[at : at + size], 0, len(body), syntax, WANTED, quick=quick)
    except BadDataSet as error:
        return str(error)


def check(body, syntax):
    careful = found(body, syntax, False)
    for _ in range(2):  # the second time its own layout is remembered
        assert found(body, syntax, True) == careful
    return careful


@st.composite
def data_sets(draw, tags=tuple(TAGS), depth=2):
    elements = []
    for tag in sorted(draw(st.sets(st.sampled_from(tags), min_size=1, max_size=len(tags)))):
        kind = draw(st.sampled_from(["short", "short", "short", "long", "sequence"]))
        if kind == "sequence" and depth and tag in SEQUENCES:
            items = draw(st.lists(st.tuples(st.booleans(), data_sets(depth=depth - 1)), max_size=2))
            elements.append(Element(tag, "SQ", items=items, undefined=draw(st.booleans())))
            continue
        value = draw(st.binary(max_size=40))
        value += b" " * (len(value) % 2)
        vr = draw(st.sampled_from(LONG if kind == "long" else SHORT))
        elements.append(Element(tag, vr, value))
    return elements


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(elements=data_sets(), syntax=st.sampled_from(SYNTAXES))
@pytest.mark.usefixtures("pieces")
def test_finds_every_value(elements, syntax):
    body = encoded(elements, syntax)
    expected = {element.tag: element.value for element in elements if element.tag in WANTED}
    assert check(body, syntax) == expected
    if syntax != DEFLATED:
        read = read_dataset(BytesIO(body), syntax == IMPLICIT, syntax != BIG_ENDIAN)
        assert {tag: read.get_item(tag).value or b"" for tag in expected} == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(elements=data_sets(), syntax=st.sampled_from(SYNTAXES), data=st.data())
@pytest.mark.usefixtures("pieces")
def test_ends_early_or_lies(elements, syntax, data):
    body = bytearray(encoded(elements, syntax))
    at = data.draw(st.integers(0, len(body) - 1))
    check(bytes(body[:at]), syntax)
    body[at : at + 4] = data.draw(
        st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"XX\4\0", b"\x10\0\0\0"])
    )
    check(bytes(body), syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_cut_anywhere(syntax):
    """Only a cut between two elements passes (or one that leaves zeros: that is padding up to a block's end);
    the layout of the whole one is remembered meanwhile."""
    pixels = Element(PIXEL_DATA, "OW", bytes(30_000))
    elements = [Element(tag, "LO", b"value ") for tag in TAGS if tag < PIXEL_DATA] * 2 + [pixels]
    elements.append(Element(0xFFFCFFFC, "OB", bytes(20)))
    body = encoded(elements, syntax)
    ends = set(itertools.accumulate(len(encoded([element], syntax)) for element in elements))
    near = {cut + step for cut in ends for step in (-1, 0, 1)}
    cuts = sorted({*range(1, 600), *near, *range(20_000, 20_010)})
    for cut in cuts:
        assert isinstance(found(body, syntax, True), dict)
        careful = found(body[:cut], syntax, False)
        begun = max((end for end in ends if end <= cut), default=0)
        assert isinstance(careful, dict) == (begun > 0 and not body[begun:cut].strip(b"\0")), cut
        assert found(body[:cut], syntax, True) == careful, cut


def series(count, syntax=EXPLICIT):
    """As a scanner sends it: values of other lengths, now and then an element more."""
    for number in range(count):
        elements = [
            Element(tag, "LO", b"the same") for tag in TAGS if tag < PIXEL_DATA and tag not in (0x00400275,)
        ]
        uid = b"1.2.%d" % (7 ** (number % 9))
        elements += [Element(0x00080018, "UI", uid + b"\0" * (len(uid) % 2))]
        elements += [Element(0x00200013, "IS", b"%d " % number if number < 10 else b"%02d" % (number % 100))]
        if number % 11 == 10:
            elements.append(Element(0x00081030, "LO", b"more"))
        yield [*sorted(elements, key=lambda element: element.tag), Element(PIXEL_DATA, "OW", bytes(100))]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_series_whose_values_differ(syntax):
    for elements in series(60, syntax):
        body = encoded(elements, syntax)
        careful = found(body, syntax, False)
        assert found(body, syntax, True) == careful
        assert careful[0x00080018] in [element.value for element in elements]


def test_a_remembered_layout_is_used():
    """Of a series, no element is looked at one by one but those of another length: that is the speed."""
    looked_at = []
    quick = plain.Plain(WANTED, False, "<")
    loop = quick._loop
    quick._loop = lambda data, at, *rest: looked_at.append(len(data) - at) or loop(data, at, *rest)
    for elements in itertools.islice(series(9), 9):
        body = encoded(elements, EXPLICIT)
        values = {}
        assert quick.over(body, 0, values, 0, 0) == len(body)
        assert values == found(body, EXPLICIT, False)
    assert len(looked_at) == 1, "the first one alone"


def test_real_files(shared_data: Path):
    """Each file of the collection, by all three readers."""
    compared = 0
    for path in sorted(shared_data.rglob("*")):
        if not path.is_file() or not is_dicom(path):
            continue
        content = path.read_bytes()
        try:
            head = read_head(content[:META_LIMIT])
        except ValueError:
            continue
        body, syntax = content[head.offset :], head.transfer_syntax_uid
        careful = check(body, syntax)
        if isinstance(careful, str) or syntax == DEFLATED:
            continue
        read = read_dataset(BytesIO(body), syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=_after(0x0028))
        theirs = {tag: read.get_item(tag).value or b"" for tag in WANTED if tag in read}
        assert {tag: value for tag, value in careful.items() if tag in theirs} == theirs, path
        compared += 1
    assert compared > 500


def _after(group):
    return lambda tag, vr, length: tag.group > group


def test_attributes_do_not_depend_on_what_came_before():
    """What is remembered of other instances is never taken for this one's."""
    for number in range(300):
        name, charset = [("Müller^Änne", "ISO_IR 192"), ("Miller^Ann", "ISO_IR 100")][number % 2]
        dataset = make(f"1.2.{number}", f"1.3.{number % 3}", f"1.4.{number % 7}", PatientName=name)
        dataset.SpecificCharacterSet, dataset.InstanceNumber = charset, number
        body = encode(dataset)
        attributes = read_attributes(lambda size, at, body=body: body[at : at + size], 0, len(body), EXPLICIT)
        assert set(attributes) == set(KEYWORDS)
        assert attributes["SOPInstanceUID"] == f"1.2.{number}"
        assert attributes["StudyInstanceUID"] == f"1.3.{number % 3}"
        assert attributes["SeriesInstanceUID"] == f"1.4.{number % 7}"
        assert (attributes["PatientName"], attributes["InstanceNumber"]) == (name, number)
        attributes["PatientName"] = "changed by whoever got them"


def test_more_attributes():
    """Those of `archive.extra_attributes`, of any VR that the index can keep."""
    dataset = make(EchoTime="2.5", KVP="120", FlipAngle="90", RequestingPhysician="Roe^Ann")
    dataset.SpiralPitchFactor, dataset.PixelSpacing, dataset.SmallestImagePixelValue = 0.75, ["0.5", "0.5"], 7
    dataset["SmallestImagePixelValue"].VR = "US"
    dataset.GridFrameOffsetVector, dataset.ReferencedFrameNumbers = ["0.0", "1.0"], [3, 4]
    body = encode(dataset)
    extra = ("EchoTime", "SpiralPitchFactor", "PixelSpacing", "SmallestImagePixelValue", "ReferencedFrameNumbers",
             "RequestingPhysician")  # fmt: skip
    attributes = read_attributes(lambda size, at: body[at : at + size], 0, len(body), EXPLICIT, extra)
    assert [attributes[keyword] for keyword in extra] == ["2.5", 0.75, "0.5\\0.5", 7, "3\\4", "Roe^Ann"]
    assert "EchoTime" not in read_attributes(lambda size, at: body[at : at + size], 0, len(body), EXPLICIT)


def damaged(body, rng):
    body = bytearray(body)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        at = rng.randrange(len(body))
        match rng.randrange(6):
            case 0:
                body[at] = rng.randrange(256)
            case 1:
                del body[at : at + rng.choice((1, 2, 8, 40))]
            case 2:
                body[at:at] = rng.choice((b"\0", b"\xfe\xff\x00\xe0\xff\xff\xff\xff", rng.randbytes(8)))
            case 3:
                body[at : at + 4] = rng.choice((b"\xff" * 4, bytes(4), b"SQ\0\0", b"UN\0\0", b"XX\2\0"))
            case 4:
                del body[at:]
            case 5:
                body[at : at + 2] = rng.choice((b"\2\0", b"\xfe\xff", b"\x08\0", b"\xff\xff"))
        if not body:
            break
    return bytes(body)


def fuzz(cases, seed, monkeypatch):
    rng = random.Random(seed)
    templates = {syntax: list(series(23, syntax)) for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)}
    nested = [Element(0x00180050, "DS", b"1 ")] * 20 + [Element(0x00091001, "LO", b"ab")]
    sequence = Element(0x00400275, "SQ", items=[(True, nested), (False, nested)], undefined=True)
    bodies = {
        syntax: [
            encoded(
                sorted([*elements, sequence] if number % 3 == 0 else elements, key=lambda e: e.tag), syntax
            )
            for number, elements in enumerate(lists)
        ]
        for syntax, lists in templates.items()
    }
    good = 0
    for case in range(cases):
        if case % 100 == 0:
            monkeypatch.setattr(elements_module, "FIRST_PIECE", rng.choice((1 << 14, 1 << 14, 40, 200)))
            monkeypatch.setattr(elements_module, "PIECE", rng.choice((1 << 16, 70)))
        syntax = rng.choice((EXPLICIT, EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED))
        body = damaged(rng.choice(bodies[syntax]), rng)
        careful = found(body, syntax, False)
        assert found(body, syntax, True) == careful, (syntax, body)
        good += isinstance(careful, dict)
    return good


def test_damaged_data_sets(monkeypatch):
    good = fuzz(4_000, 1, monkeypatch)
    before = resident()
    good += fuzz(16_000, 2, monkeypatch)
    assert resident() - before < GROWTH
    assert 4_000 < good < 16_000, "some whole, some not"


@pytest.mark.soak
def test_many_damaged_data_sets(soak_seed, monkeypatch):
    assert fuzz(100_000, soak_seed, monkeypatch)
    before = resident()
    for part in range(9):
        assert fuzz(100_000, soak_seed + 1 + part, monkeypatch)
    assert resident() - before < GROWTH
