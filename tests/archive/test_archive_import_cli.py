"""`pacskit import` as a person and a script use it; and files that do not answer."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pacskit.archive import Archive
from tests.archive.test_archive_import_ways import snapshot, write

PACSKIT = [sys.executable, "-m", "pacskit"]
HANG = """
import sys, threading
from pathlib import Path
from pacskit.archive import Archive, importing
from pacskit.events import EventBus
importing.STUCK_SECONDS = 0.5
cancel = threading.Event()
with Archive.create_or_open(sys.argv[1], EventBus()) as archive:
    report = archive.import_paths(
        [sys.argv[2]], progress=lambda now: now.done == 3 and cancel.set(), cancel=cancel
    )
    print(report.stored, report.cancelled, report.grouped, len(archive.table("instance")), flush=True)
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*PACSKIT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("no strace")
    return found


def test_json_csv_and_exit_codes(tmp_path: Path) -> None:
    archive, source = tmp_path / "archive", tmp_path / "source"
    write(source, 5)
    (source / "scan.nii.gz").write_bytes(b"\x1f\x8b" + bytes(50))
    (source / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    before = snapshot(source)
    table = tmp_path / "skipped.csv"
    done = run("import", source, "--in-place", "--archive", archive, "--json", "--skipped", table)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["stored"], report["how"], report["cancelled"]) == (5, "in-place", False)
    rows = list(csv.DictReader(table.open()))
    assert {row["reason"] for row in rows} == {
        "it is not a DICOM file but a NIfTI file (gzip)",
        "it is not a DICOM file but a JPEG picture",
    }
    assert [skipped["path"] for skipped in report["skipped"]] == [row["path"] for row in rows]
    assert snapshot(source) == before
    again = run("import", source / "photo.jpg", source / "IM0001", "--archive", archive)
    assert again.returncode == 0
    assert "0 stored, 1 were here already, 1 skipped (1 not DICOM)" in again.stdout
    assert "photo.jpg: it is not a DICOM file but a JPEG picture" in again.stderr
    both = run("import", source, "--in-place", "--link", "--archive", archive)
    assert (both.returncode, "exclude" in both.stderr) == (2, True)


def test_known_files_are_not_opened(tmp_path: Path) -> None:
    """strace sees every open: none of the files, the second time."""
    source, log = tmp_path / "source", tmp_path / "log"
    write(source, 10)
    arguments = ["import", str(source), "--archive", str(tmp_path / "archive")]
    assert run(*arguments).returncode == 0
    traced = [strace(), "-f", "-e", "trace=open,openat", "-o", str(log), *PACSKIT, *arguments]
    done = subprocess.run(traced, check=True, capture_output=True, text=True, timeout=120)
    assert "10 were here already" in done.stdout
    assert "index.sqlite" in log.read_text()
    assert "/IM00" not in log.read_text()


def test_interrupt_reports_and_goes_on(tmp_path: Path) -> None:
    """Ctrl+C while a file is slow to open: a report, exit code 1, and the rest is taken the next time."""
    archive, source = tmp_path / "archive", tmp_path / "source"
    write(source, 300)
    slow = ["-e", "inject=openat:delay_enter=1500000"]
    slow += [part for name in ("IM0001", "IM0002") for part in ("-P", str(source / name))]
    arguments = ["import", str(source), "--archive", str(archive), "--json"]
    process = subprocess.Popen(
        [strace(), "-f", "-e", "trace=openat", *slow, *PACSKIT, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "(DELAYED)" in line:
            break  # the first is open, and the next one of the same batch is waited for
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    report = json.loads(output)
    assert report["cancelled"]
    assert 0 < report["stored"] < 300
    rest = json.loads(run(*arguments).stdout)
    assert (rest["stored"], rest["known"]) == (300 - report["stored"], report["stored"])


def test_a_share_that_hangs(tmp_path: Path) -> None:
    """One file never answers: a cancelled import returns all the same, and says where it was."""
    archive, source = tmp_path / "archive", tmp_path / "source"
    write(source, 3)
    (source / "stuck").mkdir()
    (source / "stuck" / "IM0009").write_bytes((source / "IM0001").read_bytes())
    hang = ["-e", "inject=openat:delay_enter=8000000", "-P", str(source / "stuck" / "IM0009")]
    done = subprocess.run(
        [
            *(strace(), "-f", "-o", "/dev/null", "-e", "trace=openat", *hang),
            *(sys.executable, "-c", HANG, str(archive), str(source)),
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "3 True {'stuck': 1} 3\n", done.stderr
    assert "Traceback" not in done.stderr
    with Archive.read(archive) as reader:
        assert len(reader.table("instance")) == 3
