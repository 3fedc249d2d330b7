"""The settings of the index, from the archive's face."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pacskit.archive import Archive
from pacskit.cli.app import app
from pacskit.errors import ArchiveError
from pacskit.events import EventBus
from pacskit.settings.models import ArchiveSettings
from tests.archive.conftest import make, send_to


def opened(folder: Path, **settings: object) -> Archive:
    return Archive.create_or_open(folder, EventBus(), ArchiveSettings(durability="fast", **settings))


def test_extra_attributes(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        send_to(archive, make(EchoTime=2.5, KVP="120"), at=1.0)
        with pytest.raises(ValueError, match=r"archive\.extra_attributes"):
            archive.studies(EchoTime=2.5)
    with opened(tmp_path, extra_attributes=("EchoTime", "series.KVP")) as archive:
        send_to(archive, make("1.2.3.2", EchoTime=5, KVP="80"), at=2.0)
        archive.drain()
        assert archive.reindex().read == 2
        assert list(archive.table("series", columns=["KVP"], EchoTime=5).KVP) == [120.0]
        archive.rebuild()
        assert archive.reindex().unreadable == 0
        assert archive.count(EchoTime=2.5, KVP=120) == archive.count("patient", EchoTime=5) == 1
        archive.delete(["1.2.3.1"], "instance")
        assert list(archive.table("series", columns=["KVP"]).KVP) == [80.0], "the next one's"
    with Archive.read(tmp_path) as reader:
        assert reader.count(EchoTime=5) == 1


def test_reindex_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PACSKIT_ARCHIVE__EXTRA_ATTRIBUTES", '["EchoTime"]')
    with opened(tmp_path / "archive") as archive:
        send_to(archive, make(EchoTime=2.5))
    done = CliRunner().invoke(app, ["reindex", "--archive", str(tmp_path / "archive")])
    assert (done.exit_code, done.stdout) == (0, "1 instances read again\n")
    done = CliRunner().invoke(
        app, ["studies", "--archive", str(tmp_path / "archive"), "-k", "EchoTime=2.5", "--json"]
    )
    assert '"study_uid": "1.2.3"' in done.stdout


def test_index_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    with opened(folder, index=tmp_path / "disk") as archive:
        send_to(archive, make())
        assert list(archive.studies().instances) == [1]
        assert not list(folder.glob("index.sqlite*"))
        assert len(list((tmp_path / "disk").rglob("index.sqlite"))) == 1
        with Archive.read(folder) as reader:
            assert reader.count() == 1
    with opened(folder) as archive:
        assert archive.count() == 1, "made again from the files"
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveError, match="cannot be written"):
        opened(folder, index=tmp_path / "file")
    with opened(folder) as archive:
        assert archive.count() == 1


def test_pages(tmp_path: Path) -> None:
    with opened(tmp_path) as archive:
        for number in range(5):
            send_to(archive, make(f"9.{number}", f"1.{number}", f"2.{number}", PatientName=f"{5 - number}"))
        assert list(archive.studies(limit=2, offset=1, order_by=["patient_name"]).patient_name) == ["2", "3"]
        assert list(archive.table("patient", limit=1, PatientName="4").studies) == [5 - 4]
        assert archive.count(PatientName="4") == 1
