"""Names of attributes in settings: `EchoTime`, or with the level it is kept at, `series.EchoTime`."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import AfterValidator
from pydicom.datadict import dictionary_VR, keyword_dict

LEVELS = ("patient", "study", "series", "instance")
_UNFIT = frozenset(("SQ", "OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT"))


def level_and_keyword(name: str) -> tuple[str, str]:
    """Without a level it is the instance's. Raises ValueError with a sentence for what no index can keep."""
    level, _, keyword = name.strip().rpartition(".")
    level = level or "instance"
    if level not in LEVELS:
        raise ValueError(f"{name!r}: before the point stands patient, study, series or instance")
    if keyword not in keyword_dict:
        near = difflib.get_close_matches(keyword, list(keyword_dict), 1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"{keyword!r} is no DICOM keyword{hint}")
    vr = dictionary_VR(keyword)
    if vr.partition(" or ")[0] in _UNFIT:
        what = "a sequence" if vr == "SQ" else f"no text or number (VR {vr})"
        raise ValueError(f"{keyword} is {what}, the index cannot keep it: leave it out")
    return level, keyword


def _checked(name: str) -> str:
    level, keyword = level_and_keyword(name)
    return keyword if level == "instance" else f"{level}.{keyword}"


AttributeName = Annotated[str, AfterValidator(_checked)]
