"""One owner, many readers; and what a killed owner leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from pacskit.archive import Archive
from pacskit.archive.incoming import UNFINISHED
from pacskit.errors import ArchiveError, ArchiveOwned
from pacskit.events import EventBus
from tests.archive.conftest import encode, make, send_to

ROOT = Path(__file__).resolve().parents[2]
STORE = """
import sys
from pacskit.archive import Archive, Origin
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import encode, make, send_to

archive = Archive.create_or_open(sys.argv[1], EventBus(), ArchiveSettings(durability=sys.argv[2]))
half = archive.incoming(
    sop_class_uid="1.2", sop_instance_uid="7.7", transfer_syntax_uid="1.2.840.10008.1.2.1",
    origin=Origin(received_at=1.0),
)
half.write([encode(make("7.7"))])  # whole elements, though more may follow: never committed
number = 0
while True:
    number += 1
    print(send_to(archive, make(f"9.{number}", InstanceNumber=number)).sop_instance_uid, flush=True)
"""
READ = (
    "import sys; from pacskit.archive import Archive; print(len(Archive.read(sys.argv[1]).table('instance')))"
)


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_owned_once(tmp_path: Path, events: EventBus) -> None:
    with Archive.create_or_open(tmp_path, events):
        with pytest.raises(ArchiveOwned, match=rf"this process \(pid {os.getpid()}\)"):
            Archive.create_or_open(tmp_path, events)
        code = "import sys; from pacskit.archive import Archive; from pacskit.events import EventBus; "
        code += "Archive.create_or_open(sys.argv[1], EventBus())"
        other = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=ROOT
        )
        assert f"in use by process {os.getpid()}" in other.stderr
    Archive.create_or_open(tmp_path, events).close()


def test_reader_beside_the_owner(archive: Archive) -> None:
    send_to(archive, make())
    archive.drain()
    with Archive.read(archive.folder) as reader:
        assert_frame_equal(reader.studies(), archive.studies())
        send_to(archive, make("1.2.3.2"))
        archive.drain()
        assert_frame_equal(reader.studies(), archive.studies())
        assert list(reader.studies().instances) == [2]
        with pytest.raises(ArchiveError, match="opened to read"):
            send_to(reader, make("1.2.3.3"))


def test_reader_leaves_nothing(tmp_path: Path, events: EventBus) -> None:
    with Archive.create_or_open(tmp_path, events) as owner:
        send_to(owner, make())
    before = listing(tmp_path)
    assert not any(name.endswith(("-wal", "-shm")) for name in before)
    with Archive.read(tmp_path) as reader:
        assert len(reader.studies()) == 1
        assert listing(tmp_path) == before
        with Archive.create_or_open(tmp_path, events) as owner:
            send_to(owner, make("1.2.3.2"))
            owner.drain()
            assert list(reader.studies().instances) == [2], "a reader sees an owner that came later"
        assert list(reader.studies().instances) == [2]
    assert {name for name in listing(tmp_path) - before if not name.endswith(".dcm")} == set()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("owned", [False, True], ids=["alone", "beside the owner"])
def test_reader_without_write_permission(events: EventBus, owned: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ready, tell = os.pipe()
        child = os.fork()  # before SQLite opens anything, and after the imports: their files may be hidden
        if child == 0:
            code = 1
            try:
                os.read(ready, 1)
                os.setuid(65534)
                with Archive.read(folder) as reader:
                    code = 0 if list(reader.studies().instances) == [1] else 2
            finally:
                os._exit(code)
        archive = Archive.create_or_open(folder, events)
        send_to(archive, make())
        archive.drain()
        if not owned:
            archive.close()
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = listing(folder)
        os.write(tell, b"!")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert listing(folder) == before
        archive.close()
        os.close(ready)
        os.close(tell)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no archive"):
        Archive.read(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "studies").mkdir()
    with pytest.raises(ArchiveError, match="pacskit rebuild"):
        Archive.read(tmp_path)


@pytest.mark.parametrize("durability", ["safe", "fast"])
def test_killed_while_storing(tmp_path: Path, events: EventBus, durability: str) -> None:
    command = [sys.executable, "-c", STORE, str(tmp_path), durability]
    told = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.add(line.strip())
            if len(told) == 200:
                process.send_signal(signal.SIGKILL)
                break
        told |= {line.strip() for line in process.stdout if line.endswith("\n")}
    assert any((tmp_path / "incoming").iterdir())
    read = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert read.returncode == 0, read.stderr
    with Archive.create_or_open(tmp_path, events) as archive:
        found = archive.table("instance")
        assert told <= set(found.sop_instance_uid)
        assert "7.7" not in set(found.sop_instance_uid), "nobody was told that it is stored"
        assert len(found) == len(list(tmp_path.rglob("*.dcm")))
        assert not list((tmp_path / "incoming").iterdir())
        before = archive.studies()
        archive.rebuild()
        assert_frame_equal(archive.studies(), before)


def test_whole_file_in_incoming_is_adopted(tmp_path: Path, events: EventBus) -> None:
    """Killed between the check and the rename."""
    with Archive.create_or_open(tmp_path, events) as archive:
        whole = send_to(archive, make()).path.read_bytes()
    incoming = tmp_path / "incoming"
    for kind, content in {
        "whole": whole.replace(b"1.2.3.1\0", b"1.2.3.9\0"),
        "known": whole,
        "cut": whole.replace(b"1.2.3.1\0", b"1.2.3.8\0")[:-2],
        "unfinished": UNFINISHED + whole.replace(b"1.2.3.1\0", b"1.2.3.7\0")[len(UNFINISHED) :],
        "bare": encode(make("1.2.3.6"))[:-5],
        "empty": b"",
    }.items():
        (incoming / f"{kind}.part").write_bytes(content)
    with Archive.create_or_open(tmp_path, events) as archive:
        assert sorted(archive.table("instance").sop_instance_uid) == ["1.2.3.1", "1.2.3.9"]
    assert not list(incoming.iterdir())


def test_close_ends_what_is_under_way(archive: Archive) -> None:
    from_peer = send_to(archive, make())
    archive.close()
    archive.close()
    assert from_peer.path.exists()
    with pytest.raises(ArchiveError, match="closed"):
        send_to(archive, make("1.2.3.2"))
