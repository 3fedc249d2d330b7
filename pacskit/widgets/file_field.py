"""A file chosen by its path, with what is there offered as one types, or uploaded: private HTML."""

from __future__ import annotations

import os
from pathlib import Path

from pacskit.widgets import words
from pacskit.widgets.buttons import button

OFFERED = 40
LOOKED_AT = 5000
"""Entries of a folder."""


class FileField:
    """One path. What is typed comes with each message; what is put replaces it in every view."""

    def __init__(self, name: str, label: str, suffixes: tuple[str, ...], enter: str) -> None:
        """`enter`: the key of the button that Enter presses."""
        self.name, self.suffixes = name, suffixes
        self._label, self._enter = label, enter
        self.text = ""
        """What stands in it."""
        self._put, self._number = "", 0

    def put(self, text: str) -> None:
        self.text = self._put = text
        self._number += 1

    def html(self, fixed: str = "") -> str:
        """The same until something is put, so that nobody is disturbed in typing. `fixed`: by what it is."""
        name, label = words.text(self.name), words.text(self._label)
        suffixes = ", ".join(self.suffixes)
        off = " readonly" if fixed else ""
        browse = button(
            f"browse:{self.name}",
            "BROWSE",
            off=bool(fixed),
            more=f'data-browse aria-label="BROWSE {label} to upload"',
        )
        return (
            f'<div class="pk-file"><label>{label} <span class="pk-quiet">{suffixes}</span> '
            f'<input type="text" data-first data-value="{name}" data-focus="{name}" data-input="{name}" '
            f'data-put="{self._number}" data-enter="{words.text(self._enter)}" list="{_list(self.name)}" '
            f'autocomplete="off" spellcheck="false" value="{words.text(self._put)}"{off}></label>{browse}'
            f'<input type="file" hidden data-file="{name}" accept="{suffixes.replace(" ", "")}">'
            f'{f"""<span class="pk-quiet">{words.text(fixed)}</span>""" if fixed else ""}</div>'
        )

    def offer(self, found: list[str] | None) -> str:
        """What the browser completes from."""
        options = "".join(f'<option value="{words.text(each)}"></option>' for each in found or ())
        return f'<datalist id="{_list(self.name)}">{options}</datalist>'


def beginning(text: str, suffixes: tuple[str, ...]) -> list[str]:
    """Folders, and files with one of the suffixes, that begin with what is typed, in the way it is typed."""
    typed, _, name = text.replace("\\", "/").rpartition("/") if os.name == "nt" else text.rpartition("/")
    absolute = text.startswith(("/", "~")) or Path(text).is_absolute()
    if not absolute or (text.startswith("~") and not _):
        return []
    folders, files = [], []
    try:
        with os.scandir(Path(f"{typed}/").expanduser()) as entries:
            for number, entry in enumerate(entries):
                if number >= LOOKED_AT:
                    break
                if not entry.name.startswith(name) or (entry.name.startswith(".") and not name):
                    continue
                if entry.is_dir():
                    folders.append(f"{typed}/{entry.name}/")
                elif os.path.splitext(entry.name)[1].lower() in suffixes:
                    files.append(f"{typed}/{entry.name}")
    except (OSError, RuntimeError, ValueError):  # no such folder, ~ of nobody, a NUL
        return []
    return [*sorted(files), *sorted(folders)][:OFFERED]


def _list(name: str) -> str:
    return f"pk-offered-{words.text(name)}"
