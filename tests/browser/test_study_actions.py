"""What a person does to studies in a real JupyterLab: import, look, check, delete, restore; mouse and keyboard."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import looks
import pytest
from driven_lab import Notebook, environ, write
from playwright.sync_api import Browser, Locator, Page, expect

from pacskit.simulator import phantoms

STATION = """
import pacskit
station = pacskit.Station({settings!r})
station
"""
BOARD = ".pk-dashboard"
NAME = re.compile(r"Müller|M\\u00fcller|PHANTOM-(CT|MR|US)|山田|Yamada|Äneas|Buc\^J")
"""What identifies: names, also that of the folder that was imported."""


class Board:
    """The dashboard as a person sees it."""

    def __init__(self, page: Page) -> None:
        self.page, self.root = page, page.locator(BOARD).first
        self.bar = self.root.locator(".pk-bar")

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.root.get_by_role("button", name=name, exact=isinstance(name, str))

    def row(self, text: str) -> Locator:
        return self.root.locator(".pk-study", has_text=text)

    @property
    def focused(self) -> str:
        return str(self.page.evaluate("() => document.activeElement?.textContent ?? ''"))


@pytest.fixture
def given(tmp_path: Path, test_data: Path) -> Path:
    """Real files, a series with a gap, another, and what is no DICOM."""
    folder = tmp_path / "export for Müller"
    files = sorted(phantoms.write(folder / "mr", ("mr",), slices=30, size=64))
    for path in files[11:14]:
        path.unlink()
    phantoms.write(folder / "ct", ("ct",), slices=12, size=64)
    shutil.copytree(test_data, folder / "real")
    (folder / "notes.txt").write_text("nothing")
    return folder


def check_looks(page: Page, part: str = BOARD) -> None:
    assert looks.too_wide(page, part, but=".jp-RenderedHTML") == []
    assert looks.contrast(page, part) >= 4.5
    assert looks.axe(page, part) == []


@pytest.mark.parametrize(("width", "dark"), [(700, True), (1400, False)], ids=["narrow-dark", "wide-light"])
def test_studies_come_are_judged_and_go(
    chromium: Browser,
    address: str,
    folder: Path,
    tmp_path: Path,
    given: Path,
    artifacts: Path,
    width: int,
    dark: bool,
) -> None:
    name = f"studies-{width}"
    settings = {"folder": str(tmp_path / "archive"), "stable_after": 1.0}
    write(
        folder / f"{name}.ipynb", environ(PACSKIT_HOME=tmp_path / "home"), STATION.format(settings=settings)
    )
    page = chromium.new_page(viewport={"width": width + 190, "height": 1100})
    notebook = Notebook(page, address, f"{name}.ipynb", dark=dark)
    try:
        notebook.run(0)
        notebook.run(1)
        board = Board(page)
        # -- import, by keyboard
        board.button("Import …").click()
        field = board.root.get_by_label("File or folder")
        field.focus()
        page.keyboard.press("Enter")
        expect(board.root.get_by_role("alert")).to_contain_text("Enter a file or a folder")
        page.keyboard.type(str(given))
        page.keyboard.press("Enter")
        done = board.root.locator(".pk-done")
        expect(done).to_contain_text(re.compile(r"\d+ stored, \d+ were here already"), timeout=30_000)
        expect(done).to_contain_text("notes.txt")
        expect(field).to_have_value(str(given))
        expect(board.root.locator(".pk-foot")).to_contain_text("studies")
        looks.screenshot(page, artifacts, f"{name}-import", BOARD)
        check_looks(page)
        board.button("Import …").click()
        expect(field).to_have_count(0)

        # -- what is complete, what is not
        board.root.get_by_placeholder("Filter").fill("phantom-")
        expect(board.root.locator(".pk-study")).to_have_count(2)
        expect(board.row("Yamada")).to_contain_text("gap: 12–14", timeout=15_000)
        expect(board.row("Müller")).to_contain_text("complete?")

        # -- a person's own mark
        mark = board.button(re.compile("^Checked: "))
        assert mark.count() == 2
        mark.first.focus()
        page.keyboard.press("Space")
        expect(mark.first).to_have_attribute("aria-pressed", "true")
        expect(mark.first).to_be_focused()
        expect(mark.last).to_have_attribute("aria-pressed", "false")

        # -- delete, and think again
        boxes = board.root.get_by_role("checkbox", name=re.compile("^Select (?!all)"))
        boxes.first.check()
        expect(board.bar).to_contain_text(re.compile(r"1 study, \d+ images selected"))
        board.root.get_by_role("checkbox", name="Select all on this page").check()
        expect(board.bar).to_contain_text("2 studies, 39 images selected")
        board.button("Delete …").focus()
        page.keyboard.press("Enter")
        expect(board.bar).to_contain_text("2 studies, 39 images go to the trash; they can be restored.")
        notebook.until(lambda: board.focused == "Keep", otherwise="the safe answer has the focus")
        looks.screenshot(page, artifacts, f"{name}-delete", BOARD)
        check_looks(page)
        page.keyboard.press("Escape")
        expect(board.bar).to_contain_text("2 studies, 39 images selected")
        notebook.until(lambda: board.focused == "Delete …", otherwise="the focus was lost")
        page.keyboard.press("Enter")
        expect(board.bar).to_contain_text("go to the trash")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
        expect(board.bar).to_contain_text("2 studies, 39 images: in the trash.")
        notebook.until(lambda: board.focused == "Undo", otherwise="the focus was lost")
        expect(board.root.get_by_text("matches the filter")).to_be_visible()

        # -- and back
        board.button("Trash").click()
        expect(board.root.locator(".pk-trash li")).to_have_count(1)
        expect(board.root.locator(".pk-trash")).to_contain_text("39 images")
        looks.screenshot(page, artifacts, f"{name}-trash", BOARD)
        check_looks(page)
        board.button("Empty the trash …").click()
        expect(board.root.get_by_role("alert")).to_contain_text("39 images, ")
        board.root.get_by_role("group", name="Trash").get_by_role("button", name="Keep").click()
        board.button(re.compile("^Restore ")).click()
        expect(board.bar).to_contain_text("39 images: restored.")
        expect(board.root.locator(".pk-study")).to_have_count(2)
        expect(board.root.get_by_text("The trash is empty.")).to_be_visible()
        expect(mark.first).to_have_attribute("aria-pressed", "true")

        # -- nothing of it is saved
        notebook.save()
        saved = folder / f"{name}.ipynb"
        notebook.until(lambda: "widget-state+json" in saved.read_text("utf-8"), otherwise="it was not saved")
        outputs = json.loads(saved.read_text("utf-8"))
        shown = json.dumps(outputs["metadata"] | {"o": [cell["outputs"] for cell in outputs["cells"]]})
        assert not NAME.search(shown)
        assert not NAME.search(shown.encode().decode("unicode_escape"))
    finally:
        notebook.end()
        page.close()
