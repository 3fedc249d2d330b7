"""One value at a time: checked with a sentence for people, written for files, shown without secrets."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import SecretStr, TypeAdapter, ValidationError

from pacskit.certificates.trust import TrustedList
from pacskit.errors import CertificateError
from pacskit.settings.fields import OF_THIS_PROCESS
from pacskit.settings.models import SECTIONS, Section

SECRET = "(set)"
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_SENTENCES = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text",
    "tuple": "must be a list",
    "path": "must be a path",
    "finite": "must be a finite number",
}


@functools.cache
def _adapter(kind: type[Section], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(kind.model_fields[name].rebuild_annotation())


def validated(kind: type[Section], name: str, value: Any) -> Any:
    """The value as the model keeps it. Raises ValueError with a sentence that holds no secret."""
    annotation = kind.model_fields[name].annotation
    if isinstance(value, str | Path) and get_origin(annotation) is tuple:
        value = [value] if value != "" else []
    if value == "" and type(None) in get_args(annotation):
        return None
    if isinstance(value, bool) and annotation in (int, float):
        raise ValueError(_SENTENCES["int" if annotation is int else "float"])
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text := plain(text), str) and _UNWRITABLE.search(text):
            raise ValueError("has a character that no file can hold")
    try:
        return _adapter(kind, name).validate_python(value)
    except ValidationError as error:
        raise ValueError(_sentence(error.errors(include_input=False)[0])) from None


def _sentence(error: Any) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        return f"must be one of {limits['expected'].replace(chr(39), '')}"
    for rule, words in (
        ("ge", "must be at least"),
        ("gt", "must be above"),
        ("le", "must be at most"),
        ("lt", "must be below"),
    ):
        if rule in limits:
            return f"{words} {limits[rule]:g}"
    return next((text for start, text in _SENTENCES.items() if kind.startswith(start)), str(error["msg"]))


def storable(kind: type[Section], name: str, value: Any) -> None:
    """Raises ValueError for what is good for one run, but not for a file or a panel."""
    if name == "port" and value == 0:
        raise ValueError("port 0 is for one run only; write auto for any free one")
    if name == "key_password" and value is not None:
        raise ValueError("a key's password is never saved: use the environment, or key_password_file")


def is_secret(kind: type[Section], name: str) -> bool:
    annotation = kind.model_fields[name].annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)


def plain(value: Any) -> Any:
    """As a TOML or JSON value; secrets as they are, so only for files."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def settled(section: str, name: str, value: Any) -> Any:
    """As another process may take it, with another working folder; what is wrong stays, for it to say."""
    if section not in SECTIONS or name not in (fields := SECTIONS[section].model_fields):
        return value
    if OF_THIS_PROCESS not in fields[name].metadata:
        return value
    try:
        return validated(SECTIONS[section], name, value)
    except ValueError:
        return value


def in_words(value: Any) -> str:
    """For a line that people read: a certificate by its name and fingerprint, all else as `shown`."""
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value))
    if isinstance(value, str) and "-----BEGIN" in value:
        try:
            return ", ".join(
                f"{e.subject} (SHA-256 {e.fingerprint[:11]}...)" for e in TrustedList.of([value])
            )
        except CertificateError:
            return shown(value)
    return shown(value)


def shown(value: Any) -> str:
    """For people and `settings get`: bare, a secret only as being set."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return SECRET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(shown, value))
    return str(value)


def typed(text: str) -> Any:
    """A value typed on a command line or set in the environment: a JSON array is a list, all else text."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def known(key: str) -> tuple[type[Section], str]:
    """The section and field of `section.field`. Raises KeyError with a sentence and a likely name."""
    section, dot, name = key.partition(".")
    if section not in SECTIONS:
        raise KeyError(
            f"is not a section{did_you_mean(near(section, SECTIONS))}; the sections are {', '.join(SECTIONS)}"
        )
    kind = SECTIONS[section]
    if not dot or name not in kind.model_fields:
        meant = did_you_mean(near(name, kind.model_fields))
        raise KeyError(f"is not a setting{meant}; {section} has {', '.join(kind.model_fields)}")
    return kind, name


def near(name: str, names: Iterable[str]) -> str:
    """The name that may have been meant, or an empty string."""
    found = difflib.get_close_matches(name, list(names), 1, 0.7)
    return found[0] if found else ""


def did_you_mean(near: str) -> str:
    return f" (did you mean {near}?)" if near else ""
