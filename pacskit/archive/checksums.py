"""Checksums: crc32 of the data set in the file's own meta information, sha256 of the file in sums/.

sums/<study folder>.sha256 is what sha256sum writes: `cd archive; sha256sum -c sums/*.sha256` checks it too.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from pacskit import system
from pacskit.archive.access import file_mode
from pacskit.archive.files import SUMS, append_line, make_folders, study_folder
from pacskit.archive.header import private_of
from pacskit.imaging.part10 import META_LIMIT, FileHead, read_head

PIECE = 1 << 20
CRC_ROOM = b'"crc32":"00000000"'
"""What stands in (0002,0102) until the whole data set is there."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+\.dcm)")


class Cancelled(Exception):
    """Whoever asked for it wants it no longer."""


def with_crc_room(private: bytes) -> bytes:
    """Our private information, a JSON object, with room for the crc32."""
    return private[:-1] + b"," + CRC_ROOM + b"}"


def fill_crc(head: bytes, crc: int) -> bytes:
    """The file's head with the crc32 of its data set."""
    return head.replace(CRC_ROOM, b'"crc32":"%08x"' % crc)


def crc_of(head: FileHead) -> int | None:
    """The crc32 that stands in the file; None where it was stored without one."""
    try:
        return int(private_of(head)["crc32"], 16)
    except (ValueError, KeyError, TypeError):
        return None


def measure(path: Path, stop: Callable[[], bool]) -> tuple[str, str]:
    """(sha256 of the file, what is wrong with its crc32 or ""). Raises OSError, Cancelled when `stop()`."""
    whole = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | system.BINARY)
    try:
        start = system.read_at(descriptor, META_LIMIT, 0)
        try:
            head = read_head(start)
        except ValueError as error:
            return "", str(error)
        crc, expected, at = 0, crc_of(head), 0
        while piece := system.read_at(descriptor, PIECE, at):
            if stop():
                raise Cancelled
            whole.update(piece)
            if expected is not None and at + len(piece) > head.offset:
                crc = zlib.crc32(memoryview(piece)[max(head.offset - at, 0) :], crc)
            at += len(piece)
    finally:
        os.close(descriptor)
    wrong = "" if expected in (None, crc) else "its data are not what was received (crc32)"
    return whole.hexdigest(), wrong


def sums_file(folder: Path, study: str) -> Path:
    return folder / SUMS / f"{study}.sha256"


def read_sums(folder: Path, study: str) -> dict[str, str]:
    """Relative path → sha256 of the files of a study folder; empty where nothing is known."""
    try:
        text = sums_file(folder, study).read_text("utf-8", "replace")
    except FileNotFoundError:
        return {}
    return {match[2]: match[1] for line in text.split("\n") if (match := _LINE.fullmatch(line))}


def add_sum(folder: Path, relative: str, sha256: str) -> None:
    """Raises OSError."""
    path = sums_file(folder, study_folder(relative))
    make_folders(path.parent, folder, False)
    append_line(path, f"{sha256}  {relative}\n".encode(), False)


def forget_sums(folder: Path, relatives: set[str]) -> None:
    """These files leave the archive or become others. Raises OSError."""
    for study in {study_folder(relative) for relative in relatives}:
        known = read_sums(folder, study)
        left = {relative: value for relative, value in known.items() if relative not in relatives}
        if len(left) == len(known):
            continue
        if left:
            lines = "".join(f"{value}  {relative}\n" for relative, value in sorted(left.items()))
            path = sums_file(folder, study)
            system.replace_file(path, lines.encode(), file_mode(path))
        else:
            sums_file(folder, study).unlink(missing_ok=True)
