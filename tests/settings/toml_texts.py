"""Settings files as people, other programs and later versions write them: a Hypothesis strategy.

Every remark has a number of its own (`#c17`), so that its loss is seen.
"""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

FIELDS: dict[str, dict[str, list[Any]]] = {
    "listener": {
        "enabled": [True, False],
        "ae_title": ["PACSKIT", "CT 1", "A#B", 'Q"UOTE'],
        "port": [11112, 1104, 1999, "auto"],
        "host": ["0.0.0.0", "127.0.0.1", "::1"],
        "max_associations": [100, 1, 10_000],
        "artim_timeout": [30.0, 0.5, 12],
    },
    "secure_listener": {
        "port": [3100, 2762, "auto"],
        "certificate": [None, "/etc/ssl/Ж ü.pem", '/srv/C:\\a"b'],
        "tls_profile": ["rfc9325", "legacy"],
    },
    "his": {"allow": [[], ["one"], ["-----BEGIN-----\nabc\n-----END-----\n", "# no remark"]]},
    "web": {
        "port": [8090, 4000],
        "user": [None, "doctor", "Ärztin 🩻", "tab\tand\nline"],
        "cors": [[], ["https://a.example", "https://b.example"]],
        "session_timeout": [600, 10],
    },
    "viewer": {"mask_identifiers": [True, False]},
    "archive": {"durability": ["safe", "fast"], "folder": [None, "/data/archive"]},
}
PLACES = [(section, name) for section, fields in FIELDS.items() for name in fields]
STRANGE = [
    "0xDEAD_beef",
    "0o17",
    "-0",
    "1_000",
    "1e400",
    "nan",
    "-inf",
    "6.626e-34",
    "1979-05-27T07:32:00Z",
    "1979-05-27 07:32:00.999999",
    "1979-05-27",
    "07:32:00",
    "true",
    "'# no remark'",
    '"# no remark \\u00e9 \\" "',
    '"""\n[listener]\nport = 1 # no remark\n"""',
    "'''\n[[web]]\n# no remark\n'''",
    '"""a""""',
    '""',
    '"""one \\\n   two"""',
    "{ a = 1, b = { c = [ ] } }",
    "[ { x = 1 }, { x = 2 } ]",
    "[[1, 2], ['a'], []]",
    "9223372036854775807",
]


@dataclass(frozen=True)
class Text:
    content: str
    remarks: tuple[str, ...]

    @property
    def values(self) -> dict[str, Any]:
        return tomllib.loads(self.content)


def toml(value: Any) -> str:
    """One way of writing a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        signs = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
        return '"' + "".join(signs.get(c, c) for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """A whole, valid settings file."""
    numbers, remarks = itertools.count(1), []
    lines: list[str] = []

    def remark() -> str:
        text = f"#c{next(numbers)}." + draw(
            st.sampled_from(["", " port = 5", ' "', " [web]", " Ж🩻\u2028", "'''"])
        )
        remarks.append(text)
        return text

    def between() -> None:
        for blank in draw(st.lists(st.sampled_from(["", "  ", "\t", None, None]), max_size=2)):
            lines.extend(["  " + remark() if blank is None else blank])

    def written(name: str, value: str | Any) -> str:
        """`name = value`, spaced, quoted and remarked in some way."""
        key = draw(st.sampled_from([name, name, name, f'"{name}"', f"'{name}'"]))
        sign = draw(st.sampled_from([" = ", "=", "\t=   "]))
        behind = draw(st.sampled_from(["", "", " ", "remark"]))
        text = value if isinstance(value, str) else many(value[0])
        indent = draw(st.sampled_from(["", "", "  "]))
        return indent + key + sign + text + (f"  {remark()}" if behind == "remark" else behind)

    def many(value: Any) -> str:
        """A list may go over lines, with remarks between."""
        if isinstance(value, list) and draw(st.booleans()):
            found = ["[" + (" " + remark() if draw(st.booleans()) else "")]
            for item in value:
                if draw(st.booleans()):
                    found.append("    " + remark())
                found.append(f"    {toml(item)}," + (" " + remark() if draw(st.booleans()) else ""))
            return "\n".join([*found, "]"])
        if isinstance(value, str) and "\n" in value and draw(st.booleans()):
            return f'"""\n{value}"""'
        if isinstance(value, str) and "'" not in value and value.isprintable() and draw(st.booleans()):
            return f"'{value}'"
        return toml(value)

    def fields(section: str) -> list[str]:
        chosen = draw(st.lists(st.sampled_from(sorted(FIELDS[section])), unique=True, max_size=4))
        drawn = [(name, draw(st.sampled_from(FIELDS[section][name]))) for name in chosen]
        found = [written(name, (value,)) for name, value in drawn if value is not None]
        if draw(st.booleans()):
            found.append(written("later", draw(st.sampled_from(STRANGE))))
        return draw(st.permutations(found))

    sections = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=4))
    between()
    if draw(st.booleans()):
        lines.append(written("schema", "1"))
    for section in list(sections):  # some in the ways that need no section's line
        way = draw(st.sampled_from(["table", "table", "table", "dotted", "inline"]))
        if way == "table":
            continue
        sections.remove(section)
        between()
        if way == "dotted":
            lines.extend(f"{section}.{line.lstrip()}" for line in fields(section))
        else:
            inner = [line.strip() for line in fields(section)]
            one_line = [line for line in inner if "\n" not in line and "#c" not in line]
            for line in set(inner) - set(one_line):
                remarks[:] = [r for r in remarks if r.partition(".")[0] + "." not in line]
            lines.append(written(section, "{ " + ", ".join(one_line) + " }"))
    blocks: list[list[str]] = []
    for section in sections:
        head = draw(st.sampled_from([f"[{section}]", f"[ {section} ]", f'["{section}"]', f"  [{section}]"]))
        blocks.append([head + (f" {remark()}" if draw(st.booleans()) else ""), *fields(section)])
        if draw(st.integers(0, 3)) == 0:  # a later version's table in it, maybe far away from it
            blocks.append([f"[{section}.deeper]", written("x", draw(st.sampled_from(STRANGE)))])
    for number in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([f"future{number}", f'"fu.ture {number}"', f"future{number}.inner"]))
        blocks.append([f"[{name}]", written("x", draw(st.sampled_from(STRANGE)))])
    if draw(st.integers(0, 3)) == 0:
        blocks.append(["[[many]]", written("x", "1"), f"[[many]] {remark()}", "[many.inner]", "y = 2"])
    for block in draw(st.permutations(blocks)):
        between()
        for line in block:
            lines.append(line)
            if draw(st.integers(0, 3)) == 0:
                between()
    between()
    content = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))
    if draw(st.integers(0, 3)) == 0:
        content = content.replace("\n", "\r\n")
    return Text(content, tuple(remarks))


@st.composite
def changes(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """What a panel or a command line asks for."""
    found: dict[str, dict[str, Any]] = {}
    for section, name in draw(st.lists(st.sampled_from(PLACES), unique=True, min_size=1, max_size=5)):
        found.setdefault(section, {})[name] = draw(st.sampled_from(FIELDS[section][name]))
    return found
