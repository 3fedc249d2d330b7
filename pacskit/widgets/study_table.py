"""The study table: sorted, filtered, in pages; a study unfolds to its series.

What a person chose is kept here, the rows are asked for anew each time they change, and `html()` writes
them. Elements carry `data-key`, so that a click comes back as `act("sort:patient_name")`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from pacskit.widgets import words

ROWS = 10
"""Studies on a page."""

Ask = Callable[..., pd.DataFrame]

# Column of studies(), heading, how wide the dashboard must be for it (1 always .. 4 only when wide).
_COLUMNS = (
    ("patient_name", "Patient", 1),
    ("patient_id", "Patient ID", 2),
    ("study_date", "Study date", 1),
    ("study_description", "Description", 2),
    ("modalities", "Modality", 1),
    ("series", "Series", 4),
    ("instances", "Images", 1),
    ("bytes", "Size", 3),
    ("received_at", "Received", 1),
    ("received_from", "From", 3),
)
_NUMBERS = {"series", "instances", "bytes"}
_SEARCHED = ("patient_name", "patient_id", "study_description", "modalities", "received_from")


class StudyTable:
    """`studies` and `table` are a station's own; `empty` is what to do while there is nothing."""

    def __init__(self, studies: Ask, table: Ask, *, mask: Callable[[], bool] = bool) -> None:
        self._studies, self._table, self._mask = studies, table, mask
        self.sorted_by, self.descending = "received_at", True
        self.filter = ""
        self.page = 0
        self.unfolded: set[str] = set()
        self.selected = ""
        """The UID of the selected series, or nothing."""
        self._rows = pd.DataFrame()
        self._series: dict[str, list[dict[str, Any]]] = {}
        self.total = 0

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

    def act(self, key: str) -> bool:
        """What a click on an element with this `data-key` does; False when it means nothing here."""
        verb, _, what = key.partition(":")
        if verb == "sort" and what in {column for column, _, _ in _COLUMNS}:
            self.descending = not self.descending if what == self.sorted_by else what in _NUMBERS
            self.sorted_by = what
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
        page = _records(self._rows.iloc[start : start + ROWS])
        body = "".join(self._study(row) for row in page)
        return (
            '<div class="pk-scroll" data-scroll><table class="pk-table" aria-label="Studies"><thead><tr>'
            f"{''.join(self._heading(*column) for column in _COLUMNS)}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>{self._foot(start, len(page))}"
        )

    def _heading(self, column: str, label: str, wide: int) -> str:
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
            f'<span aria-hidden="true">{"▾" if unfolded else "▸"}</span> '
        )
        cells = []
        for column, _, wide in _COLUMNS:
            value = self._value(column, row[column])
            if column == "patient_name":
                value = f"{fold}{value or '(no name)'}</button>{_conflict(row['conflict'])}"
            cells.append(f'<td class="pk-w{wide}{_side(column)}">{value}</td>')
        html = f'<tr class="pk-study">{"".join(cells)}</tr>'
        if unfolded:
            if row["conflict"]:
                html += (
                    f'<tr><td class="pk-why" colspan="{len(_COLUMNS)}">▲ '
                    f"{words.MASK if self._mask() else words.text(row['conflict'])}</td></tr>"
                )
            # One Study UID under two patients is two rows: each shows its own series only.
            html += "".join(
                self._one_series(series)
                for series in self._series.get(row["study_uid"], ())
                if all(series[key] == row[key] for key in ("patient_id", "patient_name"))
            )
        return html

    def _one_series(self, row: dict[str, Any]) -> str:
        uid = words.text(row["series_uid"])
        chosen = row["series_uid"] == self.selected
        words_of = [row["series_number"], row["modality"], row["series_description"] or "(no description)"]
        label = " · ".join(words.text(word) for word in words_of if word != "")
        label += f' <span class="pk-quiet">{row["instances"]} files, {words.size(row["bytes"])}</span>'
        return (
            f'<tr class="pk-series{" pk-chosen" if chosen else ""}"><td colspan="{len(_COLUMNS)}">'
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


def _conflict(reason: str) -> str:
    return f' <span class="pk-conflict" title="{words.text(reason)}">▲ conflict</span>' if reason else ""
