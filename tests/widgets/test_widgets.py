"""The parts of the dashboard without a browser: words, table, privacy of what nbclient saves."""

from __future__ import annotations

import threading
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import pacskit
from pacskit.simulator import Scanner
from pacskit.widgets import words
from pacskit.widgets.dashboard import Dashboard
from pacskit.widgets.picture_panel import PicturePanel

ROOT = Path(__file__).resolve().parents[2]

CELLS = """
import tempfile, pacskit
from pacskit.simulator import Scanner
station = pacskit.Station(tempfile.mkdtemp(), listener={"enabled": True, "port": 0, "host": "127.0.0.1"})
station
---
Scanner(station).send("us", progress=False)
assert station.dashboard.settle()
assert station.dashboard.picture.slide.png
"""


def local(folder: Path, **sections: object) -> pacskit.Station:
    listener = {"enabled": True, "port": 0, "host": "127.0.0.1"}
    return pacskit.Station(folder, listener=listener, **sections)  # type: ignore[arg-type]


def test_text_from_files_is_never_markup() -> None:
    assert words.name("<script>^x") == "&lt;script&gt;, x"
    assert '"' not in words.text('"><img onerror=x>')


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (25e6, "25.0 MB")])
def test_sizes_are_readable(count: float, said: str) -> None:
    assert words.size(count) == said


def test_a_study_that_comes_is_listed_and_shown_and_masked_where_wanted(tmp_path: Path) -> None:
    for mask in (False, True):
        with local(tmp_path / str(mask), viewer={"mask_identifiers": mask}) as station:
            board = station.dashboard
            assert isinstance(board, Dashboard)
            assert board.settle()
            assert "Nothing received yet" in board._table.html
            Scanner(station).send("us", progress=False)
            name = words.name(station.studies()["patient_name"].iloc[0])
            assert board.settle()
            shown = board._table.html + board.picture.box.html
            assert "pk-series" in shown
            assert board.picture.slide.png
            assert (name in shown) is not mask
            assert (words.MASK in shown) is mask
        assert board.picture.slide is None, "a closed station still shows a picture"


def test_nbclient_saves_neither_name_nor_pixels() -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.split("---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=True).execute()
    saved = nbformat.writes(notebook)
    assert "widget-state+json" in saved
    assert "pk-series" in saved, "the state is not there at all"  # the look is
    assert "iVBORw0KGgo" not in saved
    assert "phantom^ada" not in saved.casefold()
    assert "phantom, ada" not in saved.casefold()
    assert "phantom-us" not in saved.casefold()


def test_the_quick_start_runs_from_top_to_bottom() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "00-quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=True).execute()
    saved = nbformat.writes(notebook)
    assert "(40, 512, 512)" in saved, "the last cell prints the volume's shape"
    for secret in ("iVBORw0KGgo", "Müller", "M\\u00fcller", "PHANTOM-CT"):
        assert secret not in saved


def test_the_notebook_on_tls_runs_from_top_to_bottom() -> None:
    notebook = nbformat.read(ROOT / "notebooks" / "05-tls-and-certificates.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", store_widget_state=True).execute()
    saved = nbformat.writes(notebook)
    for sentence in (
        "no certificate: PACSKIT_TLS@127.0.0.1",
        "the server wants a certificate of ours",
        "is signed by Another hospital, which is not on the trusted list",
        "verified: reading-room, pacskit teaching authority",
    ):
        assert sentence in saved
    for secret in ("PRIVATE KEY", "PHANTOM-CT"):
        assert secret not in saved


def test_a_move_during_a_redraw_is_not_lost() -> None:
    """The person's move comes in another thread than the redraw that goes on."""
    asked: list[bool] = []
    panel = PicturePanel(lambda: asked.append(True), lambda: None, mask=bool)
    panel.slider.max = 10
    panel._drawing = True
    panel.slider.value = 3
    assert not asked, "what the redraw itself writes asks for nothing"
    person = threading.Thread(target=lambda: setattr(panel.slider, "value", 7))
    person.start()
    person.join()
    assert asked == [True]
