"""How a part of a page looks and whether everybody can use it: measured in the page, said so that a test can fail.

Each takes the selector of the part, as '.pk-settings', and fails where nothing on the page answers to it: what is
not there looks fine.

    assert looks.too_wide(page, PANEL) == []
    assert looks.cut_off(page, PANEL) == []
    assert len(looks.left_edges(page, PANEL + " label")) == 2  # two columns
    before = looks.positions(page, PANEL + " .pk-field", PANEL)
    ...  # an error appears
    assert looks.positions(page, PANEL + " .pk-field", PANEL) == before
    assert looks.contrast(page, PANEL) >= 4.5
    assert looks.axe(page, PANEL) == []
    looks.screenshot(page, artifacts, "settings", PANEL)
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parents[2] / ".venv" / "axe" / "axe_playwright_python" / "axe.min.js"
ON_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
TALLEST = 8000
"""Pixels of a screenshot."""

# Every measurement below has these at hand.
COMMON = """
const seen = (e) => { const r = e.getBoundingClientRect();  // 1 px: there for screen readers alone
    return r.width > 1 && r.height > 1 && e.checkVisibility({visibilityProperty: true, opacityProperty: true}); };
const roots = (selector) => { const found = [...document.querySelectorAll(selector)].filter(seen);
    if (!found.length) throw new Error(`nothing to be seen on the page is ${selector}`); return found; };
const within = (selector) => [...new Set(roots(selector).flatMap(r => [r, ...r.querySelectorAll('*')]))].filter(seen);
const own = (e) => [...e.childNodes].filter(n => n.nodeType === Node.TEXT_NODE && words(n.textContent));
const words = (text) => (text || '').replace(/[\\s\\u200b]+/g, ' ').trim();
const name = (e) => { const text = words(e.innerText || e.value).slice(0, 40);
    return e.tagName.toLowerCase() + [...e.classList].map(c => '.' + c).join('') + (text ? ` '${text}'` : ''); };
"""

TOO_WIDE = """([selector, but]) => {
const spared = (e) => but && e.closest(but);
const scrolls = (e) => { const css = getComputedStyle(e);
    return e instanceof HTMLElement && css.display !== 'inline' && !e.matches('input, select, option')
        && !(css.textOverflow === 'ellipsis' && css.overflowX !== 'visible') && e.clientWidth
        && e.scrollWidth > e.clientWidth + 1; };
// A parent overflows with its child, so only the innermost of the elements that overflow is named.
const found = new Map();
for (const root of roots(selector)) {
    const edge = root.getBoundingClientRect(), elements = within(selector).filter(e => root.contains(e) && !spared(e));
    const overflow = elements.filter(scrolls);
    for (const e of overflow) if (!overflow.some(o => o !== e && e.contains(o)))
        found.set(e, `is scrolled or overflows: ${e.scrollWidth} px in ${e.clientWidth}`);
    for (const e of elements) {
        const r = e.getBoundingClientRect(), parent = e.parentElement?.getBoundingClientRect();
        if (r.right > edge.right + 1 || r.left < edge.left - 1)
            found.set(e, `sticks out: ${Math.round(r.left)}…${Math.round(r.right)} of ${Math.round(edge.left)}…${Math.round(edge.right)}`);
        else if (e !== root && parent.width && /static|relative/.test(getComputedStyle(e).position) && r.width > parent.width + 1 && getComputedStyle(e.parentElement).display !== 'inline')
            found.set(e, `is wider than its parent: ${Math.round(r.width)} of ${Math.round(parent.width)} px`);
    }
    const around = root.parentElement?.getBoundingClientRect();
    if (around?.width && (edge.right > around.right + 1 || edge.left < around.left - 1))
        found.set(root, `sticks out of what holds it: ${Math.round(edge.width)} of ${Math.round(around.width)} px`);
}
return [...found].map(([e, why]) => `${name(e)} ${why}`); }"""

CUT_OFF = """(selector) => within(selector).filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).textOverflow === 'ellipsis' && getComputedStyle(e).overflowX !== 'visible' && !e.matches('input, select')).map(name)"""

LEFT_EDGES = """(selector) => roots(selector).filter(e => !e.textContent || words(e.textContent)).map(e => {
    const lines = (node) => { const range = document.createRange(); range.selectNodeContents(node); return [...range.getClientRects()]; };
    const walker = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), texts = [];
    while (walker.nextNode()) if (words(walker.currentNode.textContent)) texts.push(walker.currentNode);
    const edges = texts.flatMap(lines).filter(r => r.width).map(r => r.left);
    return edges.length ? Math.min(...edges) : e.getBoundingClientRect().left; })"""

POSITIONS = """([selector, root]) => {
const label = (e) => { const by = (e.getAttribute('aria-labelledby') || '').split(' ').map(id => document.getElementById(id)?.textContent).join(' ');
    const inner = [...e.querySelectorAll('label, legend, .widget-label, [aria-label]')];
    const text = (x) => words(x.textContent) || words(x.getAttribute('aria-label'));
    return words(e.getAttribute('aria-label')) || words(by) || words([...(e.labels || [])].map(l => l.textContent).join(' ')) || inner.map(text).find(t => t)
        || words(e.getAttribute('name')) || words(own(e).map(n => n.textContent).join(' ')) || [...e.classList].join('.') || e.tagName.toLowerCase(); };
let x = 0, y = 0;
if (root) { const r = roots(root)[0].getBoundingClientRect(); [x, y] = [r.left, r.top]; }
const place = (e) => { const r = e.getBoundingClientRect(); let [left, top] = [r.left - x, r.top - y];
    // Without a root: what was scrolled meanwhile does not count.
    if (!root) for (let p = e.parentElement; p; p = p.parentElement) { left += p.scrollLeft; top += p.scrollTop; }
    return [Math.round(left), Math.round(top)]; };
return roots(selector).map(e => [label(e), place(e)]); }"""

CONTRAST = """([selector, signs]) => {
const brush = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
const numbers = (text) => text.trim().split(/[\\s,\\/]+/).map(n => n === 'none' ? 0 : n.endsWith('%') ? parseFloat(n) / 100 : parseFloat(n));
const parsed = (css) => {  // red, green, blue in 0…1, alpha
    let inner;
    if ((inner = css.match(/^rgba?\\((.*)\\)$/))) { const [r, g, b, a = 1] = numbers(inner[1]); return [r / 255, g / 255, b / 255, a]; }
    if ((inner = css.match(/^color\\(srgb (.*)\\)$/))) { const [r, g, b, a = 1] = numbers(inner[1]); return [r, g, b, a]; }
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = css; brush.fillRect(0, 0, 1, 1);  // lab, oklch, display-p3 …
    return [...brush.getImageData(0, 0, 1, 1).data].map(v => v / 255); };
const mix = (below, above, share) => below.map((v, i) => v * (1 - share) + above[i] * share);
const over = (below, colour) => mix(below, colour, colour[3]);
const painted = (chain, below, ink) => {  // [ground, ink] as seen, from the outermost element inwards
    const css = getComputedStyle(chain[0]);
    const ground = over(below, parsed(css.backgroundColor));
    const pair = chain.length > 1 ? painted(chain.slice(1), ground, ink) : [ground, over(ground, ink)];
    return pair.map(c => mix(below, c, parseFloat(css.opacity))); };
const light = (c) => { const v = c.slice(0, 3).map(x => Math.min(Math.max(x, 0), 1)).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
const hex = (c) => '#' + c.slice(0, 3).map(x => Math.round(Math.min(Math.max(x, 0), 1) * 255).toString(16).padStart(2, '0')).join('');
const typed = 'input:not([type=checkbox], [type=radio], [type=range], [type=color], [type=file], [type=image]), textarea, select';
const ink = (e) => {
    if (!e.matches(typed) && !own(e).length) return null;
    const hint = e.matches('input, textarea') && !e.value;
    const text = e.matches('select') ? e.selectedOptions[0]?.text : hint ? e.placeholder : e.value || own(e).map(n => n.textContent).join('');
    if (!words(text) || /[\\p{L}\\p{N}]/u.test(text) === signs) return null;
    const css = getComputedStyle(e, hint ? '::placeholder' : null);
    const colour = parsed(e instanceof SVGElement ? css.fill : css.webkitTextFillColor || css.color);
    if (hint) colour[3] *= parseFloat(css.opacity);
    return colour; };
const found = [];
for (const e of within(selector)) {
    if (e.matches(':disabled, :disabled *, [aria-disabled=true], [aria-disabled=true] *, option, style, script')) continue;
    const colour = ink(e), chain = [];
    if (!colour) continue;
    for (let p = e; p; p = p.parentElement) chain.unshift(p);
    const [ground, text] = painted(chain, [1, 1, 1, 1], colour);
    const [a, b] = [light(ground), light(text)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), `${hex(text)} on ${hex(ground)}: ${name(e)}`]);
}
if (!found.length) throw new Error(`no ${signs ? 'sign' : 'text'} is to be seen in ${selector}`);
return found.reduce((worst, one) => one[0] < worst[0] ? one : worst); }"""

# The element's place, and how many pixels of its height are cut off by the window or by what it is scrolled in.
BOX = """(selector) => { const e = roots(selector)[0]; e.scrollIntoView({block: 'center', behavior: 'instant'});
const r = e.getBoundingClientRect(); let top = Math.max(r.top, 0), bottom = Math.min(r.bottom, window.innerHeight);
for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowY !== 'visible') {
    const q = p.getBoundingClientRect(); top = Math.max(top, q.top); bottom = Math.min(bottom, q.bottom); }
return [{x: r.x, y: r.y, width: r.width, height: r.height}, r.height - Math.max(bottom - top, 0)]; }"""

RUN_AXE = """([selector, without]) => { const rules = Object.fromEntries(without.map(rule => [rule, {enabled: false}]));
    return axe.run({include: roots(selector)}, {resultTypes: ['violations'], iframes: false, rules}).then(result => result.violations); }"""


class Contrast(float):
    """A contrast that says where it is when a test fails for it."""

    where: str

    def __new__(cls, ratio: float, where: str) -> Contrast:
        made = super().__new__(cls, ratio)
        made.where = where
        return made

    def __repr__(self) -> str:
        return f"{float(self):.2f} ({self.where})"


def too_wide(page: Page, selector: str, but: str = "") -> list[str]:
    """What is wider than what holds it, sticks out of the part sideways, or would have to be scrolled sideways.

    What a field holds may be longer than the field; so may text that ends in an ellipsis by design. `but` is the
    selector of elements that are left out with all in them, as a table that is meant to scroll.
    """
    found: list[str] = _measure(page, TOO_WIDE, [selector, but])
    return found


def cut_off(page: Page, selector: str) -> list[str]:
    """Whose text ends in an ellipsis, for want of room: as a label or a button of ipywidgets does."""
    found: list[str] = _measure(page, CUT_OFF, selector)
    return found


def left_edges(page: Page, selector: str) -> list[int]:
    """Where the visible labels' text begins, from left to right: one number a column. Within 1 px is the same."""
    edges: list[int] = []
    last = float("-inf")
    for edge in sorted(_measure(page, LEFT_EDGES, selector)):
        if edge - last > 1:
            edges.append(round(edge))
            last = edge
    return edges


def positions(page: Page, selector: str, root: str = "") -> dict[str, tuple[int, int]]:
    """The visible fields' corners (left, top) by their label, name, text or class; "… (2)" is a second of the same.

    Measured from the corner of `root`; without it from the page's, as if nothing were scrolled.
    """
    found: dict[str, tuple[int, int]] = {}
    count: Counter[str] = Counter()
    for label, (x, y) in _measure(page, POSITIONS, [selector, root]):
        count[label] += 1
        found[f"{label} ({count[label]})" if count[label] > 1 else label] = (x, y)
    return found


def contrast(page: Page, selector: str, *, signs: bool = False) -> Contrast:
    """The worst contrast of visible text and its ground, as WCAG counts it: 4.5 is enough for every size.

    What holds neither letter nor digit, as ● or ▾, is no text but a sign, for which 3 is enough: `signs` measures
    those instead. Grounds that shine through are laid over each other, opacity included. What is disabled does not
    count. A ground that is a gradient, a picture or no ancestor (something positioned over it) is not seen.
    """
    ratio, where = _measure(page, CONTRAST, [selector, signs])
    return Contrast(ratio, where)


def screenshot(page: Page, artifacts: Path, name: str, selector: str, margin: int = 16) -> Path:
    """A picture of the whole element and a margin, `artifacts/NAME.png`; also of one taller than the window."""
    size = page.viewport_size
    assert size is not None
    try:
        for _attempt in range(4):
            box, hidden = _measure(page, BOX, selector)
            if hidden <= 1:
                break
            height = min(page.viewport_size["height"] + math.ceil(hidden) + 2 * margin, TALLEST)
            page.set_viewport_size({"width": size["width"], "height": height})
            page.wait_for_timeout(200)  # what holds it gets its new size
        left, top = max(box["x"] - margin, 0), max(box["y"] - margin, 0)
        right, bottom = box["x"] + box["width"] + margin, box["y"] + box["height"] + margin
        right, bottom = min(right, size["width"]), min(bottom, page.viewport_size["height"])
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        path = artifacts / f"{name}.png"
        page.screenshot(path=path, clip=clip, animations="disabled")
        return path
    finally:
        page.set_viewport_size(size)


def axe(page: Page, selector: str, without: Iterable[str] = ()) -> list[str]:
    """What axe-core calls a serious or critical fault: "rule: what is wrong – target html". `without`: rules' ids.

    The test is skipped where axe-core is missing, and fails where CI=true.
    """
    if reason := why_no_axe():
        (pytest.fail if ON_CI else pytest.skip)(reason)
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe_script())
    return [
        f"{fault['id']}: {fault['help']} – {' '.join(map(str, node['target']))} {node['html'][:200]}"
        for fault in _measure(page, RUN_AXE, [selector, list(without)])
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def why_no_axe() -> str:
    """Why there is no axe-core; an empty string where it is."""
    return "" if AXE.is_file() else "axe-core is missing: python3 tools/axe.py"


@cache
def _axe_script() -> str:
    return AXE.read_text("utf-8")


def _measure(page: Page, script: str, argument: Any) -> Any:
    return page.evaluate(f"(argument) => {{ {COMMON}\nreturn ({script})(argument); }}", argument)
