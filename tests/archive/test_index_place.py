"""The index is never on a network drive; the archive says where it is."""

from __future__ import annotations

import json
import socket
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from pacskit.archive.place import Mount, choose, find_place, mounts, network_kind, take_place
from pacskit.errors import ArchiveError

LINUX = [
    Mount("/", "ext4"),
    Mount("/proc", "proc"),
    Mount("/home", "nfs4", "rw,relatime,vers=4.2"),
    Mount("/home/me/local", "xfs"),
    Mount("/mnt/share", "cifs"),
    Mount("/mnt/share with space", "ext4"),
    Mount("/mnt/ssh", "fuse.sshfs"),
    Mount("/mnt/usb", "fuseblk"),
    Mount("/auto", "autofs"),
    Mount("/auto/disk", "ext4"),
    Mount("/auto/server", "nfs"),
    Mount("/twice", "ext4"),
    Mount("/twice", "smb3"),
    Mount("/again", "nfs"),
    Mount("/again", "btrfs"),
]
WINDOWS = [Mount("C:\\", "NTFS", "rw,fixed"), Mount("Z:\\", "NTFS", "rw,remote")]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/data/archive", ""),
        ("/", ""),
        ("/home", "nfs4"),
        ("/home/me/archive", "nfs4"),
        ("/home/me/local/archive", ""),
        ("/homework", ""),
        ("/mnt/share/a/b", "cifs"),
        ("/mnt/shared", ""),
        ("/mnt/share with space/a", ""),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/usb/archive", ""),
        ("/auto/disk/a", ""),
        ("/auto/server/a", "nfs"),
        ("/auto/other", "autofs"),
        ("/twice/a", "smb3"),
        ("/again/a", ""),
    ],
)
def test_by_the_deepest_and_last_mount(folder: str, kind: str) -> None:
    assert network_kind(PurePosixPath(folder), LINUX) == kind


@pytest.mark.parametrize("kind", ["nfs", "smbfs", "9p", "afs", "lustre", "gpfs", "beegfs", "ceph", "virtiofs", "fuse", "fuse.rclone"])  # fmt: skip
def test_network_kinds(kind: str) -> None:
    assert Mount("/x", kind).network


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "apfs", "NTFS", "fuse.fuse-overlayfs"])  # fmt: skip
def test_local_kinds(kind: str) -> None:
    assert not Mount("/x", kind).network


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("C:\\data", ""), ("Z:\\data", "NTFS"), ("\\\\server\\share\\data", "network share"), ("D:\\data", "")],
)
def test_windows(folder: str, kind: str) -> None:
    assert network_kind(PureWindowsPath(folder), WINDOWS) == kind


def test_choice() -> None:
    homes = [PurePosixPath("/home/me"), PurePosixPath("/var/tmp/me")]
    local, remote = PurePosixPath("/data/archive"), PurePosixPath("/mnt/share/archive")
    assert choose(local, None, homes, LINUX) is None
    assert choose(local, local, homes, LINUX) is None
    assert choose(remote, None, homes, LINUX) == homes[1], "the first that is on a disk of this computer"
    assert choose(remote, PurePosixPath("/data/indexes"), homes, LINUX) == PurePosixPath("/data/indexes")
    with pytest.raises(ArchiveError, match=r"archive\.index: /mnt/ssh is on a network drive \(fuse\.sshfs\)"):
        choose(local, PurePosixPath("/mnt/ssh"), homes, LINUX)
    with pytest.raises(ArchiveError, match="is on a network drive"):
        choose(remote, remote, homes, LINUX)
    with pytest.raises(ArchiveError, match="to a folder on a disk of this computer"):
        choose(remote, None, homes[:1], LINUX)


def test_this_computers_mounts() -> None:
    assert any(mount.point in ("/", "C:\\") for mount in mounts())


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Mount]]:
    """An archive's folder, and a table of mounts that has it on a network drive."""
    monkeypatch.setenv("PACSKIT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder, [Mount("/", "ext4"), Mount(str(folder), "nfs4")]


def fill(index: Path) -> None:
    for end in ("", "-wal", "-shm"):
        index.with_name(index.name + end).write_text("rows")


def test_local_by_default(tmp_path: Path) -> None:
    assert take_place(tmp_path, None) == find_place(tmp_path) == tmp_path / "index.sqlite"
    fill(tmp_path / "index.sqlite")
    take_place(tmp_path, None)
    take_place(tmp_path, tmp_path)
    assert (tmp_path / "index.sqlite").exists()
    assert not (tmp_path / "index.json").exists()


def test_beside_a_network_drive(remote: tuple[Path, list[Mount]], tmp_path: Path) -> None:
    folder, table = remote
    fill(folder / "index.sqlite")
    place = take_place(folder, None, table)
    assert place.is_relative_to(tmp_path / "home" / "indexes")
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert not list(folder.glob("index.sqlite*")), "a stale one would be read"
    fill(place)
    assert take_place(folder, None, table) == find_place(folder) == place
    assert place.exists(), "it is this archive's own"
    note = json.loads((folder / "index.json").read_text())
    assert (note["index"], note["host"]) == (str(place), socket.gethostname())


def test_two_archives_never_share(remote: tuple[Path, list[Mount]], tmp_path: Path) -> None:
    """Neither another one mounted at the same path, nor a copy."""
    folder, table = remote
    first = take_place(folder, None, table)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "index.json").write_bytes((folder / "index.json").read_bytes())
    assert take_place(copy, tmp_path / "home" / "indexes") != first
    (folder / "index.json").unlink()
    assert take_place(folder, None, table) != first


def test_another_computer_wrote_it_since(remote: tuple[Path, list[Mount]]) -> None:
    folder, table = remote
    place = take_place(folder, None, table)
    fill(place)
    note = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(note | {"host": "other-computer"}))
    with pytest.raises(ArchiveError, match="is on the computer other-computer"):
        find_place(folder)
    assert take_place(folder, None, table) == place
    assert not place.exists(), "it has not what the other one wrote"
    assert find_place(folder) == place


def test_setting_changes(tmp_path: Path) -> None:
    folder, other = tmp_path / "archive", tmp_path / "disk"
    folder.mkdir()
    place = take_place(folder, other)
    assert place.is_relative_to(other)
    fill(place)
    assert take_place(folder, other) == place
    assert place.exists()
    fill(folder / "index.sqlite")
    assert take_place(folder, None) == find_place(folder) == folder / "index.sqlite"
    assert not (folder / "index.sqlite").exists(), "nobody kept it meanwhile"
    assert not (folder / "index.json").exists()
    fill(folder / "index.sqlite")
    again = take_place(folder, other)
    assert again != place or not again.exists()


def test_a_note_that_is_none(tmp_path: Path) -> None:
    for text in ("", "[]", "{", '"x"'):
        (tmp_path / "index.json").write_text(text)
        assert find_place(tmp_path) == tmp_path / "index.sqlite"


def test_no_room_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be written"):
        take_place(tmp_path, tmp_path / "file")
