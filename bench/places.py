"""Where a bench writes: a tmpfs for what does not sync, a disk for what does (decision 4)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")
LEAST = 8 << 30
"""Bytes that a round of the store bench may fill."""


@contextlib.contextmanager
def in_memory() -> Iterator[Path]:
    """A folder on a tmpfs where there is one with room; else on the disk, and then the results say less."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= LEAST
    with tempfile.TemporaryDirectory(prefix="pacskit-bench-", dir=MEMORY if roomy else None) as name:
        yield Path(name)


@contextlib.contextmanager
def on_disk() -> Iterator[Path]:
    """A new folder on the disk, far from where files were deleted lately; emptied after the last round.

    ext4 skips recently deleted inodes one by one, 0.5 ms for each file made; below a folder with the
    attribute T each new folder gets a block group of its own.
    """
    parent = Path(__file__).parent / "work"
    parent.mkdir(exist_ok=True)
    subprocess.run(["chattr", "+T", str(parent)], check=False, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="disk-", dir=parent) as name:
        yield Path(name)
