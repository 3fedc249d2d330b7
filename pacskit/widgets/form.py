"""Form: makes the fields of a panel from a settings model. The one builder of all panels.

Each row: label with unit, input for the type, help (on hover, and by the button "?" for keyboards); below it
one line that says what is wrong, what was changed, or where the value comes from. That line has its place
always, so nothing moves when it speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import ipywidgets as w
from pydantic import SecretStr

from pacskit.settings import Problem, Settings, values
from pacskit.settings.layers import CODE, COMMAND_LINE, DEFAULT, ENVIRONMENT, FIXED, HUB, SITE, USER, variable
from pacskit.settings.models import Section
from pacskit.widgets import words

Options = Callable[[], list[tuple[str, str]]]
"""(words, value) to choose from, where a model cannot know them (this computer's addresses)."""

_SOURCES = {
    DEFAULT: "",
    HUB: "default on JupyterHub",
    USER: "from your settings file",
    SITE: "from the site file, for all users",
    CODE: "set by this notebook's code",
    COMMAND_LINE: "fixed by the command line",
}


class Field:
    """One row: `row` is its widget; `touched()` is called when a person typed or chose."""

    def __init__(self, kind: type[Section], name: str, touched: Callable[[], None], options: Options | None):
        self.kind, self.name = kind, name
        info = kind.model_fields[name]
        extra: Any = info.json_schema_extra
        unit = f" ({extra['unit']})" if extra["unit"] and "(" not in str(info.title) else ""
        self.title, self.help_text = f"{info.title}{unit}", str(info.description)
        self.place: str = extra["place"]
        self._options = options
        self._secret = values.is_secret(kind, name)
        self.input = self._make(info.annotation)
        self.help = w.ToggleButton(description=f"Help on {info.title}", tooltip=self.help_text)
        self._under = w.HTML()
        top = w.HBox([self.input, self.help])
        self.row = w.VBox([top, self._under])
        for widget, look in (
            (self.input, "pk-input"),
            (self.help, "pk-help"),
            (top, "pk-field"),
            (self._under, "pk-under"),
            (self.row, "pk-row"),
        ):
            widget.add_class(look)
        self.row.add_class(f"pk-row-{name}")
        self.input.observe(lambda _: touched(), "value")
        self.help.observe(lambda _: touched(), "value")
        self.baseline: Any = None
        self.fixed = False

    @property
    def widgets(self) -> tuple[Any, ...]:
        """Those that a person acts on."""
        return self.input, self.help

    @property
    def raw(self) -> Any:
        """What stands in it, as it was typed."""
        return self.input.value

    def shown(self, value: Any) -> str:
        """A value in a few words: "changed, was ..."."""
        return values.shown(value)

    def value(self, typed: Any = None) -> Any:
        """What stands in it (or did: `typed`), as the settings would keep it. Raises ValueError."""
        raw: Any = self.raw if typed is None else typed
        if self._secret:  # its hash is made once, at OK; an empty field leaves the password as it is
            return SecretStr(raw) if raw else self.baseline
        if get_origin(self._annotation) is tuple:
            raw = [part.strip() for part in raw.split(",") if part.strip()]
        elif isinstance(raw, str) and not raw.strip() and type(None) in get_args(self._annotation):
            raw = None
        checked = values.validated(self.kind, self.name, raw)
        if checked != self.baseline:
            values.storable(self.kind, self.name, checked)
        return checked

    def put(self, value: Any) -> None:
        """Show this value in the input."""
        if isinstance(self.input, w.Checkbox):
            self.input.value = bool(value)
        elif isinstance(self.input, w.Dropdown):
            self._offer(value)
            self.input.value = value
        else:
            self.input.value = "" if self._secret else values.shown(value)

    def fix(self, fixed: bool) -> None:
        """Read-only, since the environment or the command line says it."""
        self.fixed = fixed
        self.input.disabled = fixed

    def tell(self, error: str, note: str) -> None:
        """The line below: an error before all, then help if asked for, then the note."""
        if error:
            line = f'<span class="pk-error">▲ {words.text(error)}</span>'
        elif self.help.value:
            line = f'<span class="pk-helptext">{words.text(self.help_text)}</span>'
        else:
            line = note
        if line != self._under.value:
            self._under.value = line

    @property
    def said(self) -> str:
        """The HTML of the line below."""
        return str(self._under.value)

    @property
    def _annotation(self) -> Any:
        return self.kind.model_fields[self.name].annotation

    def _make(self, annotation: Any) -> Any:
        common: dict[str, Any] = {"description": self.title, "tooltip": self.help_text}
        if annotation is bool:
            return w.Checkbox(indent=False, **common)
        if self._options is not None or get_origin(annotation) is Literal:
            return w.Dropdown(options=self._choices(None), **common)
        if annotation is SecretStr or SecretStr in get_args(annotation):
            return w.Password(placeholder="unchanged", **common)
        return w.Text(**common)

    def _choices(self, value: Any) -> list[tuple[str, Any]]:
        offered: list[tuple[str, Any]] = (
            self._options() if self._options else [(text, text) for text in get_args(self._annotation)]
        )
        if value is not None and value not in [found for _, found in offered]:
            offered.append((str(value), value))
        return offered

    def _offer(self, value: Any) -> None:
        choices = self._choices(value)
        if list(self.input.options) != choices:
            self.input.options = choices


class Form:
    """The fields of one section, and what a person has made of them."""

    def __init__(
        self,
        kind: type[Section],
        touched: Callable[[], None],
        options: Mapping[str, Options] | None = None,
        makers: Mapping[str, type[Field]] | None = None,
    ) -> None:
        """`makers`: fields of another kind, by their names."""
        self.kind = kind
        offered, made = options or {}, makers or {}
        self.fields = {
            name: made.get(name, Field)(kind, name, touched, offered.get(name)) for name in kind.model_fields
        }
        self.errors: dict[str, str] = {}
        self._settings: Settings | None = None

    def rows(self, place: str) -> list[Any]:
        return [field.row for field in self.fields.values() if field.place == place]

    def load(
        self, settings: Settings, *, keep_typed: bool = False, only: Mapping[str, Any] | None = None
    ) -> None:
        """Show what is set. With `keep_typed`, what a person changed and has not sent yet stays; with `only`,
        what was typed since."""
        section = settings.section(self.kind.section)
        for name, field in self.fields.items():
            typed = keep_typed and self._settings is not None and self._edited(name)
            typed = typed or (only is not None and field.raw != only[name])
            field.baseline = getattr(section, name)
            field.fix(settings.source(self.kind.section, name).layer in FIXED)
            if not typed or field.fixed:
                field.put(field.baseline)
        self._settings = settings

    def typed(self) -> dict[str, Any]:
        """What stands in the fields at this moment."""
        return {name: field.raw for name, field in self.fields.items()}

    def defaults(self) -> None:
        """Fill in the defaults, those of this hub included; nothing is saved by that."""
        assert self._settings is not None
        for name, field in self.fields.items():
            if not field.fixed and field.place != "none":
                field.put(self._settings.default(self.kind.section, name))

    def take(self, typed: Mapping[str, Any]) -> None:
        """Texts as they stand in the browser now."""
        for name, text in typed.items():
            field = self.fields.get(name)
            if (
                field is not None
                and not field.fixed
                and isinstance(text, str)
                and isinstance(field.input, w.Text)
            ):
                field.input.value = text

    def check(self, typed: Mapping[str, Any] | None = None, remarks: Mapping[str, str] | None = None) -> bool:
        """Judge what stands in the fields (or did) and say so below each. True where all is right.

        `remarks`: sentences on what is allowed and should be known, by field.
        """
        assert self._settings is not None
        self.errors = {}
        for name, field in self.fields.items():
            try:
                value = field.value(None if typed is None else typed[name])
                if name == "port" and value != field.baseline:
                    self._settings.check_port(self.kind.section, value)
            except ValueError as error:
                self.errors[name] = str(error)
            remark = words.text((remarks or {}).get(name, ""))
            warned = f'<span class="pk-remark">▲ {remark}</span> ' if remark else ""
            field.tell(self.errors.get(name, ""), warned + self._note(name))
        return not self.errors

    def changes(self, typed: Mapping[str, Any]) -> dict[str, Any]:
        """What differs from what is set, and what stands wrongly in a file. Only after a good `check()`."""
        wrong = self._wrong()
        found = {name: field.value(typed[name]) for name, field in self.fields.items() if not field.fixed}
        return {n: v for n, v in found.items() if n in wrong or v != self.fields[n].baseline}

    def replaced(self) -> list[str]:
        """Sentences on the wrong entries of files that OK overwrites."""
        return [
            f"{problem.source.file.name}, line {problem.source.line}: {problem.key} is replaced."
            for problem in self._wrong().values()
            if problem.source.file
        ]

    def marked(self) -> list[str]:
        """The fields under which something wrong is said."""
        return [name for name in self.fields if name in self.errors or name in self._wrong()]

    def _wrong(self) -> dict[str, Problem]:
        return {p.key.partition(".")[2]: p for p in self._problems() if p.source.file}

    def _edited(self, name: str) -> bool:
        field = self.fields[name]
        if field.fixed:
            return False
        try:
            return bool(field.value() != field.baseline)
        except ValueError:
            return True

    def tells(self, problem: Problem) -> bool:
        """Whether the problem stands below one of the fields."""
        section, _, name = problem.key.partition(".")
        return section == self.kind.section and name in self.fields and self.fields[name].place != "none"

    def _problems(self) -> list[Problem]:
        assert self._settings is not None
        return [problem for problem in self._settings.problems if self.tells(problem)]

    def _note(self, name: str) -> str:
        assert self._settings is not None
        field = self.fields[name]
        if self._edited(name):
            was = (
                "" if values.is_secret(self.kind, name) else f", was {field.shown(field.baseline) or 'empty'}"
            )
            return f'<span class="pk-changed">● changed{words.text(was)}</span>'
        key = f"{self.kind.section}.{name}"
        if problem := next((p for p in self._problems() if p.key == key), None):
            where = f"{problem.source.file.name}, line {problem.source.line}: " if problem.source.file else ""
            mend = f". OK writes {field.shown(field.baseline) or 'nothing'} there" if where else ""
            return f'<span class="pk-error">▲ {words.text(where + problem.sentence + mend)}</span>'
        layer = self._settings.source(self.kind.section, name).layer
        if layer == CODE and name == "port" and field.baseline == 0:
            return '<span class="pk-quiet">set by this notebook\'s code: any free one</span>'
        text = (
            f"fixed by the environment: {variable(key)}"
            if layer == ENVIRONMENT
            else _SOURCES.get(layer, layer)
        )
        if not text and field.place == "more":  # what is set seldom explains itself
            text = field.help_text
        return f'<span class="pk-quiet">{words.text(text)}</span>' if text else ""
