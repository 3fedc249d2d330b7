"""The index alone, with rows made up: what an instance costs the writer, and one million of them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from bench.results import Row as Result
from pacskit.archive import tables
from pacskit.archive.header import KEYWORDS, VR_OF, Header
from pacskit.archive.index import BATCH, IndexReader, IndexWriter
from pacskit.archive.rows import Row

MILLION = 1_000_000
OF_SERIES, OF_STUDY = 50, 100
"""Instances: 10,000 studies with two series each."""
PAGE = 50
ROOT = "1.2.840.113619.2.55.3.604688119.971"
_NOTHING = {keyword: None if VR_OF[keyword] in ("IS", "US") else "" for keyword in KEYWORDS}


def header(number: int) -> Header:
    """Of the instance with this number, as a scanner would send it."""
    series, study = number // OF_SERIES, number // OF_STUDY
    patient = study // 2
    about = {
        "StudyInstanceUID": f"{ROOT}.{study:08d}.1",
        "SeriesInstanceUID": f"{ROOT}.{study:08d}.2.{series % 2}",
        "SOPInstanceUID": f"{ROOT}.{study:08d}.3.{number:09d}",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "PatientID": f"ID{patient:08d}",
        "PatientName": f"{'ABCDEFGHIJ'[patient % 10]}name{patient}^Given",
        "PatientBirthDate": f"19{patient % 90 + 10}0101",
        "PatientSex": "MF"[patient % 2],
        "StudyDate": f"20{study % 26:02d}{study % 12 + 1:02d}15",
        "StudyTime": "101112",
        "StudyDescription": "CT HEAD",
        "AccessionNumber": f"A{study}",
        "Modality": ("CT", "MR", "US", "SR")[study % 4],
        "SeriesNumber": series % 2 + 1,
        "SeriesDescription": "AXIAL 5 MM",
        "InstanceNumber": number % OF_SERIES + 1,
        "Rows": 512,
        "Columns": 512,
        "BitsAllocated": 16,
        "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
        "ContentDate": "20260115",
        "ContentTime": "101112.345",
    }
    return Header(_NOTHING | about, "1.2.840.10008.1.2.1", 1_700_000_000_000 + number, "SCANNER")


def rows(first: int, last: int) -> Iterator[Row]:
    for number in range(first, last):
        study, series = number // OF_STUDY, number // OF_SERIES
        path = f"studies/20260115-{study:012d}/0001-ct-{series:012d}/{number % 50:06d}-{number:016d}.dcm"
        yield Row(header(number), path, 532_000)


def _open(path: Path) -> IndexWriter:
    def failed(reason: str) -> None:
        raise RuntimeError(reason)

    return IndexWriter(path, lambda rows, conflicts: None, failed)


def _apply(index: IndexWriter, batch: list[Row]) -> float:
    """Seconds of the processor that one transaction takes: what the receivers have to do without."""
    began = time.thread_time()
    index.write_now(batch)
    return time.thread_time() - began


def _costs(work: Path, rounds: int) -> list[Result]:
    results = []
    for size in (1, 50, BATCH):
        costs = []
        for turn in range(rounds):
            count = min(40_000, size * 1_000)
            made = list(rows(0, count))
            index = _open(work / f"{size}-{turn}.sqlite")
            spent = sum(_apply(index, made[at : at + size]) for at in range(0, count, size))
            index.close()
            costs.append(spent / count * 1e6)
        goal = 25.0 if size == BATCH else None
        results.append(_row(f"writer, batches of {size}", costs, " µs", goal))
    return results


def _row(what: str, values: list[float], unit: str, below: float | None) -> Result:
    ordered = sorted(values)
    median = ordered[len(ordered) // 2]
    met = None if below is None else median < below
    sentence = "" if below is None else f"<{below:g}{unit}"
    return Result(f"index: {what}", "pacskit", median, unit, ordered[0], ordered[-1], None, sentence, met)


def _million(work: Path) -> list[Result]:
    path = work / "million.sqlite"
    index = _open(path)
    rates, costs = [], []
    for part in range(10):
        spent = cost = 0.0
        batch: list[Row] = []
        for row in rows(part * MILLION // 10, (part + 1) * MILLION // 10):
            batch.append(row)
            if len(batch) == BATCH:
                began = time.perf_counter()
                cost += _apply(index, batch)
                spent += time.perf_counter() - began
                batch = []
        rates.append(MILLION / 10 / spent)
        costs.append(cost / (MILLION / 10) * 1e6)
    began = time.perf_counter()
    index.close()
    closing = time.perf_counter() - began
    results = [
        _row("inserts of 1 million, each tenth", rates, " /s", None),
        _row("inserts of 1 million, each tenth, processor", costs, " µs", None),
        _row("processor, last tenth / first tenth", [costs[-1] / costs[0]], " ×", 1.25),
        _row("closing it", [closing * 1000], " ms", None),
    ]
    began = time.perf_counter()
    index = _open(path)
    results.append(_row("opening 1 million", [(time.perf_counter() - began) * 1000], " ms", 3000))
    results += _pages(index)
    index.close()
    return results


def _pages(index: IndexReader) -> list[Result]:
    """As the dashboard asks: one page of the study list, wherever."""
    number = random.Random(1)
    total = tables.count(index, "study", {})
    asked: dict[str, list[float]] = {}
    for _ in range(10):
        for what, query, options in (
            ("a page, received last first", {}, {}),
            ("a page in the middle", {}, {"offset": number.randrange(total - PAGE)}),
            ("a page by name", {}, {"order_by": ("patient_name",), "offset": number.randrange(total - PAGE)}),
            ("a page by date", {}, {"order_by": ("-study_date",)}),
            ("a page of PatientName='C*'", {"PatientName": "C*"}, {}),
            ("a page of Modality=MR", {"ModalitiesInStudy": "MR"}, {}),
            ("one study of a Patient ID", {"PatientID": f"ID{number.randrange(total // 2):08d}"}, {}),
        ):
            began = time.perf_counter()
            found = tables.studies(index, query, limit=PAGE, **options)
            asked.setdefault(what, []).append((time.perf_counter() - began) * 1000)
            if found.empty:
                raise RuntimeError(f"{what}: nothing was found")
        began = time.perf_counter()
        tables.count(index, "study", {"PatientName": "C*"})
        asked.setdefault("counting PatientName='C*'", []).append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        tables.table(index, None, "patient", None, {}, limit=PAGE)
        asked.setdefault("a page of patients", []).append((time.perf_counter() - began) * 1000)
    return [_row(what, values, " ms", 20.0) for what, values in asked.items()]


def run(work: Path, rounds: int) -> list[Result]:
    return [*_costs(work, rounds), *_million(work)]
