"""`pacskit settings`: read and change settings; a running station follows within a second."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import Annotated

import typer

from pacskit.cli.options import JsonOption
from pacskit.errors import PacskitError
from pacskit.settings import SECTIONS, values
from pacskit.settings.stack import SettingsStack

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="section.field, as listener.port")]

app = typer.Typer(help="Read and change settings.", no_args_is_help=True)


def _tell_problems(stack: SettingsStack) -> None:
    for problem in stack.settings.problems:
        sys.stderr.write(f"pacskit: {problem}\n")


@app.command("list")
def list_all(
    as_json: JsonOption = False,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the default.")] = False,
) -> None:
    """All settings with their values and where they come from."""
    stack = SettingsStack()
    rows = []
    for section, kind in SECTIONS.items():
        for name in kind.model_fields:
            value = getattr(stack.settings.section(section), name)
            if changed and value == stack.settings.default(section, name):
                continue
            rows.append((f"{section}.{name}", value, str(stack.settings.source(section, name))))
    if as_json:
        found = {key: {"value": _json(value), "source": source} for key, value, source in rows}
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    else:
        wide = max((len(key) for key, _, _ in rows), default=0)
        for key, value, source in rows:
            sys.stdout.write(f"{key.ljust(wide)}  {values.in_words(value) or '(none)'}  [{source}]\n")
    _tell_problems(stack)


@app.command()
def get(key: KeyArgument) -> None:
    """Print the bare value, as `set` takes it; a password only as being set."""
    stack = SettingsStack()
    value = stack.settings.explain(key).value
    several = isinstance(value, tuple) and len(value) > 1
    text = json.dumps(values.plain(value), ensure_ascii=False) if several else values.shown(value)
    sys.stdout.write(text + "\n")
    _tell_problems(stack)


@app.command("set")
def set_value(
    key: KeyArgument,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A list is one value or a JSON array; - reads a line.")
    ],
    shared: Annotated[
        bool, typer.Option("--shared", help="For all users of this computer; administrators only.")
    ] = False,
) -> None:
    """Keep a value in the user's settings file (or, shared, in that of all users).

    With - as VALUE it is asked for, or read from standard input: no password gets into the shell's history.
    """
    stack = SettingsStack()
    stack.settings.explain(key)  # says which name is meant, before anything is asked
    kind, name = values.known(key)
    if value == "-":
        value = _asked(key)
    # A password may begin with a bracket; what is a list is told by its JSON.
    meant = value if values.is_secret(kind, name) else values.typed(value)
    plan = stack.plan({kind.section: {name: meant}}, save=True, shared=shared, whole=False)
    stack.carry_out(plan)
    _tell_problems(stack)


@app.command()
def explain(key: KeyArgument, as_json: JsonOption = False) -> None:
    """Where a value comes from, what it means, and what it hides."""
    stack = SettingsStack()
    found = stack.settings.explain(key)
    kind, name = values.known(key)
    here = stack.settings.source(kind.section, name)
    field = kind.model_fields[name]
    if as_json:
        result = {
            "key": key,
            "value": _json(found.value),
            "source": found.source,
            "file": str(found.file) if found.file else None,
            "line": found.line or None,
            "hidden": [{"source": source, "value": _json(value)} for source, value in found.hidden],
        }
        sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=1) + "\n")
        _tell_problems(stack)
        return
    sys.stdout.write(f"{key} = {values.in_words(found.value) or '(none)'}\n{field.description}\n")
    sys.stdout.write(f"from: {here}\n")
    for hidden, value in found.hidden:
        sys.stdout.write(f"hides: {values.in_words(value) or '(none)'} ({hidden})\n")
    _tell_problems(stack)


@app.command()
def edit(
    shared: Annotated[bool, typer.Option("--shared", help="The file for all users.")] = False,
) -> None:
    """Open the settings file in $VISUAL or $EDITOR; what is wrong afterwards is said."""
    stack = SettingsStack()
    file = stack.site if shared else stack.user
    usual = "notepad" if os.name == "nt" else "vi"
    named = (os.environ.get(name, "").strip() for name in ("VISUAL", "EDITOR"))
    editor = next(filter(None, named), usual)
    file.create()
    try:
        code = subprocess.call([*shlex.split(editor, posix=os.name != "nt"), str(file.path)])
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PacskitError(f"The editor {editor} cannot be started: {reason}. Set EDITOR") from error
    if code:
        sys.stderr.write(f"pacskit: {editor} ended with code {code}\n")
        raise typer.Exit(1)
    stack = SettingsStack()
    _tell_problems(stack)
    if any(problem.source.file == file.path for problem in stack.settings.problems):
        raise typer.Exit(1)


def _asked(key: str) -> str:
    """One line that nobody sees. Raises PacskitError where nothing comes: that is no wish to clear it."""
    if sys.stdin.isatty():
        return str(typer.prompt(key, hide_input=True))
    if not (line := sys.stdin.readline().rstrip("\n")):
        raise PacskitError(f"{key}: nothing came on standard input; to clear it, set it to ''")
    return line


def _json(value: object) -> object:
    shown = values.shown(value)
    return shown if shown == values.SECRET else values.plain(value)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="settings")
