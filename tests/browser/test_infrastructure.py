"""The browser tests' own tools: each measurement sees what was planted, and only that; a kernel of another user."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import looks
import pytest
from driven_lab import SECOND, Notebook, environ, write
from playwright.sync_api import Error, Page

from tests.second_user import SecondUser

STYLE = """<style>body { margin: 20px; font: 14px sans-serif } #panel { width: 400px; background: #fff; color: #222 }
.row { display: grid; grid-template-columns: 120px 1fr; gap: 8px } input { min-width: 0; width: 100%; box-sizing: border-box }
.cut { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }</style>"""


def show(page: Page, body: str, more: str = "") -> None:
    page.set_content(
        f'<!doctype html><html lang="en"><title>t</title>{STYLE}<main><div id="panel" {more}>{body}</div></main></html>'
    )


GOOD = """<div class="row"><label for="a">AE title</label><input id="a" value="PACSKIT"></div>
<div class="row"><label for="b">Port:</label><input id="b" value="11112"></div><p class="said">All is saved.</p>"""
LONG = "/a/very/long/path/that/cannot/be/broken/" + "x" * 80


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        f'<div class="row"><label for="c">Folder</label><input id="c" value="{LONG}"></div>',  # the field scrolls
        f'<div class="cut">{LONG}</div>',
        f'<p style="overflow-wrap: anywhere">{LONG}</p>',
        '<div style="display: none; width: 900px">hidden</div>seen',
        '<span style="position: absolute; width: 1px; height: 1px; left: -99px; overflow: hidden">for readers</span>ok',
    ],
)
def test_nothing_is_too_wide(page: Page, body: str) -> None:
    show(page, body)
    assert looks.too_wide(page, "#panel") == []


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (f"<p class='long'>{LONG}</p>", "p.long '/a/very.*' is scrolled or overflows"),
        (f"<b class='long'>{LONG}</b>", "b.long .* sticks out"),
        ("<div class='wide' style='width: 420px'>wide</div>", "div.wide 'wide' sticks out: 20…440 of 20…420"),
        ("<div class='left' style='margin-left: -9px'>left</div>", "div.left 'left' sticks out"),
        (f"<div class='scroll' style='overflow: auto'>{LONG}</div>", "div.scroll .* is scrolled"),
        (f"<div class='clip' style='overflow: hidden'>{LONG}</div>", "div.clip .* is scrolled or overflows"),
        ("<div style='width: 90px'><input class='f' style='width: 120px'></div>", r"input.f is wider than its parent: 120 of 90 px|div .*overflows: 120 px in 90"),
        ("<div class='col' style='width: 90px'><button>A label too long for this</button></div>", "div.col .*overflows"),
    ],
)  # fmt: skip
def test_too_wide_is_seen(page: Page, body: str, seen: str) -> None:
    body = body.replace("<button>", "<button style='white-space: nowrap'>")
    show(page, f"{GOOD}{body}")
    found = looks.too_wide(page, "#panel")
    assert any(re.match(seen, line) for line in found), found
    assert not [
        line for line in found if "AE title" in line and not line.startswith("div#panel") and "row" in line
    ], found


def test_cut_off(page: Page) -> None:
    show(
        page,
        f"{GOOD}<div class='cut'>fits</div><b class='cut tight' style='display: block; width: 30px'>does not fit</b>",
    )
    assert looks.cut_off(page, "#panel") == ["b.cut.tight 'does not fit'"]
    assert looks.too_wide(page, "#panel") == []


def test_a_part_that_sticks_out_of_the_page_is_seen_and_what_is_meant_is_spared(page: Page) -> None:
    page.set_content(f'{STYLE}<div style="width: 300px"><div id="panel">text</div></div>')
    assert looks.too_wide(page, "#panel") == ["div 'text' sticks out of what holds it: 400 of 300 px"]
    show(page, f'<div class="log" style="overflow: auto"><pre>{LONG}</pre></div>')
    assert looks.too_wide(page, "#panel")
    assert looks.too_wide(page, "#panel", but=".log") == []


@pytest.mark.parametrize(
    "measure",
    [looks.too_wide, looks.cut_off, looks.left_edges, looks.positions, looks.contrast, looks.axe, lambda page, part: looks.screenshot(page, Path(), "x", part)],
)  # fmt: skip
def test_a_part_that_is_not_there_is_no_success(page: Page, measure) -> None:
    show(page, "<p hidden class='hidden'>hidden</p>text")
    for part in (".missing", ".hidden"):
        with pytest.raises(Error, match="nothing to be seen"):
            measure(page, part)


def test_left_edges(page: Page) -> None:
    show(page, GOOD + "<label style='display: none; margin-left: 40px'>hidden</label>")
    assert looks.left_edges(page, "#panel label") == [20]
    show(page, f"<div style='columns: 2; column-gap: 0'>{GOOD}{GOOD}</div>")
    assert looks.left_edges(page, "#panel label") == [20, 220]
    show(
        page,
        GOOD
        + "<label style='margin-left: 0.4px'>a rounding</label><label style='padding-left: 7px; display: block'>shifted</label>",
    )
    assert looks.left_edges(page, "#panel label") == [20, 27]
    show(page, '<label style="display: inline-block; width: 100px; text-align: right">AE</label>')
    assert 90 < looks.left_edges(page, "#panel label")[0] < 120, "of the text, not of the box"


def test_positions(page: Page) -> None:
    error = '<p class="error" style="display: none">Not a port.</p>'
    show(page, GOOD.replace('<div class="row"><label for="b">', f'{error}<div class="row"><label for="b">'))
    before = looks.positions(page, "#panel input", "#panel")
    assert list(before) == ["AE title", "Port:"]
    assert before["AE title"] == (128, 0)
    # scrolling is no move
    page.evaluate("() => { document.body.style.height = '5000px'; }")
    free = looks.positions(page, "#panel input")
    page.evaluate("() => window.scrollTo(0, 30)")
    assert looks.positions(page, "#panel input") == free
    assert looks.positions(page, "#panel input", "#panel") == before
    # an error that pushes is one
    page.evaluate("() => { document.querySelector('.error').style.display = 'block'; }")
    after = looks.positions(page, "#panel input", "#panel")
    assert after["AE title"] == before["AE title"]
    assert after["Port:"][1] > before["Port:"][1]


def test_positions_are_kept_apart_by_label_name_text_or_class(page: Page) -> None:
    show(page, """<div class="f"><label>Port</label></div><div class="f"><label>Port</label></div><div class="f">Save</div>
    <div class="f only">&nbsp;</div><div class="f" aria-label="Named"></div><div class="f"><input aria-label="Inner"></div>
    <style>.f { height: 10px }</style>""")  # fmt: skip
    assert list(looks.positions(page, ".f")) == ["Port", "Port (2)", "Save", "f.only", "Named", "Inner"]


@pytest.mark.parametrize(
    ("body", "ratio"),
    [
        ("<p style='color: #000; background: #fff'>text</p>", 21),
        ("<p style='color: #767676; background: #fff'>text</p>", 4.54),
        ("<p style='color: #fff; background: #fff'>text</p>", 1),
        ("<p style='color: rgb(0 0 0 / 50%)'>text</p>", 3.95),
        ("<p style='color: #000; opacity: .5'>text</p>", 3.95),
        ("<div style='background: rgb(0 0 0 / 50%)'><p style='color: #000'>text</p></div>", 5.28),
        ("<div style='background: #000; opacity: .5'><p style='color: #fff'>text</p></div>", 3.95),
        ("<p style='color: #000; background: color-mix(in srgb, #000 50%, transparent)'>text</p>", 5.28),
        (
            "<p style='color: color-mix(in srgb, #000 50%, #fff); background: color(srgb 1 1 1)'>text</p>",
            3.98,
        ),
        ("<p style='color: oklch(0 0 0); background: color(display-p3 1 1 1)'>text</p>", 21),
        ("<input style='color: #767676; background: #fff' value='text'>", 4.54),
        (
            "<style>::placeholder { color: #000; opacity: .5 }</style><input aria-label='x' placeholder='text'>",
            3.95,
        ),
        ("<select style='color: #767676; background: #fff'><option>text</select>", 4.54),
        ("<svg height='20'><text y='15' style='fill: #767676'>text</text></svg>", 4.54),
        # not seen, or not asked for
        ("<p>text</p><p hidden style='color: #fff'>text</p>", 15.91),
        ("<p>text</p><p style='color: #fff; visibility: hidden'>text</p>", 15.91),
        ("<p>text</p><button disabled style='color: #fff; background: #fff'>text</button>", 15.91),
        ("<p>text</p><div style='color: #fff'> <input type='checkbox'> </div>", 15.91),
    ],
)
def test_contrast(page: Page, body: str, ratio: float) -> None:
    show(page, body)
    assert looks.contrast(page, "#panel") == pytest.approx(ratio, abs=0.03)


def test_the_worst_contrast_says_where(page: Page) -> None:
    show(page, GOOD + "<p class='pale' style='color: #999'>pale words</p>")
    found = looks.contrast(page, "#panel")
    assert found < 4.5
    assert repr(found) == "2.85 (#999999 on #ffffff: p.pale 'pale words')"
    show(page, "<p>words</p><b style='color: #767676'>●</b>")
    assert looks.contrast(page, "#panel") > 15
    assert looks.contrast(page, "#panel", signs=True) == pytest.approx(4.54, abs=0.03)
    show(page, "<input aria-label='empty'>")
    with pytest.raises(Error, match="no text"):
        looks.contrast(page, "#panel")


def size_of(png: Path) -> tuple[int, int]:
    return struct.unpack(">II", png.read_bytes()[16:24])


def test_screenshot(page: Page, tmp_path: Path) -> None:
    show(page, "one", "style='height: 50px; margin: 100px'")
    assert size_of(looks.screenshot(page, tmp_path, "small", "#panel")) == (432, 82)
    # taller than the window, in something of its own that scrolls
    page.set_content('<body style="margin: 0"><div style="height: 100vh; overflow: auto"><p>before</p>'
                     '<div id="panel" style="height: 3000px; margin: 20px; background: linear-gradient(red, blue)">tall</div></div>')  # fmt: skip
    width, height = size_of(looks.screenshot(page, tmp_path, "tall", "#panel"))
    assert height == 3032
    assert width == 1600 - 40 + 32
    assert page.viewport_size == {"width": 1600, "height": 1100}


def test_axe(page: Page) -> None:
    show(page, GOOD)
    assert looks.axe(page, "#panel") == []
    show(page, "<input class='bare'><button class='empty'></button><p style='color: #bbb'>pale</p>")
    found = looks.axe(page, "#panel")
    assert sorted(line.split(":")[0] for line in found) == ["button-name", "color-contrast", "label"]
    assert any("input" in line and 'class="bare"' in line for line in found), found
    assert [
        line.split(":")[0] for line in looks.axe(page, "#panel", without=["label", "color-contrast"])
    ] == ["button-name"]
    # what lies beside the part does not count
    page.evaluate("() => document.body.append(document.querySelector('.bare'))")
    assert "label" not in {line.split(":")[0] for line in looks.axe(page, "#panel")}


@pytest.mark.parametrize("on_ci", [False, True])
def test_without_axe(page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_ci: bool) -> None:
    monkeypatch.setattr(looks, "AXE", tmp_path / "axe.min.js")
    monkeypatch.setattr(looks, "ON_CI", on_ci)
    with pytest.raises(pytest.fail.Exception if on_ci else pytest.skip.Exception, match="python3 tools"):
        looks.axe(page, "#panel")


FORM = """
import ipywidgets as w
style, layout = {"description_width": "140px"}, w.Layout(width="360px")
fields = [w.Text("PACSKIT", description="AE title"), w.IntText(11112, description="Port"), w.Dropdown(options=["a", "b"], description="Choice"),
          w.Checkbox(description="Accept unknown callers", indent=False), w.Textarea("text", description="Words")]
for field in fields:
    field.style, field.layout = style, layout
form = w.VBox([*fields, w.Button(description="Save")])
form.add_class("pk-form")
form
"""


def test_looks_of_core_widgets_in_the_lab(page: Page, address: str, folder: Path, artifacts: Path) -> None:
    """What ipywidgets do by design is no fault."""
    write(folder / "form.ipynb", FORM)
    notebook = Notebook(page, address, "form.ipynb")
    notebook.run(0)
    page.locator(".pk-form button").wait_for()
    assert looks.too_wide(page, ".pk-form") == []
    assert looks.cut_off(page, ".pk-form") == []
    assert looks.contrast(page, ".pk-form") >= 4.5
    places = looks.positions(page, ".pk-form .widget-inline-hbox", ".pk-form")
    assert list(places) == ["AE title", "Port", "Choice", "Accept unknown callers", "Words"]
    assert len(looks.left_edges(page, ".pk-form .widget-label")) > 1, (
        "core widgets align their labels on the right"
    )
    assert looks.axe(page, ".pk-form") == []
    looks.screenshot(page, artifacts, "form", ".pk-form")
    # and what is wrong is seen here, too
    page.add_style_tag(
        content=".pk-form .widget-text { width: 120% !important } .pk-form .jupyter-button { width: 2em !important; padding: 0 4px; color: #aaa }"
    )
    assert any("widget-text" in line for line in looks.too_wide(page, ".pk-form"))
    assert [line.split()[-1] for line in looks.cut_off(page, ".pk-form")] == ["'Save'"]
    assert "'Save'" in looks.contrast(page, ".pk-form").where
    notebook.end()


WHO = "import os\nprint(os.geteuid(), os.environ['PACSKIT_SITE'], os.environ['PACSKIT_HOME'])"
TRY = """
import pacskit, pathlib
print(pathlib.Path(os.environ["PACSKIT_SITE"]).read_text())
for path in (os.environ["PACSKIT_SITE"], os.path.join(os.environ["PACSKIT_HOME"], "mine")):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a") as file:
            print("writes", file.fileno() > 0)
    except PermissionError:
        print("is refused")
"""
WIDGETS = """
import ipywidgets
button, label = ipywidgets.Button(description="Who?"), ipywidgets.Label("nobody asked")
button.on_click(lambda _: setattr(label, "value", f"user {os.geteuid()} was asked"))
ipywidgets.VBox([button, label])
"""


def test_a_kernel_of_the_second_user(page: Page, address: str, folder: Path, second: SecondUser) -> None:
    site, home = second.shared() / "site.toml", second.folder()
    site.write_text("# the site's")
    write(
        folder / "second.ipynb",
        environ(PACSKIT_SITE=site, PACSKIT_HOME=home),
        WHO,
        TRY,
        WIDGETS,
        kernel=SECOND,
    )
    notebook = Notebook(page, address, "second.ipynb")
    for cell in range(4):
        notebook.run(cell)
    assert notebook.text(1).split() == [str(second.uid), str(site), str(home)]
    assert notebook.text(2).splitlines() == ["# the site's", "is refused", "writes True"]
    assert (home / "mine").stat().st_uid == second.uid
    page.get_by_role("button", name="Who?").click()
    page.get_by_text(f"user {second.uid} was asked").wait_for()
    notebook.end()


def test_both_kernels_have_the_same_site_and_homes_of_their_own(
    page: Page, address: str, folder: Path, site: Path, second: SecondUser
) -> None:
    said = []
    for kernel in ("python3", SECOND):
        write(folder / f"who-{kernel}.ipynb", WHO, kernel=kernel)
        notebook = Notebook(page, address, f"who-{kernel}.ipynb")
        notebook.run(0)
        said.append(notebook.text(0).split())
        notebook.end()
    (roots, ours, home), (others, theirs, other_home) = said
    assert (roots, others) == ("0", str(second.uid))
    assert ours == theirs == str(site)
    assert home != other_home
    assert other_home == str(second.home / "pacskit")


def test_a_cell_that_is_run_again_is_waited_for(page: Page, address: str, folder: Path) -> None:
    write(folder / "again.ipynb", "import time; time.sleep(1); print(time.monotonic())")
    notebook = Notebook(page, address, "again.ipynb")
    notebook.run(0)
    first = notebook.text(0)
    notebook.run(0)
    assert float(notebook.text(0)) >= float(first) + 1
    assert notebook.count(0) == 2
    notebook.end()
