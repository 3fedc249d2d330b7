"""What a person does to studies from a notebook whose station runs in another process."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pacskit.archive.importing import ImportProgress
from pacskit.errors import PacskitError, ServiceError, UnknownUID
from pacskit.events import StudiesChanged
from pacskit.simulator import phantoms
from pacskit.station import Station, background
from pacskit.station.archive_works import ArchiveWorks
from pacskit.station.station import open_archive

BACKGROUND = {"run_in": "background"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive with a background station that the tests attach to."""
    folder = tmp_path_factory.mktemp("running") / "archive"
    Station(folder, station=BACKGROUND).close()
    yield folder
    if (channel := background.question(folder)) is not None:
        channel.ask("shutdown")
        assert channel.wait_for_end(20)
        channel.close()


@pytest.fixture
def station(running: Path) -> Iterator[Station]:
    """Attached, and empty."""
    with Station(running) as found:
        assert found.background.attached
        uids = list(found.studies()["study_uid"])
        if uids:
            found.archive.delete(uids)
        found.archive.empty_trash()
        yield found


@pytest.fixture(params=["attached", "owner"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Station]:
    """The same face, wherever the services run."""
    if request.param == "attached":
        yield request.getfixturevalue("station")
    else:
        with Station(tmp_path / "archive", attach=False) as found:
            yield found


def source(folder: Path, test_data: Path, slices: int = 3) -> Path:
    """Real files, a phantom's study, and what is no DICOM."""
    phantoms.write(folder / "phantom", ("mr",), slices=slices, size=16)
    shutil.copytree(test_data, folder / "real")
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_import_delete_restore(either: Station, tmp_path: Path, test_data: Path) -> None:
    given = source(tmp_path / "given", test_data)
    told: list[ImportProgress] = []
    threads: set[int] = set()

    def progress(far: ImportProgress) -> None:
        told.append(far)
        threads.add(threading.get_ident())

    with either.events.queue(StudiesChanged) as changed:
        report = either.import_paths([given], progress=progress)
        assert changed.get(10) is not None
    assert report.stored > 10
    assert (given / "notes.txt", "not DICOM") in [
        (path, kind) for (path, _), kind in zip(report.skipped, report.kinds, strict=True)
    ]
    assert told[-1].done == told[-1].total
    assert isinstance(told[-1].path, Path)
    assert threads == {threading.get_ident()}
    assert either.studies()["instances"].sum() == report.stored
    assert either.import_paths([str(given)]).known > 0

    archive = either.archive
    assert archive.writable
    study = str(either.studies(PatientID="PHANTOM*")["study_uid"].iloc[0])
    count = int(either.studies(StudyInstanceUID=study)["instances"].sum())
    archive.check(study)
    assert archive.checked() == {study}
    archive.check(study, False)
    assert not archive.checked()
    archive.protect(study)
    assert archive.protected() == {study}
    archive.protect(study, False)

    with either.events.queue(StudiesChanged) as changed:
        trashed = archive.delete(study)
        event = changed.get(10)
        assert event is not None
        assert study in event.study_uids
    assert trashed.instances == count
    assert archive.trash() == [trashed]
    assert either.studies(StudyInstanceUID=study).empty
    restored = archive.restore(trashed.id)
    assert restored.instances == count
    assert restored.study_uids == {study}
    assert archive.trash() == []
    archive.delete(list(either.table("series", StudyInstanceUID=study)["series_uid"]), "series")
    assert archive.empty_trash(older_than_days=1) == 0
    assert archive.empty_trash() > 0
    assert archive.trash() == []


def test_rebuild_reindex_verify(either: Station, tmp_path: Path, test_data: Path) -> None:
    either.import_paths([source(tmp_path / "given", test_data)])
    before = either.studies(order_by=["study_uid"])
    counted: list[int] = []
    report = either.archive.rebuild(counted.append)
    assert report.instances == before["instances"].sum()
    assert counted[-1] == report.instances
    assert either.studies(order_by=["study_uid"]).equals(before)
    done: list[tuple[int, int]] = []
    assert either.archive.reindex(lambda *far: done.append(far)).unreadable == 0
    seen: list[Path] = []
    found = either.archive.verify(lambda far: seen.append(far.path))
    assert found.ok, list(found.sentences())
    assert len(seen) == found.checked == report.instances


def test_a_rebuild_that_is_cancelled_changes_nothing(tmp_path: Path) -> None:
    """By who was interrupted while he waited for it; also where another process asked."""
    phantoms.write(tmp_path / "given", ("mr",), slices=3, size=16)
    cancel = threading.Event()
    told: list[Any] = []

    def tell(far: Any) -> None:
        told.append(far)
        cancel.set()

    with Station(tmp_path / "archive", attach=False) as station:
        station.import_paths([tmp_path / "given"])
        uid = str(station.studies()["study_uid"].iloc[0])
        station.archive._mine().index.remove(list(station.table("instance")["sop_instance_uid"][:1]))
        with pytest.raises(ServiceError, match="cancelled"):
            ArchiveWorks(station.archive, tell, cancel).rebuild()
        assert told == [1]
        assert station.archive.count("instance") == 2, "the row that the files would bring back"
        cancel.clear()
        station.archive.rebuild()
        assert station.archive.count("instance", StudyInstanceUID=uid) == 3


def test_wrong_questions_are_answered_as_here(either: Station, tmp_path: Path) -> None:
    archive = either.archive
    wrong: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: archive.delete("1.2.3"), UnknownUID, r"no study 1\.2\.3 in the archive"),
        (lambda: archive.delete("1.2.3", "patient"), ValueError, "there is no level 'patient' to delete"),
        (lambda: archive.check("1.2.3"), UnknownUID, r"no study 1\.2\.3"),
        (lambda: archive.protect("1.2.3"), UnknownUID, r"no study 1\.2\.3"),
        (lambda: archive.restore("yesterday"), UnknownUID, "there is no yesterday in the trash"),
        (lambda: archive.restore("../studies"), UnknownUID, "in the trash"),
        (lambda: either.import_paths([tmp_path], "move"), ValueError, "how is one of copy, link"),  # type: ignore[arg-type]
    ]
    for ask, kind, sentence in wrong:
        with pytest.raises(kind, match=sentence) as failure:
            ask()
        assert type(failure.value) is kind


def many(folder: Path) -> Path:
    """More than is imported in a moment."""
    first = phantoms.write(folder, ("mr",), slices=1, size=16)[0]
    for number in range(20_000):
        (folder / f"{number}.dcm").hardlink_to(first)
    return folder


def test_an_import_is_cancelled(either: Station, tmp_path: Path) -> None:
    cancel = threading.Event()

    def stop(far: ImportProgress) -> None:
        cancel.set()

    report = either.import_paths([many(tmp_path / "given")], progress=stop, cancel=cancel)
    assert report.cancelled
    assert "goes on from here" in str(report)
    assert either.import_paths([tmp_path / "given" / "0.dcm"]).here == 1, "and all goes on"


def test_paths_are_those_of_this_process(
    station: Station, tmp_path: Path, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative ones; and names that are no UTF-8, as on old discs."""
    monkeypatch.chdir(source(tmp_path / "given", test_data))
    Path(os.fsdecode(b"caf\xe9.txt")).write_text("no DICOM")
    report = station.import_paths(["phantom", Path("real"), os.fsdecode(b"caf\xe9.txt"), "missing"])
    assert report.stored > 3
    reasons = dict(report.skipped)
    assert Path.cwd() / os.fsdecode(b"caf\xe9.txt") in reasons
    assert reasons[Path.cwd() / "missing"] == "there is no such file or folder"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self is Linux's")
def test_what_only_this_process_can_read(station: Station, test_data: Path) -> None:
    """As with a private /tmp, or in a container: another process sees other files."""
    path = next(path for path in sorted(test_data.rglob("*")) if path.suffix == ".dcm")
    descriptor = os.open(path, os.O_RDONLY)
    spare = os.dup2(descriptor, 200)
    try:
        report = station.import_paths([f"/proc/self/fd/{spare}"])
    finally:
        os.close(descriptor)
        os.close(spare)
    ((_, reason),) = report.skipped
    assert f"the process that owns the archive ({station.background.pid})" in reason
    assert "this process can read it" in reason


def test_an_owner_that_ends(tmp_path: Path) -> None:
    """In the middle of an import: it is cancelled, what is stored stays, the sentence says what happened."""
    with Station(tmp_path / "archive", station=BACKGROUND) as station:
        pid = station.background.pid
        ending: list[threading.Thread] = []

        def end(far: ImportProgress) -> None:
            if not ending:
                ending.append(threading.Thread(target=station.stop_background))
                ending[0].start()

        report = station.import_paths([many(tmp_path / "given")], progress=end)
        ending[0].join(30)
        assert report.cancelled
        assert not station.archive.writable
        with pytest.raises(ServiceError, match=f"own process \\({pid}\\) has ended"):
            station.archive.empty_trash()
        assert not station.studies().empty, "it can still be read"
    with Station(tmp_path / "archive") as station:
        assert station.archive.count("instance") == report.stored == 1
        assert station.archive.verify().ok


def test_opened_to_read_nothing_is_changed(running: Path, station: Station) -> None:
    with open_archive(running) as archive:
        assert not archive.writable
        with pytest.raises(PacskitError, match="was opened to read"):
            archive.empty_trash()
