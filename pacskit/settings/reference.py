"""The settings reference page (docs/settings.md), made from the models, so that it cannot lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types

from pacskit.settings import values
from pacskit.settings.models import SECTIONS, Section

_INTRODUCTION = """# Settings

Made from `pacskit/settings/models.py` by `make docs`; a test fails when it is stale.

A setting is `section.field`. Its value comes from the last of these that names it:

1. the default below (on a JupyterHub, ports are `auto` unless somebody says else),
2. your settings file `settings.toml`, in `PACSKIT_HOME` or the platform's place for configuration,
3. the site file (`PACSKIT_SITE`, or the platform's place for all users), for each section that says
   `shared = true` there: your own values of that section are kept, but not used,
4. the environment: `PACSKIT_SECTION__FIELD`,
5. the command line (`--set section.field=value`), or code: `Station(listener={"port": 104})`,
   `station.apply({"listener": {"port": 104}}, save=True)`.

`pacskit settings explain KEY` and `station.settings.explain(KEY)` say which one it was, with file and line.
A panel's OK and `pacskit settings set` write only what differs from the layers below, and leave comments,
order and whatever they do not know as they are. A running station follows a changed file within a second.

What is wrong in a file or in the environment is said with file, line and key; the rest counts. A service
is not started while an entry of its section is wrong: nobody meant the default that would stand in for it.
Passwords are kept as argon2 hashes. Your file can be read by you alone.

```toml
schema = 1

[listener]
enabled = true
ae_title = "RESEARCH"
port = 11112          # or "auto"
```
"""


def page() -> str:
    """The page as Markdown."""
    return _INTRODUCTION + "".join(_section(kind) for kind in SECTIONS.values())


def _section(kind: type[Section]) -> str:
    about = (kind.__doc__ or "").strip().splitlines()[0]
    rows = "".join(_row(kind, name) for name in kind.model_fields)
    head = "| key | value | default | meaning |\n|---|---|---|---|\n"
    return f"\n## {kind.section}\n\n{about}\n\n{head}{rows}"


def _row(kind: type[Section], name: str) -> str:
    info = kind.model_fields[name]
    extra: Any = info.json_schema_extra
    default = values.shown(info.default) or "none"
    unit = f" {extra['unit']}" if extra["unit"] else ""
    key = f"{kind.section}.{name}"
    cells = (f"`{key}`", _kind(kind, name), f"`{default}`{unit}", f"{info.title}. {info.description}.")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _kind(kind: type[Section], name: str) -> str:
    info = kind.model_fields[name]
    annotation: Any = info.annotation
    if name in ("port", "host", "ae_title"):
        return {"port": "1–65535 or `auto`", "host": "address", "ae_title": "AE title"}[name]
    if values.is_secret(kind, name):
        return "secret"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of paths" if get_args(annotation)[0] is Path else "list"
    if type(None) in get_args(annotation):
        annotation = get_args(annotation)[0]
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", Path: "path"}
    return words[annotation] + _limits(info.metadata)


def _limits(metadata: list[Any]) -> str:
    low = next((m.ge for m in metadata if isinstance(m, annotated_types.Ge)), None)
    above = next((m.gt for m in metadata if isinstance(m, annotated_types.Gt)), None)
    high = next((m.le for m in metadata if isinstance(m, annotated_types.Le)), None)
    if high is None:
        return ""
    return f", {low}–{high}" if low is not None else f", above {above} up to {high}"
