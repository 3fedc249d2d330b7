"""Who else may read: a real second user, in the group of `archive.group` or not, beside the owner or alone."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pacskit.archive import Archive
from pacskit.archive.sharing import Sharing
from pacskit.errors import ArchiveError, SettingError
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from pacskit.settings.stack import SettingsStack
from tests import second_user
from tests.archive.conftest import make, send_to
from tests.second_user import SecondUser

ROOT = Path(__file__).resolve().parents[2]
GROUP = 54321
"""A group without a name, which nobody here is in."""
# It looks once as root, so that all is imported: then it is a second user without any of root's powers, also
# where Python itself stands under /root.
CHILD = """
import json, os, sqlite3, sys
import pacskit
from pacskit.errors import PacskitError

uid, gid, group, folder, sample = sys.argv[1:]

def look(folder):
    with pacskit.open(folder) as archive:
        found = archive.table("series")
        pixels = [int(one.pixel_array.sum()) for uid in found.series_uid for one in archive.series(uid).datasets()]
        archive.aside(), archive.trash(), archive.checked(), archive.verify()
        return [int(archive.studies().instances.sum()), sum(pixels)]

def attempt(folder):
    with pacskit.open(folder) as archive:
        path = archive.series_paths(archive.table("series").series_uid[0])[0]
    index = os.path.join(folder, "index.sqlite")
    done = []
    for name, what in {
        "append": lambda: open(path, "ab"),
        "remove": lambda: os.remove(path),
        "rename": lambda: os.rename(path, f"{path}~"),
        "mode": lambda: os.chmod(path, 0o666),
        "beside": lambda: open(path.with_name("new"), "w"),
        "folder": lambda: os.mkdir(os.path.join(folder, "studies", "new")),
        "journal": lambda: open(os.path.join(folder, "journal.jsonl"), "a"),
        "index": lambda: sqlite3.connect(index).execute("DELETE FROM instance"),
        "lock": lambda: open(os.path.join(folder, "owner.lock"), "rb"),
        "station": lambda: pacskit.Station(archive=folder),
    }.items():
        try:
            what()
        except (PermissionError, sqlite3.OperationalError, PacskitError):
            continue
        done.append(name)
    return done

look(sample)
os.setgroups([int(group)])
os.setresgid(*[int(gid)] * 3)
os.setresuid(*[int(uid)] * 3)
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = {"look": look, "attempt": attempt}[line.strip()](folder)
    except PacskitError as error:
        answer = str(error)
    print(json.dumps(answer), flush=True)
"""

Ask = Callable[[str], Any]
Second = Callable[[int], Ask]


def image(number: int, **attributes: Any) -> Dataset:
    """Its pixels' sum is 4 * number."""
    dataset = make(f"1.2.3.{number}", InstanceNumber=number, **attributes)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 2, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", bytes([number] * 4)
    return dataset


@pytest.fixture
def user() -> SecondUser:
    return second_user.needed()


@pytest.fixture
def folder(user: SecondUser) -> Iterator[Path]:
    """An archive's folder, in one that everybody may enter."""
    shared = user.shared()
    yield shared / "archive"
    shutil.rmtree(shared)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def second(user: SecondUser, folder: Path, tmp_path: Path) -> Iterator[Second]:
    """Starts the second user, with one more group: `second(GROUP)("look")`."""
    with opened(tmp_path / "sample", None) as archive:
        send_to(archive, image(1))
    running: list[subprocess.Popen[str]] = []

    def start(group: int) -> Ask:
        arguments = [*map(str, (user.uid, user.gid, group, folder)), str(tmp_path / "sample")]
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | user.places(),
        )
        running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        assert stdout.readline() == "ready\n"

        def ask(what: str) -> Any:
            stdin.write(f"{what}\n")
            stdin.flush()
            return json.loads(stdout.readline())

        return ask

    yield start
    for process in running:
        process.communicate(timeout=60)


def opened(folder: Path, group: object, **more: Any) -> Archive:
    settings = ArchiveSettings.model_validate({"durability": "fast", "group": group} | more)
    return Archive.create_or_open(folder, EventBus(), settings)


def brought_over(archive: Archive) -> bool:
    assert archive._owner is not None
    return archive._owner._sharing.wait(60)


def private(folder: Path) -> set[str]:
    """What the group cannot read."""
    return {
        path.relative_to(folder).as_posix()
        for path in [folder, *folder.rglob("*")]
        if path.stat().st_gid != GROUP
        or stat.S_IMODE(path.stat().st_mode) != (0o2750 if path.is_dir() else 0o640)
    }


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_beside_the_owner_and_alone(
    folder: Path, second: Second, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    with opened(folder, GROUP, durability="safe") as archive:
        send_to(archive, image(1))
        send_to(archive, image(1, PatientID="other"))
        archive.drain()
        ask = second(GROUP)
        assert ask("look") == [1, 4]
        send_to(archive, image(2))
        archive.drain()
        assert ask("look") == [2, 12], "it sees what has come since"
        archive.check("1.2.3")
        send_to(archive, image(3, StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.0"))
        archive.delete(["1.2.3.2"], "instance")
        assert ask("look") == [2, 16]
        assert ask("attempt") == []
        assert private(folder) == {"owner.lock"}
        assert brought_over(archive)
    assert ask("look") == [2, 16], "without an owner"
    assert ask("attempt") == []
    assert private(folder) == {"owner.lock"}


def test_beside_a_killed_owner(folder: Path, second: Second) -> None:
    """Its log of the index stays behind."""
    code = """
import sys
from tests.archive.test_archive_group import *
archive = opened(Path(sys.argv[1]), GROUP)
send_to(archive, image(1)); archive.drain()
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (folder / "index.sqlite-wal").stat().st_size
    assert second(GROUP)("look") == [1, 4]


def test_who_is_not_in_the_group(folder: Path, second: Second, caplog: pytest.LogCaptureFixture) -> None:
    ask = second(GROUP + 1)
    with opened(folder, GROUP) as archive:
        send_to(archive, image(1))
        archive.drain()
        told = ask("look")
        assert re.search(rf"not open to this user \(\w+\): it is for the group {GROUP}\. Ask an admin", told)
    assert ask("look") == told
    with opened(folder, None) as archive:
        assert brought_over(archive)
    assert "its owner's alone. Its owner can give it to a group with archive.group" in ask("look")
    folder.parent.chmod(0o700)
    assert f"{folder.parent}, on the way to {folder / 'studies'}, is closed" in ask("look")
    opened(folder, GROUP).close()
    assert f"archive.group: {folder.parent} is closed to the group {GROUP}" in caplog.text


def test_what_was_there_before(
    folder: Path, second: Second, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = tmp_path / "source.dcm"
    with opened(folder, None) as archive:
        shutil.copy(send_to(archive, image(9, SOPInstanceUID="9.9")).path, source)
        archive.delete(["9.9"], "instance")
        archive.empty_trash()
        for number in (1, 2, 3):
            send_to(archive, image(number))
        archive.delete(["1.2.3.3"], "instance")
    (folder / "studies" / "link").symlink_to(tmp_path)
    ask = second(GROUP)
    assert "its owner's alone" in ask("look")
    linked = next((folder / "studies").rglob("*.dcm"))
    os.link(linked, tmp_path / "original.dcm")
    with opened(folder, GROUP) as archive:
        assert brought_over(archive)
        assert "the files of the archive become readable for the group 54321" in caplog.text
        assert re.search(r"all \d+ files of the archive are readable for the group 54321", caplog.text)
        linked.unlink()
        (tmp_path / "original.dcm").rename(linked)
        assert private(folder) - {"studies/link"} == {"owner.lock", linked.relative_to(folder).as_posix()}
        assert stat.S_IMODE(source.stat().st_mode) == 0o600, "behind a symbolic link"
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    caplog.clear()
    linked.chmod(0o604)
    with opened(folder, GROUP) as archive:
        assert brought_over(archive)
    assert not caplog.text, "walked once only"
    assert stat.S_IMODE(linked.stat().st_mode) == 0o604
    with opened(folder, None) as archive:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, "at once"
        assert brought_over(archive)
        send_to(archive, image(4))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.name != "link"}
    assert modes == {0o700, 0o600}


def test_a_change_that_did_not_come_to_its_end(folder: Path) -> None:
    """Whatever is set at the next start, all files are looked at again."""
    with opened(folder, None) as archive:
        send_to(archive, image(1))
    Sharing(folder, str(GROUP))  # and killed before it brought over what was there
    assert private(folder / "incoming") == set()
    assert "." not in private(folder / "studies"), "what comes now is right"
    with opened(folder, None) as archive:
        assert brought_over(archive)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")} == {0o700, 0o600}
    Sharing(folder, None)
    Sharing(folder, str(GROUP))
    with opened(folder, GROUP) as archive:
        assert brought_over(archive)
    assert private(folder) == {"owner.lock"}
    assert json.loads((folder / "format.json").read_bytes())["group"] == GROUP


def test_files_that_cannot_be_brought_over(user: SecondUser) -> None:
    """Told, and tried again at the next start; the others are."""
    code = """
import sys
from tests.archive.test_archive_group import *
logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
with opened(Path(sys.argv[1]), os.getegid()) as archive:
    print(send_to(archive, image(1)).path, brought_over(archive))
"""
    folder = user.folder() / "archive"
    for _ in range(2):
        run = user.run([sys.executable, "-c", code, folder], cwd=ROOT)
        if not (folder / "studies" / "roots.dcm").exists():
            (folder / "studies" / "roots.dcm").touch(0o600)
            (folder / "format.json").write_text('{"format": 1, "group": "changing"}')
    assert re.search(r"^1 of \d+ files do not become readable for the group", run.stdout, re.M), run.stdout
    assert "studies/roots.dcm: Operation not permitted" in run.stdout
    assert run.stdout.endswith(".dcm False\n")
    assert json.loads((folder / "format.json").read_bytes())["group"] == "changing"


def test_a_folder_that_looks_like_a_groups(folder: Path) -> None:
    """Made by hand, or below a folder with the setgid bit: without the setting it is the owner's alone."""
    folder.mkdir()
    os.chown(folder, -1, GROUP)
    folder.chmod(0o2750)
    with opened(folder, None) as archive:
        send_to(archive, image(1))
        archive.check("1.2.3")
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.rglob("*") if path.is_dir()}
    assert modes == {0}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "journal.jsonl").stat().st_mode) == 0o600


def test_an_index_elsewhere(folder: Path, second: Second, caplog: pytest.LogCaptureFixture) -> None:
    place = folder.parent / "indexes"
    with opened(folder, GROUP, index=str(place)) as archive:
        send_to(archive, image(1))
        archive.drain()
        ask = second(GROUP)
        assert ask("look") == [1, 4]
    assert ask("look") == [1, 4]
    assert "is closed to the group" not in caplog.text
    place.chmod(0o700)
    opened(folder, GROUP, index=str(place)).close()
    assert f"archive.group: {place} is closed to the group {GROUP}" in caplog.text
    assert re.search(
        rf"not open to this user .*: {place}, on the way to {place}/\w+/index.sqlite,", ask("look")
    )
    place.chmod(0o755)
    next(place.rglob("index.sqlite")).chmod(0o600)
    assert re.search(r"not open to this user .*/index\.sqlite cannot be read\. Its owner's", ask("look"))


def test_a_group_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "there is no group radiologie on this computer"
    with pytest.raises(SettingError, match=sentence):
        SettingsStack({"archive": {"group": "radiologie"}})
    assert SettingsStack({"archive": {"group": " "}}).settings.archive.group is None
    assert SettingsStack({"archive": {"group": GROUP}}).settings.archive.group == str(GROUP)
    with pytest.raises(SettingError, match="number is below"):
        SettingsStack({"archive": {"group": 2**32 - 1}})
    gone = ArchiveSettings.model_construct(**ArchiveSettings().model_dump() | {"group": "radiologie"})
    with pytest.raises(ArchiveError, match=sentence):
        Archive.create_or_open(tmp_path, EventBus(), gone)
    monkeypatch.setattr("pacskit.system.files._grp", None)
    with pytest.raises(SettingError, match="no groups of users on this system"):
        SettingsStack({"archive": {"group": "users"}})


def test_a_group_the_owner_is_not_in(user: SecondUser) -> None:
    code = """
import sys
from tests.archive.test_archive_group import *
try:
    opened(Path(sys.argv[1]), GROUP)
except ArchiveError as error:
    print(error)
"""
    own = user.folder()
    run = user.run([sys.executable, "-c", code, own / "archive"], cwd=ROOT)
    assert f"cannot be given to {GROUP}: Operation not permitted, or this user is not in that" in run.stdout
    assert stat.S_IMODE((own / "archive").stat().st_mode) == 0o700
