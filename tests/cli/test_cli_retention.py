"""`pacskit retention | backup`, alone and beside the owner of the archive."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pacskit.archive import Archive
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to

DAY = 86_400.0
OLD, NEW = "1.2.1", "1.2.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    settings = ArchiveSettings(durability="fast", stable_after=0.01)
    with Archive.create_or_open(tmp_path / "archive", EventBus(), settings) as archive:
        for study, days in ((OLD, 40), (NEW, 1)):
            send_to(archive, make(f"{study}.1", study, f"{study}.0"), at=time.time() - days * DAY)
        archive.drain()
        deadline = time.monotonic() + 30
        while (archive.folder / "unstable").read_bytes():
            assert time.monotonic() < deadline
    return tmp_path / "archive"


@pytest.fixture
def thirty_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSKIT_ARCHIVE__KEEP_DAYS", "30")


def studies(folder: Path) -> set[str]:
    with Archive.read(folder) as reader:
        return set(reader.studies()["study_uid"])


@pytest.mark.parametrize("apply", [(), ("--apply",)])
def test_nothing_is_set(pacskit: Any, folder: Path, apply: tuple[str, ...]) -> None:
    done = pacskit("retention", "--archive", folder, *apply)
    assert done.out == ""
    assert "archive.keep_days and archive.keep_size are not set: all studies stay" in done.err
    assert studies(folder) == {OLD, NEW}


@pytest.mark.usefixtures("thirty_days")
def test_the_plan_is_printed_and_nothing_done(pacskit: Any, folder: Path) -> None:
    done = pacskit("retention", "--archive", folder)
    header, row = done.out.splitlines()
    assert header.split()[:2] == ["study_uid", "patient_id"]
    assert row.split()[0] == OLD
    assert "nothing received for 30 days" in row
    assert "1 study, 0.0 MB would go to the trash" in done.err
    (study,) = json.loads(pacskit("retention", "--archive", folder, "--json").out)
    assert (study["study_uid"], study["instances"], study["kept"]) == (OLD, 1, "")
    assert study["received_at"].endswith("+00:00")
    assert studies(folder) == {OLD, NEW}
    assert not (folder / "retention.json").exists()


@pytest.mark.usefixtures("thirty_days")
def test_a_person_applies_it(pacskit: Any, folder: Path) -> None:
    done = pacskit("retention", "--archive", folder, "--apply")
    assert "1 study, 0.0 MB are in the trash now" in done.err
    assert studies(folder) == {NEW}
    with Archive.read(folder) as reader:
        assert [one.why for one in reader.trash()] == ["expired"]
    assert pacskit("retention", "--archive", folder, "--json").out == "[]\n"


@pytest.mark.usefixtures("thirty_days")
def test_protected_studies_are_shown_and_stay(pacskit: Any, folder: Path) -> None:
    with Archive.create_or_open(folder, EventBus()) as archive:
        archive.protect(OLD)
    done = pacskit("retention", "--archive", folder, "--apply")
    assert "it is protected" in done.out
    assert "0 studies" in done.err
    assert studies(folder) == {OLD, NEW}


@pytest.mark.usefixtures("thirty_days")
def test_beside_the_owner(pacskit: Any, folder: Path) -> None:
    """The owner does what a person has seen, at its next look."""
    with Archive.create_or_open(folder, EventBus(), ArchiveSettings(keep_days=30)) as archive:
        archive._mine()._caretaker.close()
        done = pacskit("retention", "--archive", folder, "--apply")
        assert "1 study, 0.0 MB: the station that runs does it within an hour" in done.err
        assert studies(folder) == {OLD, NEW}
        archive._mine().retention.run(lambda: False)
        assert studies(folder) == {NEW}
        made = Path(pacskit("backup", "--archive", folder).out.rpartition(":")[0])
        assert made.parent == folder / "backups"


def test_backup(pacskit: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = pacskit("backup", "--archive", folder)
    made, _, size = done.out.strip().rpartition(": ")
    assert Path(made).parent == folder / "backups"
    assert Path(made).is_file()
    assert size == "0.1 MB"
    monkeypatch.setenv("PACSKIT_ARCHIVE__BACKUP_FOLDER", str(tmp_path / "elsewhere"))
    made = pacskit("backup", "--archive", folder).out.rpartition(":")[0]
    assert Path(made).is_relative_to(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    monkeypatch.setenv("PACSKIT_ARCHIVE__BACKUP_FOLDER", str(tmp_path / "file"))
    assert "cannot be written" in pacskit("backup", "--archive", folder, code=1).err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("KEEP_SIZE", "much", "as 500 GB"),
        ("KEEP_DAYS", "-1", "archive.keep_days"),
        ("BACKUP_KEEP", "0", "archive.backup_keep"),
    ],
)
def test_bad_settings_are_sentences(
    pacskit: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"PACSKIT_ARCHIVE__{name}", value)
    assert sentence in pacskit("retention", "--archive", folder, "--apply", code=2).err
    assert studies(folder) == {OLD, NEW}
