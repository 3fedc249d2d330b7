"""Phantom studies that look like anatomy: a CT, an MR and a multi-frame US, valid IODs, no network.

The same arguments give the same bytes; UIDs follow from kind, patient, seed and time of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pacskit.simulator.phantoms.patients import JAPANESE, PLAIN, UMLAUTS, Patient
from pacskit.simulator.phantoms.studies import ct, mr, us

__all__ = ["JAPANESE", "PLAIN", "STUDIES", "UMLAUTS", "Patient", "ct", "mr", "us", "write"]

STUDIES: Mapping[str, Callable[..., Iterator[Dataset]]] = {"ct": ct, "mr": mr, "us": us}


def write(
    folder: Path,
    kinds: Sequence[str] = ("ct", "mr", "us"),
    progress: Callable[[Path], None] | None = None,
    **options: Any,
) -> list[Path]:
    """Write the phantoms as Part 10 files `<folder>/<kind>/<number>.dcm`; `progress` hears of each file.

    `options` go to each phantom. Raises ValueError for a kind that is not in STUDIES, OSError from the disk.
    """
    if wrong := [kind for kind in kinds if kind not in STUDIES]:
        raise ValueError(f"there is no phantom {wrong[0]!r}: take one of {', '.join(STUDIES)}")
    written: list[Path] = []
    for kind in kinds:
        target = Path(folder) / kind
        target.mkdir(parents=True, exist_ok=True)
        for dataset in STUDIES[kind](**options):
            path = target / f"{dataset.InstanceNumber:04d}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            written.append(path)
            if progress:
                progress(path)
    return written
