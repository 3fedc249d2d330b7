"""Import in the dashboard: a path, how its files are taken, how far it is, what was skipped and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pacskit.archive.import_report import HOWS, How, ImportProgress, ImportReport
from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.buttons import button
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.errand import Errand
from pacskit.widgets.private import Heard

NAMED, REASONS = 4, 12
"""Skipped files that are listed for one reason, and reasons."""
WAYS: Mapping[How, tuple[str, str]] = {
    "copy": ("Copy", "The archive gets copies; your files stay as they are."),
    "link": (
        "Link",
        "Hard links where the disk can, copies elsewhere: a file changed later changes here too.",
    ),
    "in-place": ("In place", "Only listed here: your files are never touched, and must stay where they are."),
}


class ImportBox:
    """`ask("import")` has `draw()` called soon, by the one thread that writes widgets."""

    def __init__(
        self, station: Station, ask: Callable[[str], None], heard: Heard, ready: Callable[[], None]
    ) -> None:
        self._station, self._ask = station, ask
        self.open = False
        self.how: How = "copy"
        self.path = ""
        self.report: ImportReport | None = None
        self._progress: ImportProgress | None = None
        self._hint = ""
        self.errand = Errand(lambda: ask("actions"))
        self.form, self.told = Carrier(heard, ready), Carrier(heard, ready)

    def act(self, key: str, values: Mapping[str, Any]) -> bool:
        """What a click does; False when it means nothing here."""
        verb, _, what = key.partition(":")
        if verb == "how" and what in HOWS and not self.errand.busy:
            self.how = what
        elif verb == "import":
            self._begin(str(values.get("path", self.path)).strip())
        elif verb == "import-cancel":
            self.errand.cancel.set()
        else:
            return False
        return True

    def _begin(self, path: str) -> None:
        if self.errand.busy:
            return
        self.path = path
        self._hint = "" if path else "Enter a file or a folder of the computer that this notebook runs on."
        if path:
            self.report, self._progress = None, None
            self.errand.begin(self._run)

    def _run(self) -> None:
        self.report = self._station.import_paths(
            [self.path], self.how, progress=self._far, cancel=self.errand.cancel
        )

    def _far(self, progress: ImportProgress) -> None:
        self._progress = replace(progress, path=None)
        self._ask("import")

    def draw(self, mask: bool) -> None:
        self.form.show(self._form() if self.open else "")
        self.told.show(self._told(mask) if self.open or self.errand.busy else "")

    def _form(self) -> str:
        busy = self.errand.busy
        ways = "".join(
            f'<label><input type="radio" name="pk-how" data-key="how:{how}" data-focus="how:{how}"'
            f"{' disabled' if busy else ''}{' checked' if how == self.how else ''}> {label}</label>"
            for how, (label, _) in WAYS.items()
        )
        cancelling = busy and self.errand.cancel.is_set()
        cancel = button(
            "import-cancel:", "Cancelling …" if cancelling else "Cancel", off=not busy or cancelling
        )
        return (
            '<div class="pk-box" role="group" aria-label="Import"><div class="pk-line">'
            '<label class="pk-path">File or folder <input type="text" data-value="path" data-focus="path" '
            f'data-enter="import:" spellcheck="false" value="{words.text(self.path)}"'
            f"{' readonly' if busy else ''}></label>"
            f"{button('import:', 'Import', look='pk-primary', off=busy)}{cancel}</div>"
            f'<div class="pk-line" role="radiogroup" aria-label="How">{ways}'
            f'<span class="pk-quiet">{WAYS[self.how][1]}</span></div></div>'
        )

    def _told(self, mask: bool) -> str:
        if self.errand.busy:
            return self._under_way()
        if self._hint or self.errand.failure:
            return (
                f'<div class="pk-alert" role="alert">▲ {words.text(self._hint or self.errand.failure)}</div>'
            )
        if self.report is None:
            return ""
        lines = _skipped(self.report, Path(self.path).expanduser(), mask)
        look = "pk-done" if self.report.stored or self.report.here else "pk-alert"
        return (
            f'<div class="{look}"><div role="status">{words.text(_sentence(self.report))}</div>'
            + (
                f'<ul class="pk-skipped" tabindex="0" aria-label="Skipped files">{lines}</ul>'
                if lines
                else ""
            )
            + "</div>"
        )

    def _under_way(self) -> str:
        far = self._progress
        if far is None:
            return '<div class="pk-line"><progress aria-label="Import"></progress> <span>…</span></div>'
        done = f'value="{far.done}" max="{max(far.total, 1)}"' if far.walked else ""
        return (
            f'<div class="pk-line"><progress aria-label="Import" {done}></progress> '
            f"<span>{words.text(far)}</span></div>"
        )


def _skipped(report: ImportReport, below: Path, mask: bool) -> str:
    """Lines: each reason once, with some of the files; their names may be patients'."""
    by_reason: dict[str, list[Path]] = {}
    for path, reason in report.skipped:
        by_reason.setdefault(reason, []).append(path)
    lines = []
    for reason, paths in list(by_reason.items())[:REASONS]:
        named = [str(path.relative_to(below) if path.is_relative_to(below) else path) for path in paths]
        names = "" if mask else words.text(", ".join(name for name in named[:NAMED] if name != "."))
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        told = words.MASK if mask else words.text(reason)
        lines.append(f'<li>{len(paths)} × {told} <span class="pk-quiet">{names}{more}</span></li>')
    if len(by_reason) > REASONS or any(len(paths) > NAMED for paths in by_reason.values()):
        lines.append("<li>All of them: <code>station.dashboard.imported.table()</code></li>")
    return "".join(lines)


def _sentence(report: ImportReport) -> str:
    text = str(report)
    return f"{text[0].upper()}{text[1:]}."
