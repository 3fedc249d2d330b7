"""Where the index is: in the archive's folder; where that is on a network drive, on a disk of this computer.

SQLite's log needs memory that all its users share and locks that work; network drives have neither (WAL,
sqlite.org/wal.html). `index.json` in the archive says where its index is, and on which computer.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import platformdirs
import psutil

from pacskit import system
from pacskit.archive.access import FOLDER_MODE, file_mode
from pacskit.archive.files import INDEX, cannot_write
from pacskit.errors import ArchiveError
from pacskit.settings.files import default_folder

NOTE = "index.json"
_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "openafs", "auristorfs"),
        *(
            "9p",
            "virtiofs",
            "vboxsf",
            "vmhgfs",
            "prl_fs",
            "drvfs",
            "lustre",
            "gpfs",
            "beegfs",
            "beegfs_nodev",
        ),
        *("ceph", "glusterfs", "gfs", "gfs2", "ocfs2", "pvfs2", "orangefs", "panfs", "wekafs", "coda"),
        *("davfs", "webdav", "afpfs", "macfuse", "osxfuse", "autofs"),
    )
)
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.ntfs-3g", "fuse.ntfs", "fuse.exfat", "fuse.ext4")
"""Other file systems by FUSE (sshfs, rclone, s3fs, gvfs) are taken for network drives."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/mounts, or a drive of Windows."""

    point: str
    kind: str
    options: str = ""

    @property
    def network(self) -> bool:
        kind = self.kind.lower()
        if kind == "fuse" or kind.startswith("fuse."):
            return kind not in _LOCAL_FUSE
        return kind in _NETWORK or "remote" in self.options.split(",")


def mounts() -> list[Mount]:
    """This computer's, in the order they were made."""
    return [Mount(disk.mountpoint, disk.fstype, disk.opts) for disk in psutil.disk_partitions(all=True)]


def network_kind(folder: PurePath, table: Iterable[Mount]) -> str:
    """The kind of network drive that a folder (absolute, links resolved) is on; empty for a local disk."""
    if isinstance(folder, PureWindowsPath) and folder.drive.startswith("\\\\"):
        return "network share"
    own = [mount for mount in table if _has(type(folder)(mount.point), folder)]
    deepest = max((len(PurePosixPath(mount.point).parts) for mount in own), default=0)
    # of several on one point the last one hides the others; autofs stands below what it has mounted
    over = [mount for mount in own if len(PurePosixPath(mount.point).parts) == deepest]
    return over[-1].kind if over and over[-1].network else ""


def _has(point: PurePath, folder: PurePath) -> bool:
    return point == folder or point in folder.parents


def choose(
    folder: PurePath, wanted: PurePath | None, homes: Sequence[PurePath], table: Sequence[Mount]
) -> PurePath | None:
    """A folder for indexes of several archives; None for the archive's own. Raises ArchiveError."""
    if wanted is not None:
        if wanted == folder and not network_kind(folder, table):
            return None
        if kind := network_kind(wanted, table):
            raise ArchiveError(
                f"archive.index: {wanted} is on a network drive ({kind}), where an index gets damaged: "
                "take a folder on a disk of this computer"
            )
        return wanted
    kind = network_kind(folder, table)
    if not kind:
        return None
    for home in homes:
        if not network_kind(home, table):
            return home
    raise ArchiveError(
        f"the archive {folder} is on a network drive ({kind}), where an index gets damaged, and so are this "
        "user's folders: set archive.index to a folder on a disk of this computer"
    )


def take_place(folder: Path, wanted: Path | None, table: Sequence[Mount] | None = None) -> Path:
    """The index's file, for the owner; what stands there of another time is thrown away.

    Raises ArchiveError where there is no fit place.
    """
    note = _note(folder)
    chosen = choose(
        _real(folder),
        _real(wanted) if wanted is not None else None,
        _homes(),
        mounts() if table is None else table,
    )
    name = str(note.get("id") or os.urandom(12).hex())
    path = folder / INDEX if chosen is None else Path(chosen) / _hash(f"{name}\0{_real(folder)}") / INDEX
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        before = folder / INDEX if not note else Path(str(note.get("index")))
        if before != path or (note and note.get("host") != socket.gethostname()):
            for stale in {path, folder / INDEX}:  # somebody wrote the archive since, with another index
                _throw_away(stale)
        if chosen is None:
            (folder / NOTE).unlink(missing_ok=True)
        elif before != path or note.get("host") != socket.gethostname():
            content = {"index": str(path), "host": socket.gethostname(), "id": name}
            system.replace_file(folder / NOTE, json.dumps(content).encode() + b"\n", file_mode(folder / NOTE))
    except OSError as error:
        raise ArchiveError(cannot_write(path.parent, error)) from error
    return path


def find_place(folder: Path) -> Path:
    """The index's file, to read. Raises ArchiveError where it is on another computer."""
    note = _note(folder)
    if not note:
        return folder / INDEX
    if note.get("host") != socket.gethostname():
        raise ArchiveError(
            f"the index of the archive {folder} is on the computer {note.get('host')}, since the archive "
            "is on a network drive: open it there, or open it here to write, which makes an index here"
        )
    return Path(str(note.get("index")))


def _note(folder: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((folder / NOTE).read_bytes())
        if isinstance(content, dict):
            return content
    return {}


def _homes() -> list[Path]:
    homes = [Path(default_folder()), Path(platformdirs.user_cache_dir("pacskit", appauthor=False))]
    if hasattr(os, "getuid"):  # a home folder is often a network drive; this one outlives a restart
        homes.append(Path("/var/tmp") / f"pacskit-{os.getuid()}")
    else:
        homes.append(Path(tempfile.gettempdir()) / "pacskit")
    return [_real(home) / "indexes" for home in homes]


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder.expanduser()))


def _hash(text: str) -> str:
    return (
        base64.b32encode(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest())[:20]
        .decode()
        .lower()
    )


def _throw_away(index: Path) -> None:
    for end in ("", "-wal", "-shm"):
        index.with_name(index.name + end).unlink(missing_ok=True)
