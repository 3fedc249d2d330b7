"""A settings file's text, without I/O: values and their lines out, changes in, all else stays as it was.

A text with a broken part is taken apart at its `[section]` lines: the whole parts still count, and the
broken one is never touched.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

LONGEST = 1 << 20
"""Bytes of a settings file; thousands of times what all settings take."""
_MOST_READ = 2 * LONGEST
"""Characters read to tell lines, so that a strange file costs a second and not an hour."""
_MOST_JOINED = 8
_HEADER = re.compile(r"^[ \t]*\[[ \t]*([A-Za-z0-9_-]+)[ \t]*\][ \t]*(#.*)?\r?$", re.MULTILINE)
_PLACE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)")
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:\\.|[^"\\\n])*"|' + r"'[^'\n]*'|(#[^\n]*)",
    re.DOTALL,
)
"""A string of any kind, or a comment: what looks like a comment in a string is none."""
_END = re.compile("[]}]|\"\"\"|'''")
"""What the last line of a value of several lines has."""
_BY_HAND = "it is written in a way that cannot be changed without harm: edit it by hand"


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of the text that cannot be read; `section` is empty where it stands before the first one."""

    line: int
    sentence: str
    section: str
    at_end: bool = False
    """Something was begun and not ended."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the text that stands for itself; `start` is its first line."""

    text: str = field(repr=False)
    start: int
    section: str
    values: Mapping[str, Any] | None = field(repr=False)
    """None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says."""

    parts: tuple[Part, ...]
    values: Mapping[str, Any] = field(repr=False)
    faults: tuple[Fault, ...]
    where: Mapping[str, Part] = field(repr=False)
    """The part in which a section stands."""

    @classmethod
    def parse(cls, text: str) -> Document:
        whole = _read(text)
        if not isinstance(whole, Fault):
            part = Part(text, 1, "", whole)
            return cls((part,), whole, (), dict.fromkeys(whole, part))
        values: dict[str, Any] = {}
        parts, faults, pieces, number = [], [], _pieces(text), 0
        while number < len(pieces):
            section, start, piece = pieces[number]
            number += 1
            read = _read(piece)
            if isinstance(read, Fault) and read.at_end:  # a line in a string may look like a section's
                joined = piece
                for more, (_, _, another) in enumerate(pieces[number : number + _MOST_JOINED], 1):
                    joined += another
                    if not isinstance(longer := _read(joined), Fault):
                        piece, read, number = joined, longer, number + more
                        break
            if not isinstance(read, Fault) and (twice := next((n for n in read if n in values), "")):
                read = Fault(1, f"{twice} stands here a second time", section)
            if isinstance(read, Fault):
                parts.append(Part(piece, start, section, None))
                faults.append(Fault(start + read.line - 1, read.sentence, section, read.at_end))
            else:
                parts.append(Part(piece, start, section, read))
                values.update(read)
        where = {name: part for part in parts for name in part.values or ()}
        return cls(tuple(parts), values, tuple(faults), where)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    def line(self, section: str, name: str = "") -> int:
        """Where this stands, counted from 1; 0 where that cannot be told."""
        if (part := self.where.get(section)) is None:
            return 0
        first, _ = _spans(part.text).get((section, name), (0, 0))
        return first and first + part.start - 1

    def changed(self, section: str, changes: Mapping[str, Any]) -> str:
        """The text with these fields set, or taken out where None. Raises ValueError with a sentence.

        Comments, order and everything else stay. `section` empty: fields before the first section.
        """
        for fault in self.faults:
            if fault.section == section:
                raise ValueError(f"line {fault.line} is in the way: {fault.sentence}")
        held = self.values.get(section, {}) if section else self.values
        if not isinstance(held, Mapping):
            raise ValueError(
                f"line {self.line(section)} is in the way: write [{section}] and its settings below"
            )
        changes = {name: value for name, value in changes.items() if value is not None or name in held}
        new_line = "\r\n" if "\r\n" in self.text and not re.search(r"(?<!\r)\n", self.text) else "\n"
        text = ""
        try:
            for part in self.parts:
                known = part.values or {}
                if section:
                    here = changes if section in known else {}
                else:
                    here = {name: value for name, value in changes.items() if name in known}
                text += _edited(part.text, section, here, new_line) if here else part.text
            if section and section not in self.values:
                text += _appended(text, section, changes, new_line)
            for name in [] if section else [name for name in changes if name not in held]:
                text = _added(text, name, changes[name], new_line)
        except (TOMLKitError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{_BY_HAND} ({error})") from None
        return self._checked(text, section, changes)

    def _checked(self, text: str, section: str, changes: Mapping[str, Any]) -> str:
        """The new text, where it says all that the old one did, and the changes. Raises ValueError."""
        wanted = {n: dict(v) if isinstance(v, Mapping) else v for n, v in self.values.items()}
        target = wanted.setdefault(section, {}) if section else wanted
        for name, value in changes.items():
            if value is None:
                del target[name]
            else:
                target[name] = value
        if _exact(Document.parse(text).values) != _exact(wanted) or _comments(self.text) - _comments(text):
            raise ValueError(_BY_HAND)
        return text


def _exact(values: Mapping[str, Any]) -> str:
    """Equal for equal values only: 1, 1.0 and true differ, nan does not."""
    try:
        return json.dumps({n: v for n, v in values.items() if v != {}}, sort_keys=True, default=repr)
    except (ValueError, RecursionError):  # a number of thousands of digits
        raise ValueError(_BY_HAND) from None


def _comments(text: str) -> Counter[str]:
    return Counter(found[1].strip() for found in _TOKEN.finditer(text) if found[1])


def _read(text: str) -> dict[str, Any] | Fault:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        at_end = bool(found and not found[1])
        line = int(found[1]) if found and found[1] else text.count("\n") + (not text.endswith("\n"))
        return Fault(line, _PLACE.sub("", str(error)), "", at_end)
    except ValueError:  # more digits than Python reads
        digits = re.search(r"\d(_?\d){999}", text)
        return Fault(text.count("\n", 0, digits.start() if digits else 0) + 1, "this number is too long", "")
    except RecursionError:
        return Fault(1, "it is nested too deeply", "")


def _pieces(text: str) -> list[tuple[str, int, str]]:
    """Section, first line and text of each piece."""
    headers = list(_HEADER.finditer(text))
    starts = [0, *(header.start() for header in headers)]
    names = ["", *(header[1] for header in headers)]
    ends = [*starts[1:], len(text)]
    pieces, line = [], 1
    for name, start, end in zip(names, starts, ends, strict=True):
        if start < end:
            pieces.append((name, line, text[start:end]))
            line += text.count("\n", start, end)
    return pieces


@functools.lru_cache(maxsize=16)
def _spans(text: str) -> Mapping[tuple[str, str], tuple[int, int]]:
    """(section, field) → first and last line of what sets it.

    A statement is as many lines as tomllib needs to read it below its section's line, so whatever way of
    writing TOML allows is understood.
    """
    found: dict[tuple[str, str], tuple[int, int]] = {}
    header, statement, first, most = "", "", 1, _MOST_READ
    for number, line in enumerate(text.split("\n"), 1):
        begun = bool(statement)
        statement += line + "\n"
        if begun and not _END.search(line):
            continue
        most -= len(header) + len(statement)
        if most < 0:
            break
        values = _read(header + statement)
        if isinstance(values, Fault):
            continue
        for section, fields in values.items():
            found.setdefault((section, ""), (first, number))
            for name in fields if isinstance(fields, Mapping) else ():
                found.setdefault((section, name), (first, number))
        if statement.lstrip().startswith("["):
            header = statement
        first, statement = number + 1, ""
    return found


def _edited(text: str, section: str, changes: Mapping[str, Any], new_line: str) -> str:
    """A text that has the section, with its fields changed and no remark lost."""
    edited = _set(text, section, changes)
    if _comments(text) - _comments(edited):
        edited = _set(_lifted(text, section, changes), section, changes)
    return edited if new_line == "\n" else re.sub(r"(?<!\r)\n", new_line, edited)


def _lifted(text: str, section: str, changes: Mapping[str, Any]) -> str:
    """What is remarked in values that go stands above them."""
    lines = text.split("\n")
    spans = {name: _spans(text).get((section, name)) for name in changes if section}
    for name, span in sorted(spans.items(), key=lambda item: item[1] or (0, 0), reverse=True):
        if span is None:
            continue
        statement = "\n".join(lines[span[0] - 1 : span[1]])
        remarks = [(found[1].rstrip(), found.end()) for found in _TOKEN.finditer(statement) if found[1]]
        if remarks and changes[name] is not None and remarks[-1][1] == len(statement):
            remarks.pop()  # behind the value: it stays there
        indent = statement[: len(statement) - len(statement.lstrip())]
        lines[span[0] - 1 : span[0] - 1] = [indent + remark for remark, _ in remarks]
    return "\n".join(lines)


def _set(text: str, section: str, changes: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    table: Any = document[section] if section else document
    for name, value in changes.items():
        if value is not None:
            table[name] = value
        else:
            del table[name]
    return tomlkit.dumps(document)


def _line(name: str, value: Any, new_line: str) -> str:
    return f"{tomlkit.key(name).as_string()} = {tomlkit.item(value).as_string()}{new_line}"


def _added(text: str, name: str, value: Any, new_line: str) -> str:
    """The text with a field before everything else: behind a section's line it would belong to that."""
    return _line(name, value, new_line) + (new_line if text.strip() else "") + text


def _appended(text: str, section: str, changes: Mapping[str, Any], new_line: str) -> str:
    """A new section at the end, after an empty line."""
    if not changes:
        return ""
    end = "" if not text or text.endswith("\n") else new_line
    between = "" if not text.strip() or text.endswith(f"{new_line}{new_line}") else new_line
    lines = [_line(name, value, new_line) for name, value in changes.items()]
    return f"{end}{between}[{tomlkit.key(section).as_string()}]{new_line}{''.join(lines)}"
