"""PrivateHTML: shows HTML in a notebook without its ever being in a widget's saved state.

The HTML travels by custom message only. Every view that is drawn (a second one, or after the page was
loaded again) says `ready` and gets what is current, so nothing has to be stored for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget

Heard = Callable[[Mapping[str, Any]], None]
"""Takes one message of a view: `{"type": "click" | "step" | "input", "key": ..., "by" | "text": ...}`, or a
file, `{"type": "file", "key": ..., "name": ..., "data": bytes}`; the data is None where it is too large."""
LARGEST = 1 << 20
"""Bytes of an uploaded file; private.js has the same."""


class PrivateHTML(anywidget.AnyWidget):
    """A box whose HTML the notebook does not save. Its traits hold the program and nothing shown."""

    _esm = (Path(__file__).parent / "private.js").read_text("utf-8")

    def __init__(self, heard: Heard | None = None, ready: Callable[[], None] | None = None) -> None:
        self._html, self._version = "", 0
        self._heard, self._ready = heard, ready
        super().__init__()
        self.on_msg(self._message)

    @property
    def html(self) -> str:
        """What is shown now. Not a trait, so never synced or saved."""
        return self._html

    def show(self, html: str) -> None:
        """Replace what every view shows; all text from outside must be escaped already."""
        if html != self._html:
            self._html, self._version = html, self._version + 1
            self._tell()

    def _tell(self) -> None:
        self.send({"type": "html", "html": self._html, "version": str(self._version)})

    def _message(self, _: object, content: Mapping[str, Any], buffers: Sequence[Any] | None) -> None:
        if content.get("type") == "ready":
            self._tell()
            if self._ready is not None:
                self._ready()
        elif self._heard is not None:
            if content.get("type") == "file":  # what is in it travels beside the message, and is kept nowhere
                data = buffers[0] if buffers else None
                fits = data is not None and len(data) <= LARGEST
                content = {**content, "data": bytes(data) if data is not None and fits else None}
            self._heard(content)

    def open(self) -> None:
        super().open()
        unpin(self)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        super()._send(msg, buffers)
        unpin(self)


def unpin(widget: Any) -> None:
    """Let replies come to the front end's own subshell, so that widgets live while a cell runs.

    ipykernel 7.4 sends a comm's replies to the shell that published on it last, and that is mostly the
    main one, which a running cell blocks.
    """
    with contextlib.suppress(AttributeError, KeyError):
        del widget.comm.__dict__["_reply_subshell_id"]
