"""Import, the checked mark, delete and restore in the dashboard: for a station here and an attached one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacskit.archive import Archive
from pacskit.events import StudiesChanged, StudyStable
from pacskit.simulator import phantoms
from pacskit.station import Station
from pacskit.widgets.dashboard import Dashboard
from pacskit.widgets.study_marks import StudyMarks

ARCHIVE = {"stable_after": 0.2}


class Board:
    """A person at the dashboard."""

    def __init__(self, station: Station) -> None:
        self.station, self.face = station, station.dashboard
        assert isinstance(self.face, Dashboard)

    def click(self, key: str, **values: str) -> None:
        """And wait until all that follows from it is drawn."""
        self.face._heard({"type": "click", "key": key, "values": values})
        self.settle()

    def settle(self) -> None:
        for errand in (self.face.actions._errand, self.face.actions.imports.errand):
            assert self.face.settle()
            thread = errand._thread
            if thread is not None:
                thread.join(60)
        assert self.face.settle()

    @property
    def html(self) -> str:
        """All that is shown beside the picture."""
        return "\n".join(carrier.html for carrier in (*self.face.actions._carriers, self.face._table))

    @property
    def bar(self) -> str:
        return re.sub(r"<[^>]+>", " ", self.face.actions.bar.html)

    def uid(self, **query: Any) -> str:
        return str(self.station.studies(**query)["study_uid"].iloc[0])


@pytest.fixture(params=["here", "attached"])
def station(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Station]:
    where = {"run_in": "background"} if request.param == "attached" else {}
    with Station({"folder": str(tmp_path / "archive"), **ARCHIVE}, station=where) as found:
        yield found
        if found.background.attached and not found.background.lost:
            found.stop_background()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Station]:
    with Station({"folder": str(tmp_path / "archive"), **ARCHIVE}) as found:
        yield found


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """An MR study of which numbers 12 to 14 are missing, a CT study, and a text."""
    files = sorted(phantoms.write(tmp_path / "given" / "mr", ("mr",), slices=30, size=16))
    for path in files[11:14]:
        path.unlink()
    phantoms.write(tmp_path / "given" / "ct", ("ct",), slices=5, size=16)
    (tmp_path / "given" / "notes.txt").write_text("nothing")
    return tmp_path / "given"


def many(folder: Path) -> None:
    """More than is imported in a moment."""
    first = phantoms.write(folder, ("mr",), slices=1, size=16)[0]
    for number in range(20_000):
        (folder / f"{number}.dcm").hardlink_to(first)


def test_from_import_to_restore(station: Station, given: Path) -> None:
    board = Board(station)
    board.click("open:import")
    board.click("how:link")
    with station.events.queue(StudyStable) as stable:
        board.click("import:", path=f" {given} ")
        assert stable.get(20), "the import was told"
        assert stable.get(20)
    board.settle()
    assert "32 stored, 0 were here already, 1 skipped (1 not DICOM)" in board.html
    assert "notes.txt" in board.html
    assert board.face.imported is not None
    assert board.face.imported.how == "link"

    board.face._bridge.ask("table")
    board.settle()
    assert "gap: 12–14" in board.html
    assert "missing: number 12, 13, 14 of 1 to 30" in board.html
    assert "complete?" in board.html

    mr, ct = (board.uid(PatientID=f"PHANTOM-{kind}*") for kind in ("MR", "CT"))
    board.click(f"check:{mr}")
    assert station.archive.checked() == {mr}
    board.face._bridge.ask("table")
    board.settle()
    assert board.html.count('class="pk-check"') == 2
    assert re.search(rf'data-key="check:{mr}"[^>]*aria-pressed="true"', board.html)
    board.click(f"check:{mr}")
    assert not station.archive.checked()

    board.click("delete:")
    assert board.bar == "", "nothing is picked"
    board.click("delete-now:")
    assert len(station.studies()) == 2
    board.click("pick-page:")
    assert "2 studies, 32 images selected" in board.bar
    board.click("delete:")
    assert "2 studies, 32 images go to the trash; they can be restored." in board.bar
    board.click(f"pick:{ct}")
    assert "1 study, 27 images selected" in board.bar, "it was asked about two"
    board.click("delete-now:")
    assert len(station.studies()) == 2
    board.click("delete:")
    board.click("delete-not:")
    assert "1 study, 27 images selected" in board.bar
    board.click("delete:")
    board.click("delete-now:")
    assert list(station.studies()["study_uid"]) == [ct]
    assert "1 study, 27 images: in the trash." in board.bar
    (entry,) = station.archive.trash()
    assert f"restore:{entry.id}" in board.face.actions.bar.html, "it can be undone"

    board.click("open:trash")
    trash = board.face.actions.trash.carrier.html
    assert "MR brain" in trash
    assert "27 images" in trash
    board.click(f"restore:{entry.id}")
    assert "27 images: restored." in board.bar
    assert "The trash is empty." in board.html
    assert set(station.studies()["study_uid"]) == {mr, ct}

    board.click(f"pick:{ct}")
    board.click("delete:")
    board.click("delete-now:")
    board.click("empty-now:")
    assert station.archive.trash(), "it was not asked"
    board.click("empty:")
    assert "5 images" in board.face.actions.trash.carrier.html
    board.click("empty-not:")
    board.click("empty-now:")
    assert station.archive.trash()
    board.click("empty:")
    board.click("empty-now:")
    assert station.archive.trash() == []
    assert "The trash is empty" in board.bar


def test_what_was_imported_in_place_is_not_said_to_go_to_the_trash(here: Station, given: Path) -> None:
    board = Board(here)
    here.import_paths([given / "ct"], "in-place")
    here.import_paths([given / "mr"])
    board.settle()
    board.click(f"pick:{board.uid(PatientID='PHANTOM-CT*')}")
    board.click("delete:")
    assert "1 study: 5 images, imported in place, stay where they are" in board.bar
    assert "trash" not in board.bar
    board.click("delete-not:")
    board.click("pick-page:")
    board.click("delete:")
    assert (
        "2 studies, 32 images: 27 images go to the trash and can be restored; 5 images, imported" in board.bar
    )
    board.click("unpick:")
    board.click(f"pick:{board.uid(PatientID='PHANTOM-CT*')}")
    board.click("delete:")
    board.click("delete-now:")
    assert "1 study: no longer listed." in board.bar
    assert len(list((given / "ct").rglob("*.dcm"))) == 5


def test_an_import_is_cancelled(station: Station, tmp_path: Path) -> None:
    many(tmp_path / "many")
    board = Board(station)
    board.click("open:import")
    imports = board.face.actions.imports
    far = imports._far
    seen = threading.Event()
    shown: list[str] = []

    def slow(progress: Any) -> None:
        far(progress)
        assert board.face._bridge.settle()
        shown.append(imports.told.html + imports.form.html)
        board.face._heard({"type": "click", "key": "import-cancel:"})
        board.face._bridge.settle()
        shown.append(imports.form.html)
        seen.set()

    imports._far = slow
    board.face._heard({"type": "click", "key": "import:", "values": {"path": str(tmp_path / "many")}})
    assert seen.wait(20)
    board.settle()
    assert "<progress" in shown[0]
    assert " files, " in shown[0]
    assert "Cancelling …" in shown[1]
    assert board.face.imported is not None
    assert board.face.imported.cancelled
    assert "doing it again goes on from here" in board.html


def test_what_is_wrong_is_said(here: Station, tmp_path: Path, given: Path) -> None:
    board = Board(here)
    board.click("open:import")
    board.click("import:", path="  ")
    assert "Enter a file or a folder of the computer" in board.html
    board.click("import:", path=str(tmp_path / "nowhere"))
    assert "there is no such file or folder" in board.html
    board.click("restore:../studies")
    assert "there is no ../studies in the trash" in board.bar
    board.click("check:1.2.3")
    assert "no study 1.2.3 in the archive" in board.bar
    board.click("import:", path=str(given))
    assert "no study" not in board.bar, "what comes next has not failed"
    for key in ("", "open:", "how:move", "pick:1.2.3", "what:ever", "delete-now:", "empty-now:"):
        board.click(key)
    assert len(here.studies()) == 2


def test_masked_and_escaped(tmp_path: Path, given: Path) -> None:
    strange = given / "<b>Doe" / "John.txt"
    strange.parent.mkdir()
    strange.write_text("nothing")
    for mask in (False, True):
        with Station(tmp_path / f"a{mask}", viewer={"mask_identifiers": mask}) as station:
            board = Board(station)
            board.click("open:import")
            board.click("import:", path=str(given))
            board.click("open:trash")
            board.click(f"pick:{board.uid(PatientID='PHANTOM-MR*')}")
            board.click("delete:")
            board.click("delete-now:")
            outside = board.face.actions.imports.told.html + board.face.actions.trash.carrier.html
            assert "<b>Doe" not in board.html
            assert ("&lt;b&gt;Doe" in outside) is not mask
            assert ("Yamada" in outside) is not mask
            assert ("PHANTOM" in board.html) is not mask


def test_nothing_can_be_done_where_the_owner_is_gone(tmp_path: Path, given: Path) -> None:
    settings = {"folder": str(tmp_path / "archive"), **ARCHIVE}
    with Station(settings, station={"run_in": "background"}) as station:
        station.import_paths([given])
        board = Board(station)
        board.settle()
        uid = board.uid()
        station.archive.check(uid)
        board.face._bridge.ask("table")
        board.settle()
        assert "Import …" in board.html
        assert 'type="checkbox"' in board.html
        station.stop_background()
        board.face._bridge.ask("strip", "table")
        board.settle()
        assert "data-key" not in "".join(carrier.html for carrier in board.face.actions._carriers)
        assert 'type="checkbox"' not in board.html
        assert 'class="pk-check"' not in board.html
        assert 'aria-label="checked"' in board.html, "what was said of it can still be read"
        board.face.actions.click(f"check:{uid}")
        board.settle()
        assert station.archive.checked() == {uid}


def test_a_closing_station_ends_an_import(tmp_path: Path) -> None:
    many(tmp_path / "many")
    station = Station(tmp_path / "archive")
    board = Board(station)
    begun = threading.Event()
    imports = board.face.actions.imports
    imports._far = lambda progress: begun.set()
    board.face._heard({"type": "click", "key": "import:", "values": {"path": str(tmp_path / "many")}})
    assert begun.wait(20)
    station.close()
    assert imports.report is not None
    assert imports.report.cancelled
    with Station(tmp_path / "archive") as again:
        assert again.archive.count("instance") >= imports.report.stored


def test_what_is_aside_has_a_mark(here: Station, tmp_path: Path) -> None:
    """And is no conflict of patients."""
    (path,) = phantoms.write(tmp_path / "one", ("mr",), slices=1, size=16)
    here.import_paths([path])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    here.import_paths([path])
    board = Board(here)
    board.settle()
    assert "1 aside" in board.html
    assert "▲ conflict" not in board.html
    board.click("pick-page:")
    board.click("delete:")
    board.click("delete-now:")
    assert "1 aside" not in board.html


def test_gaps_are_looked_for_once(here: Station, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not while a study still comes."""
    asked: list[str] = []
    look = Archive.completeness

    def counted(archive: Archive, study_uid: str) -> Any:
        asked.append(study_uid)
        return look(archive, study_uid)

    monkeypatch.setattr(Archive, "completeness", counted)
    here.archive.stable_after = 1000
    with here.events.queue(StudiesChanged) as changed:
        here.import_paths([given])
        assert changed.get(10)
    marks = StudyMarks()
    rows: list[Any] = here.studies().to_dict("records")
    found = marks.of(here.archive, rows)
    assert {mark.state for mark in found.values()} == {"receiving"}
    assert asked == []
    with here.events.queue(StudyStable) as stable:
        here.archive.stable_after = 0
        for _ in rows:
            assert stable.get(20)
    for _ in range(1000):  # told first, noted then
        found = marks.of(here.archive, rows)
        if "receiving" not in {mark.state for mark in found.values()}:
            break
    assert {mark.state for mark in found.values()} == {"gap", "complete"}
    marks.of(here.archive, rows)
    assert len(asked) == 2
