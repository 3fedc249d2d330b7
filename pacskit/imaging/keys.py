"""What tells the volumes of one series apart: the named parts of a VolumeKey, read from one frame."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pydicom.dataset import Dataset

from pacskit.imaging.functional_groups import group_item, number, numbers, value
from pacskit.imaging.private import diffusion

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeKey:
    """The parts in which the volumes of a series differ; a part all share is None. `str` is for people.

    echo_time and trigger_time are ms, b_value s/mm2; acquisition_time is the TM (or DT) as written; `repeat`
    (1, 2, ...) counts what nothing in the header tells apart but its order.
    """

    orientation: str | None = None
    segment: int | None = None
    image_type: str | None = None
    echo_time: float | None = None
    b_value: float | None = None
    gradient: Vector | None = None
    temporal_position: int | None = None
    trigger_time: float | None = None
    acquisition: int | None = None
    acquisition_time: str | None = None
    repeat: int | None = None

    def __str__(self) -> str:
        parts = [
            _LABELS[field.name].format(_text(getattr(self, field.name)))
            for field in fields(self)
            if getattr(self, field.name) is not None
        ]
        return ", ".join(parts) or "the only volume"


_LABELS = {
    "orientation": "{}",
    "segment": "segment {}",
    "image_type": "{}",
    "echo_time": "echo {} ms",
    "b_value": "b {}",
    "gradient": "gradient {}",
    "temporal_position": "time point {}",
    "trigger_time": "trigger {} ms",
    "acquisition": "acquisition {}",
    "acquisition_time": "acquired {}",
    "repeat": "repeat {}",
}

FORCED = ("segment",)
"""Parts that separate always, even where no position repeats."""
CONTENT = ("image_type", "echo_time", "b_value", "gradient")
"""Parts that separate wherever a position repeats with different values."""
TIMES = ("temporal_position", "trigger_time", "acquisition", "acquisition_time")
"""Parts that separate only where each value then covers the same positions (times also differ by slice)."""


def key_parts(ds: Dataset, frame: int = 0) -> dict[str, Any]:
    """All parts of one frame (0-based), keyed by the names of VolumeKey; None where absent."""
    kind = value(ds, frame, "FrameType", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence")
    kind = kind or ds.get("ImageType")
    echo = number(value(ds, frame, "EffectiveEchoTime", "MREchoSequence"))
    b_value, gradient = _diffusion(ds, frame)
    temporal = value(ds, frame, "TemporalPositionIndex", "FrameContentSequence")
    trigger = value(ds, frame, "NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence")
    acquisition = value(ds, frame, "FrameAcquisitionNumber", "FrameContentSequence")
    time = value(ds, frame, "FrameAcquisitionDateTime", "FrameContentSequence")
    return {
        "segment": _integer(value(ds, frame, "ReferencedSegmentNumber", "SegmentIdentificationSequence")),
        "image_type": _joined(kind),
        "echo_time": echo if echo is not None else number(ds.get("EchoTime")),
        "b_value": b_value,
        "gradient": gradient,
        "temporal_position": _integer(
            temporal if temporal is not None else ds.get("TemporalPositionIdentifier")
        ),
        "trigger_time": number(trigger if trigger is not None else ds.get("TriggerTime")),
        "acquisition": _integer(acquisition if acquisition is not None else ds.get("AcquisitionNumber")),
        "acquisition_time": _string(time) or _string(ds.get("AcquisitionTime")),
    }


def order_of(ds: Dataset, frame: int = 0) -> tuple[float, ...]:
    """The last resort: sorts what nothing else tells apart (trigger time, acquisition, instance, frame)."""
    raw = (ds.get("TriggerTime"), ds.get("AcquisitionTime"), ds.get("InstanceNumber"))
    return (*(number(part) or 0.0 for part in raw), float(frame))


def _diffusion(ds: Dataset, frame: int) -> tuple[float | None, Vector | None]:
    item = group_item(ds, frame, "MRDiffusionSequence")
    source = ds if item is None else item
    directions = source.get("DiffusionGradientDirectionSequence")
    holder = directions[0] if directions else source
    b_value = number(source.get("DiffusionBValue"))
    gradient = numbers(holder.get("DiffusionGradientOrientation"), 3)
    if b_value is None:
        b_value, private = diffusion(ds)
        gradient = gradient or private
    # Rounded, so that slices of one direction do not fall apart over the last digit.
    rounded = tuple(round(part, 4) + 0.0 for part in gradient) if gradient else None
    return (None if b_value is None else round(b_value, 2)), rounded


def _joined(raw: Any) -> str | None:
    if raw is None:
        return None
    return str(raw) if isinstance(raw, str) else "\\".join(str(part) for part in raw) or None


def _string(raw: Any) -> str | None:
    return None if raw is None else (str(raw) or None)


def _integer(raw: Any) -> int | None:
    found = number(raw)
    return None if found is None else int(found)


def _text(part: Any) -> str:
    if isinstance(part, float):
        return f"{part:.6g}"
    if isinstance(part, tuple):
        return "(" + ", ".join(f"{each:.3g}" for each in part) + ")"
    return str(part)
