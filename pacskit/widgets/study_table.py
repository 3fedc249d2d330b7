"""The study table: sorted, filtered, in pages; a study unfolds to its series.

What a person chose is kept here, the rows are asked for anew each time they change, and `html()` writes
them. Elements carry `data-key`, so that a click comes back as `act("sort:patient_name")`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from pacskit.archive.asides import aside_sentence
from pacskit.widgets import words
from pacskit.widgets.study_marks import Mark

ROWS = 10
"""Studies on a page."""

Ask = Callable[..., pd.DataFrame]
Marks = Callable[[Iterable[Mapping[str, Any]]], Mapping[str, Mark]]

# Column of studies(), heading, how wide the dashboard must be for it (1 always .. 5 only when very wide).
_COLUMNS = (
    ("patient_name", "Patient", 1),
    ("patient_id", "Patient ID", 3),
    ("study_date", "Study date", 1),
    ("study_description", "Description", 2),
    ("modalities", "Modality", 1),
    ("series", "Series", 5),
    ("instances", "Images", 1),
    ("bytes", "Size", 4),
    ("state", "State", 1),
    ("received_at", "Received", 1),
    ("received_from", "From", 4),
    ("checked", "Checked", 1),
)
_NUMBERS = {"series", "instances", "bytes"}
_MARKS = {"state", "checked"}
"""Not of the index's rows: asked for the page alone, so nothing is sorted by them."""
_SEARCHED = ("patient_name", "patient_id", "study_description", "modalities", "received_from")


class StudyTable:
    """`studies` and `table` are a station's own; `empty` is what to do while there is nothing."""

    def __init__(self, studies: Ask, table: Ask, marks: Marks, *, mask: Callable[[], bool] = bool) -> None:
        self._studies, self._table, self._marks_of, self._mask = studies, table, marks, mask
        self.sorted_by, self.descending = "received_at", True
        self.filter = ""
        self.page = 0
        self.unfolded: set[str] = set()
        self.selected = ""
        """The UID of the selected series, or nothing."""
        self._rows = pd.DataFrame()
        self._series: dict[str, list[dict[str, Any]]] = {}
        self.total = 0
        self.active = False
        """Whether a person may pick studies and mark them as checked."""
        self.picked: set[str] = set()
        self._marks: Mapping[str, Mark] = {}

    def load(self) -> None:
        """Ask the station anew; selects the newest study's first series where none is selected."""
        rows = self._studies()
        self.total = len(rows)
        if self.filter and self.total:
            rows = rows[self._matches(rows)]
        if len(rows):
            key = (lambda column: column.str.casefold()) if self._is_text(rows) else None
            rows = rows.sort_values(
                self.sorted_by, ascending=not self.descending, kind="stable", na_position="last", key=key
            )
        self._rows = rows
        self.page = max(0, min(self.page, self.pages - 1))
        if not self.selected and len(rows):
            newest = str(rows.sort_values("received_at")["study_uid"].iloc[-1])
            self.unfolded.add(newest)
            self._series[newest] = self._ask_series(newest)
            if first := self._series[newest]:
                self.selected = first[0]["series_uid"]
        here = set(rows["study_uid"]) if len(rows) else set()
        self._series = {uid: self._ask_series(uid) for uid in self.unfolded & here}
        self.picked &= here  # what cannot be seen is not picked

    def act(self, key: str) -> bool:
        """What a click on an element with this `data-key` does; False when it means nothing here."""
        verb, _, what = key.partition(":")
        if verb == "sort" and what in {column for column, _, _ in _COLUMNS} - _MARKS:
            self.descending = not self.descending if what == self.sorted_by else what in _NUMBERS
            self.sorted_by = what
        elif verb == "pick":
            self.picked ^= {what}
        elif verb == "pick-page":
            page = set(self._page()["study_uid"])
            self.picked = self.picked - page if page <= self.picked else self.picked | page
        elif verb == "page":
            self.page = max(0, min(self.page + int(what), self.pages - 1))
        elif verb == "unfold":
            self.unfolded ^= {what}
        elif verb == "select":
            self.selected = what
        else:
            return False
        return True

    @property
    def pages(self) -> int:
        return max(1, -(-len(self._rows) // ROWS))

    def _page(self) -> pd.DataFrame:
        return self._rows.iloc[self.page * ROWS : (self.page + 1) * ROWS]

    def picked_rows(self) -> pd.DataFrame:
        """Of the studies that are picked; one under two patients has two."""
        return self._rows[self._rows["study_uid"].isin(self.picked)] if len(self._rows) else self._rows

    @property
    def waits(self) -> bool:
        """Whether a study of the page still comes: it is told as stable a moment before that can be read."""
        return any(mark.state == "receiving" for mark in self._marks.values())

    def is_checked(self, study_uid: str) -> bool:
        """As the page shows it."""
        return study_uid in self._marks and self._marks[study_uid].checked

    def choices(self) -> list[tuple[str, str]]:
        """(label, series UID) of the unfolded studies: for front ends where the table cannot be clicked."""
        return [
            (f"{s['series_number']} {s['modality']} {s['series_description']}".strip(), s["series_uid"])
            for rows in self._series.values()
            for s in rows
        ]

    def html(self, empty: str) -> str:
        if not self.total:
            return f'<div class="pk-empty" role="status">{words.text(empty)}</div>'
        if not len(self._rows):
            return (
                f'<div class="pk-empty" role="status">None of {self.total} studies matches the filter.</div>'
            )
        start = self.page * ROWS
        page = _records(self._page())
        self._marks = self._marks_of(page)
        body = "".join(self._study(row) for row in page)
        return (
            '<div class="pk-scroll" data-scroll><table class="pk-table" aria-label="Studies"><thead><tr>'
            f"{self._pick_page(page)}{''.join(self._heading(*column) for column in _COLUMNS)}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>{self._foot(start, len(page))}"
        )

    def _pick_page(self, page: list[dict[str, Any]]) -> str:
        if not self.active:
            return ""
        ticked = {row["study_uid"] for row in page} <= self.picked
        return f'<th scope="col" class="pk-pick">{_box("pick-page:", "Select all on this page", ticked)}</th>'

    def _heading(self, column: str, label: str, wide: int) -> str:
        if column in _MARKS:
            shown = (
                label
                if column == "state"
                else f'<span title="{label}" aria-label="{label}" role="img">✓</span>'
            )
            return f'<th scope="col" class="pk-w{wide} pk-c-{column}">{shown}</th>'
        here = column == self.sorted_by
        order = ("descending" if self.descending else "ascending") if here else "none"
        arrow = ("▾" if self.descending else "▴") if here else ""
        return (
            f'<th scope="col" class="pk-w{wide}{_side(column)}" aria-sort="{order}">'
            f'<button type="button" data-key="sort:{column}" data-focus="sort:{column}">{label}'
            f' <span aria-hidden="true">{arrow}</span></button></th>'
        )

    def _study(self, row: dict[str, Any]) -> str:
        uid = words.text(row["study_uid"])
        unfolded = row["study_uid"] in self.unfolded
        fold = (
            f'<button type="button" class="pk-fold" data-key="unfold:{uid}" data-focus="unfold:{uid}" '
            f'aria-expanded="{str(unfolded).lower()}">'
            f'<span aria-hidden="true">{"▾" if unfolded else "▸"}</span>&nbsp;'
        )
        mark = self._marks.get(row["study_uid"], Mark("complete"))
        called = self._called(row)
        cells = []
        if self.active:
            box = _box(f"pick:{uid}", f"Select {called}", row["study_uid"] in self.picked)
            cells.append(f'<td class="pk-pick">{box}</td>')
        for column, _, wide in _COLUMNS:
            value = self._value(column, row[column]) if column not in _MARKS else mark.html()
            if column == "patient_name":
                conflict = _conflict(row["conflict"], mark.aside)
                below = self._value("patient_id", row["patient_id"])
                value = f"{fold}{value or '(no name)'}</button>{conflict}"
                value += f'<div class="pk-below pk-quiet">{below}{_below(row["study_description"])}</div>'
            elif column == "checked":
                value = self._check(uid, called, mark.checked)
            cells.append(f'<td class="pk-w{wide}{_side(column)} pk-c-{column}">{value}</td>')
        html = f'<tr class="pk-study">{"".join(cells)}</tr>'
        if unfolded:
            if row["conflict"]:
                html += (
                    f'<tr><td class="pk-why" colspan="{self._width}">▲ '
                    f"{words.MASK if self._mask() else words.text(row['conflict'])}</td></tr>"
                )
            # One Study UID under two patients is two rows: each shows its own series only.
            html += "".join(
                self._one_series(series)
                for series in self._series.get(row["study_uid"], ())
                if all(series[key] == row[key] for key in ("patient_id", "patient_name"))
            )
        return html

    def _called(self, row: Mapping[str, Any]) -> str:
        """A study's name for who cannot see the row."""
        name, date = self._value("patient_name", row["patient_name"]), words.date(row["study_date"])
        return ", ".join(filter(None, (name or "(no name)", date)))

    def _check(self, uid: str, called: str, checked: bool) -> str:
        if not self.active:
            return '<span role="img" aria-label="checked">✓</span>' if checked else ""
        title = "Checked" if checked else "Mark as checked"
        return (
            f'<button type="button" class="pk-check" data-key="check:{uid}" data-focus="check:{uid}" '
            f'aria-pressed="{str(checked).lower()}" aria-label="Checked: {called}" '
            f'title="{title}"><span aria-hidden="true">✓</span></button>'
        )

    @property
    def _width(self) -> int:
        return len(_COLUMNS) + self.active

    def _one_series(self, row: dict[str, Any]) -> str:
        uid = words.text(row["series_uid"])
        chosen = row["series_uid"] == self.selected
        words_of = [row["series_number"], row["modality"], row["series_description"] or "(no description)"]
        label = " · ".join(words.text(word) for word in words_of if word != "")
        label += f' <span class="pk-quiet">{row["instances"]} files, {words.size(row["bytes"])}</span>'
        return (
            f'<tr class="pk-series{" pk-chosen" if chosen else ""}"><td colspan="{self._width}">'
            f'<button type="button" data-key="select:{uid}" data-focus="select:{uid}" '
            f'aria-pressed="{str(chosen).lower()}"><span aria-hidden="true">{"●" if chosen else "○"}</span> '
            f"{label}</button></td></tr>"
        )

    def _foot(self, start: int, shown: int) -> str:
        count = len(self._rows)
        of = f"{count} of {self.total}" if self.filter else f"{count}"
        if self.pages == 1:
            return f'<div class="pk-foot">{of} {"study" if of == "1" else "studies"}</div>'

        def button(by: int, label: str, off: bool) -> str:
            return (
                f'<button type="button" data-key="page:{by}" data-focus="page:{by}" '
                f"{'disabled' if off else ''}>{label}</button>"
            )

        return (
            f'<div class="pk-foot">{button(-1, "‹ Previous", self.page == 0)}<span>'
            f"{start + 1}–{start + shown} of {of} studies</span>"
            f"{button(1, 'Next ›', self.page + 1 >= self.pages)}</div>"
        )

    def _value(self, column: str, value: Any) -> str:
        if column in ("patient_name", "patient_id") and self._mask():
            return words.MASK
        if column == "patient_name":
            return words.name(value)
        if column == "study_date":
            return words.date(value)
        if column == "bytes":
            return words.size(value)
        if column == "received_at":
            return words.time_of(value)
        return words.text(value)

    def _matches(self, rows: pd.DataFrame) -> Any:
        searched = rows[list(_SEARCHED)].fillna("").astype(str).agg(" ".join, axis=1)
        searched = searched.str.replace(r"[\^=]", " ", regex=True).str.casefold()
        wanted = pd.Series(True, index=rows.index)
        for word in self.filter.casefold().split():
            wanted &= searched.str.contains(word, regex=False)
        return wanted

    def _is_text(self, rows: pd.DataFrame) -> bool:
        return pd.api.types.is_string_dtype(rows[self.sorted_by])

    def _ask_series(self, study_uid: str) -> list[dict[str, Any]]:
        found = _records(self._table(level="series", StudyInstanceUID=study_uid))
        for row in found:
            row["series_number"] = "" if pd.isna(row["series_number"]) else int(row["series_number"])
        return sorted(found, key=lambda row: (row["series_number"] == "", row["series_number"] or 0))


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in rows.to_dict("records")]


def _side(column: str) -> str:
    return " pk-number" if column in _NUMBERS else ""


def _below(description: Any) -> str:
    """What has no column of its own in a narrow dashboard."""
    text = words.text(description)
    return f' <span class="pk-narrow">{text}</span>' if text else ""


def _conflict(reason: str, aside: int) -> str:
    """What is aside has a mark of its own."""
    reason = reason.removesuffix(aside_sentence(aside)).removesuffix("; ") if aside else reason
    return f' <span class="pk-conflict" title="{words.text(reason)}">▲ conflict</span>' if reason else ""


def _box(key: str, label: str, ticked: bool) -> str:
    return (
        f'<input type="checkbox" data-key="{key}" data-focus="{key}" aria-label="{label}"'
        f"{' checked' if ticked else ''}>"
    )
