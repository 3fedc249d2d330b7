"""The quick start in a real JupyterLab: what a person sees and does, and what a saved notebook holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from driven_lab import Notebook, write
from playwright.sync_api import Browser, Page

from pacskit.archive.outgoing import OutgoingFile
from pacskit.dimse.send import send
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms

QUICK_START = "00-quickstart.ipynb"
NAME = re.compile(r"Müller|Phantom\W+Ada|PHANTOM-(CT|MR|US)|山田|Yamada")
PNG = "iVBORw0KGgo"
"""The first bytes of every PNG, in base64."""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1600, "height": 1100})
    yield page
    page.close()


def series(notebook: Notebook) -> int:
    return notebook.page.locator(".pk-series:visible").count()


def test_quick_start(page: Page, address: str, folder: Path, artifacts: Path) -> None:
    notebook = Notebook(page, address, QUICK_START)
    notebook.run(1)
    notebook.dashboard.get_by_text("Nothing received yet.").wait_for()
    page.screenshot(path=artifacts / "empty.png")
    notebook.run(2)
    page.locator(".pk-study").first.wait_for()
    notebook.until(notebook.picture, otherwise="no picture of the study that came")
    notebook.run(3)
    notebook.run(4)
    for wrong in ("stderr", "error"):
        assert page.locator(f"[data-mime-type='application/vnd.jupyter.{wrong}']").count() == 0
    assert "(40, 512, 512)" in page.locator(".jp-OutputArea").last.inner_text()
    notebook.dashboard.scroll_into_view_if_needed()
    page.screenshot(path=artifacts / "quickstart.png")

    before = notebook.picture()
    page.locator(".pk-picture").focus()
    page.keyboard.press("ArrowDown")
    notebook.until(lambda: notebook.picture() != before, otherwise="the arrow key did not change the image")
    before = notebook.picture()
    notebook.dashboard.get_by_role("slider").press("End")
    notebook.until(lambda: notebook.picture() != before, otherwise="the slider did not change the image")
    before = notebook.picture()
    notebook.dashboard.get_by_label("Window").select_option("Lung")
    notebook.until(lambda: notebook.picture() != before, otherwise="the window did not change the image")

    notebook.save()
    saved = folder / QUICK_START
    notebook.until(lambda: "widget-state+json" in saved.read_text("utf-8"), otherwise="it was not saved")
    assert PNG not in saved.read_text("utf-8")
    assert not NAME.search(json.dumps(json.loads(saved.read_text("utf-8")), ensure_ascii=False))


SETUP = """
import tempfile, pacskit
from pacskit.simulator import Scanner
station = pacskit.Station(tempfile.mkdtemp(), listener={"enabled": True, "port": 0, "host": "127.0.0.1"})
station
"""
SEND = 'Scanner(station).send("mr", progress=False)\nScanner(station).send("us", progress=False)'
BUSY = """
import time
end = time.monotonic() + 15
while time.monotonic() < end:
    pass
"""


def send_from_outside(notebook: Notebook, folder: Path) -> None:
    """As a scanner would: from another process, to the address that the dashboard shows."""
    shown = notebook.dashboard.locator(".pk-strip").inner_text()
    port = int(re.search(r"127\.0\.0\.1:(\d+)", shown)[1])
    files = phantoms.write(folder / "sent", ("ct",), slices=6, size=128)
    report = send(PeerAddress("PACSKIT", "127.0.0.1", port), [OutgoingFile.read(path) for path in files])
    assert report.sent == len(files)


def test_live_while_a_cell_is_busy_and_series_are_chosen(page: Page, address: str, folder: Path) -> None:
    write(folder / "busy.ipynb", SETUP, SEND, BUSY)
    notebook = Notebook(page, address, "busy.ipynb")
    notebook.run(0)
    notebook.run(1)
    notebook.until(lambda: page.locator(".pk-study").count() == 2)
    notebook.until(notebook.picture)
    notebook.run(2, wait=False)
    send_from_outside(notebook, folder)
    notebook.until(lambda: page.locator(".pk-study").count() == 3, 9, "the table stood still")
    assert notebook.count(2) is None, "the cell was over: nothing is proven"
    # and what a person does is answered while the cell runs
    before = notebook.picture()
    page.locator(".pk-fold[aria-expanded=false]").first.click()
    notebook.until(lambda: series(notebook) >= 2, 8, "a study did not unfold")
    page.locator(".pk-series button[aria-pressed=false]").first.click()
    notebook.until(lambda: notebook.picture() != before, 8, "the picture of the other series did not come")
    assert notebook.count(2) is None, "the cell was over: nothing is proven"
    notebook.until(lambda: notebook.count(2) is not None, 30)
    # a filter is typed
    notebook.dashboard.get_by_placeholder("Filter").fill("US")
    notebook.until(lambda: page.locator(".pk-study").count() == 1)
    # and the service is stopped and started by a click
    for button, state in (("Stop", "stopped"), ("Start", "running")):
        notebook.dashboard.get_by_role("button", name=button, exact=True).click()
        notebook.dashboard.get_by_text(f"DICOM Listener {state}").wait_for()


def test_without_anywidget_core_widgets_take_over_and_say_why(page: Page, address: str, folder: Path) -> None:
    page.route("**/anywidget/**", lambda route: route.abort())
    write(folder / "plain.ipynb", SETUP, SEND)
    notebook = Notebook(page, address, "plain.ipynb")
    notebook.run(0)
    notebook.dashboard.get_by_text("does not have anywidget").wait_for(timeout=30_000)
    notebook.run(1)
    notebook.until(lambda: page.locator(".pk-study").count() == 2)
    notebook.until(notebook.picture, otherwise="no picture in the core widget")
    before = notebook.picture()
    notebook.dashboard.get_by_role("slider").press("End")
    notebook.until(lambda: notebook.picture() != before, otherwise="the slider did not change the image")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [700, 1400])
def test_look(chromium: Browser, address: str, folder: Path, artifacts: Path, width: int, dark: bool) -> None:
    """Nothing is wider than its container, and text has contrast, at both widths and in both themes."""
    name = f"look-{width}-{'dark' if dark else 'light'}"
    write(folder / f"{name}.ipynb", SETUP, SEND)
    page = chromium.new_page(viewport={"width": width + 190, "height": 1000})
    try:
        notebook = Notebook(page, address, f"{name}.ipynb", dark=dark)
        notebook.run(0)
        notebook.run(1)
        notebook.until(lambda: page.locator(".pk-study").count() == 2)
        notebook.until(notebook.picture)
        page.set_viewport_size({"width": width + 190, "height": 1400})
        page.wait_for_timeout(300)
        page.screenshot(path=artifacts / f"{name}.png")
        wide = page.evaluate(TOO_WIDE)
        assert wide == []
        assert page.evaluate(CONTRAST) >= 4.5
    finally:
        page.close()


TOO_WIDE = """() => { const root = document.querySelector('.pk-dashboard'); const edge = root.getBoundingClientRect();
  const found = [...root.querySelectorAll('*')].filter(e => { const r = e.getBoundingClientRect();
    return r.width && (r.right > edge.right + 1 || r.left < edge.left - 1); });
  const scrolled = [...root.querySelectorAll('.pk-scroll, .pk-strip, .pk-controls')].filter(
    e => e.scrollWidth > e.clientWidth + 1);
  return [...found, ...scrolled].map(e => e.tagName + '.' + e.className); }"""

CONTRAST = """() => { const lum = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => { x /= 255;
    return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)' && c !== 'transparent' && !c.startsWith('color')) return c; } return 'rgb(255,255,255)'; };
  return Math.min(...[...document.querySelectorAll('.pk-table td, .pk-table th, .pk-fact')].map(e => {
    const [a, b] = [lum(getComputedStyle(e).color), lum(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05); })); }"""
