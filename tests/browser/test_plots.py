"""The small live plots in a real JupyterLab: they fill as something comes, in a narrow notebook too."""

from __future__ import annotations

import re
from pathlib import Path

import looks
import pytest
from driven_lab import Notebook, environ, write
from playwright.sync_api import Browser, Page, expect

STATION = """
import tempfile, pacskit
from pacskit.simulator import Scanner
station = pacskit.Station(tempfile.mkdtemp(), listener={"enabled": True, "port": 0, "host": "127.0.0.1"})
station.services
"""
SEND = 'Scanner(station).send("mr", progress=False)'
PLOTS = ".pk-services .pk-plots"


def height(page: Page) -> float:
    box = page.locator(PLOTS).bounding_box()
    assert box is not None
    return box["height"]


@pytest.mark.parametrize(("width", "dark"), [(700, True), (1400, False)], ids=["narrow-dark", "wide-light"])
def test_plots_fill(
    chromium: Browser, address: str, folder: Path, tmp_path: Path, artifacts: Path, width: int, dark: bool
) -> None:
    name = f"plots-{width}"
    write(folder / f"{name}.ipynb", environ(PACSKIT_HOME=tmp_path / "home"), STATION, SEND)
    page = chromium.new_page(viewport={"width": width + 190, "height": 1000})
    notebook = Notebook(page, address, f"{name}.ipynb", dark=dark)
    try:
        for cell in (0, 1):
            notebook.run(cell)
        instances = page.locator(PLOTS).get_by_role("img", name="Instances")
        expect(instances).to_have_attribute("aria-label", "Instances: 0/s, 5-min peak 0/s")
        expect(page.locator(PLOTS)).to_have_css("display", "grid")  # the style has come
        before = height(page)
        notebook.run(2)
        expect(instances).to_have_attribute("aria-label", re.compile(r"peak (?!0/)"), timeout=15_000)
        assert height(page) == before, "what comes moved the fields below"
        assert page.locator(f"{PLOTS} svg").count() == 4
        assert looks.too_wide(page, PLOTS) == []
        assert looks.cut_off(page, PLOTS) == []
        assert looks.contrast(page, PLOTS) >= 4.5
        assert looks.axe(page, PLOTS) == []
        looks.screenshot(page, artifacts, name, ".pk-services")
    finally:
        notebook.end()
        page.close()
