"""Dialog: what unfolds below a row of a form, with an OK and a CANCEL of its own.

It is private HTML: paths, subjects and uploaded files are in no widget's state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pacskit.station import Station
from pacskit.widgets import words
from pacskit.widgets.buttons import button
from pacskit.widgets.file_field import FileField, beginning
from pacskit.widgets.form import Form
from pacskit.widgets.newest import Newest
from pacskit.widgets.part import Part


class Dialog(Part):
    """OK fills the form, CANCEL forgets."""

    CARRIERS = 3
    title = ""
    names: tuple[str, ...] = ()
    """The settings that its OK fills in."""

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        super().__init__(station, form, touched, ready)
        self.is_open = False
        self._said = ""
        """What went wrong, a sentence."""
        self.paths: dict[str, FileField] = {}
        self._typing = ""
        self._offers: Newest[tuple[str, tuple[str, ...]], list[str]] = Newest(
            lambda wish: beginning(*wish), touched
        )
        self.top, self.middle, self.foot = self.carriers
        for name in ("pk-dialog", "pk-hidden"):
            self.widget.add_class(name)

    @property
    def fixed(self) -> bool:
        """Whether the environment or the command line says all that it could choose."""
        return all(self._form.fields[name].fixed for name in self.names)

    @property
    def pending(self) -> bool:
        """Whether it waits for its own OK."""
        return self.is_open

    def draw(self) -> None:
        if self.is_open:
            self.widget.remove_class("pk-hidden")
            self._show()
            return
        for carrier in self.carriers:
            carrier.show("")
        self.widget.add_class("pk-hidden")  # last: so the focus can go back to the button that opened it

    def cancel(self) -> None:
        """Fold it up, and forget what was chosen."""
        self.is_open = False

    def close(self) -> None:
        """The station closes."""
        self.cancel()
        self._offers.end()
        super().close()

    def in_words(self, value: Any) -> str:
        """A value of its setting in a few words."""
        raise NotImplementedError

    def summary(self) -> str:
        """What is chosen, HTML."""
        raise NotImplementedError

    def _opened(self) -> None:
        """Take over what stands in the form."""
        raise NotImplementedError

    def _act(self, key: str) -> None:
        """What a click does."""
        raise NotImplementedError

    def _uploaded(self, name: str, claim: str, data: bytes | None) -> None:
        """`claim` is the file's name as the browser says it; no data: it was too large."""
        raise NotImplementedError

    def _show(self) -> None:
        raise NotImplementedError

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind, key = message.get("type"), str(message.get("key", ""))
        if kind == "click" and key == "choose:":
            if self.is_open:
                self.cancel()
            elif not self.fixed:
                self.is_open, self._said = True, ""
                self._opened()
            return
        if not self.is_open:
            return
        texts = message.get("values")
        if kind == "input":
            texts = {**(texts or {}), key: message.get("text")}
            self._typing = key
        for name, text in texts.items() if isinstance(texts, Mapping) else ():
            if name in self.paths and isinstance(text, str):
                self._type(name, text)
        if kind == "click":
            self._act(key)
        elif kind == "step":
            self._step(int(message.get("by", 0)))
        elif kind == "file" and key in self.paths:
            self._uploaded(key, str(message.get("name", "")), message.get("data"))

    def _type(self, name: str, text: str) -> None:
        self.paths[name].text = text

    def _step(self, by: int) -> None:
        """An arrow key on a list."""

    def _offered(self) -> str:
        """What completes the path that is being typed."""
        found = {}
        if field := self.paths.get(self._typing):
            found[self._typing] = self._offers.ask((field.text, field.suffixes))
        return "".join(path.offer(found.get(name)) for name, path in self.paths.items())

    def _alert(self) -> str:
        return f'<div class="pk-alert" role="alert">▲ {words.text(self._said)}</div>' if self._said else ""

    @staticmethod
    def _buttons(ready: bool = True, why: str = "") -> str:
        """The dialog's own OK and CANCEL."""
        hint = f'<span class="pk-quiet">{words.text(why)}</span>' if why else ""
        return (
            f'<div class="pk-line pk-ends">{hint}<span class="pk-grow"></span>'
            + button("ok:", "OK", look="pk-primary", off=not ready, more="data-ok")
            + button("cancel:", "CANCEL", more="data-escape")
            + "</div>"
        )
