"""A person's file stays a person's file: values, remarks, order, and what a later version wrote."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pacskit.errors import NotSaved
from pacskit.settings import SECTIONS
from pacskit.settings.files import SettingsFile
from pacskit.settings.layers import USER
from tests.settings.conftest import Home
from tests.settings.toml_texts import Text, changes, texts

COLLECTION = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def exact(value: Any) -> Any:
    """1, 1.0 and true differ; nan does not."""
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value).__name__, repr(value)


def after(values: dict[str, Any], asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the file must say when it is saved: only what differs from the default is written."""
    result = {n: dict(v) if isinstance(v, dict) else v for n, v in values.items()}
    for section, fields in asked.items():
        there = result.setdefault(section, {})
        for name, value in fields.items():
            default = SECTIONS[section].model_fields[name].default
            default = list(default) if isinstance(default, tuple) else default
            if value == default:
                if name in there and there[name] != default:
                    del there[name]
            else:
                kept = float(value) if isinstance(default, float) else value
                if there.get(name) != kept or type(there[name]) is not type(kept):
                    there[name] = kept
    result["schema"] = 1
    return {n: v for n, v in result.items() if v != {}}


def check_saving(home: Home, text: Text, asked: list[dict[str, dict[str, Any]]], bom: bool) -> None:
    values = text.values
    home.write(b"\xef\xbb\xbf" * bom + text.content.encode())
    for change in asked:
        before = home.user.read_bytes()
        try:
            home.save(change)
        except NotSaved as error:
            event(f"not saved: {str(error).partition('saved: ')[2][:60]}")
            assert home.user.read_bytes() == before
            return
        event("saved")
        expected = after(values, change)
        if home.user.read_bytes() == before:
            assert exact({n: v for n, v in values.items() if v != {}}) == exact(
                {n: v for n, v in expected.items() if n != "schema" or n in values}
            )
            continue
        saved = home.text()
        values = tomllib.loads(saved)
        assert exact({n: v for n, v in values.items() if v != {}}) == exact(expected)
        for remark in text.remarks:
            assert saved.count(remark.rstrip()) >= 1, remark
            assert saved.count(remark.partition(".")[0] + ".") == 1, remark
        if "\r\n" in text.content and not text.content.replace("\r\n", "").count("\n"):
            assert "\n" not in saved.replace("\r\n", "")
    again = SettingsFile(home.user, USER).read()
    assert exact(again.stored) == exact({n: v for n, v in values.items() if n != "schema"})


@COLLECTION
@given(texts(), st.lists(changes(), min_size=1, max_size=3), st.booleans())
def test_load_save_load(text: Text, asked: list[dict[str, dict[str, Any]]], bom: bool) -> None:
    _in_a_new_home(text, asked, bom)


@pytest.mark.soak
@COLLECTION
@given(texts(), st.lists(changes(), min_size=1, max_size=3), st.booleans())
def test_load_save_load_long(text: Text, asked: list[dict[str, dict[str, Any]]], bom: bool) -> None:
    _in_a_new_home(text, asked, bom)


def _in_a_new_home(text: Text, asked: list[dict[str, dict[str, Any]]], bom: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACSKIT_HOME", folder)
        patch.setenv("PACSKIT_SITE", f"{folder}/none/site.toml")
        check_saving(Home(Path(folder, "settings.toml"), Path(folder, "none", "site.toml")), text, asked, bom)


CHANGE = {"listener": {"port": 105}, "his": {"allow": ["b"]}, "web": {"user": None}}
SAVED = [
    (
        "# a\n\n[listener] # b\n# c\nport = 104 # d\n\n# e\n",
        'schema = 1\n\n# a\n\n[listener] # b\n# c\nport = 105 # d\n\n# e\n\n[his]\nallow = ["b"]\n',
    ),
    (
        "schema = 1\n[his]\nallow = [ # a\n  'a', # b\n  # c\n] # d\n[listener]\n  'port'\t=104",
        "schema = 1\n[his]\n# a\n# b\n# c\nallow = [\"b\"] # d\n[listener]\n  'port'\t=105",
    ),
    (
        "schema = 1\r\n[web]\r\n  user = 'x' # a\r\n",
        'schema = 1\r\n[web]\r\n  # a\r\n\r\n[listener]\r\nport = 105\r\n\r\n[his]\r\nallow = ["b"]\r\n',
    ),
    (
        "schema = 1\nlistener = { port = 104 } # a\nweb.user = 'x'\nweb.later = 1 # b\n[future]\n",
        'schema = 1\nlistener = { port = 105 } # a\nweb.later = 1 # b\n[future]\n\n[his]\nallow = ["b"]\n',
    ),
    (
        "schema = 1\n[listener]\nport = 104\n[future]\n# a\n[listener.deeper]\nx = 1\n",
        'schema = 1\n[listener]\nport = 105\n[future]\n# a\n[listener.deeper]\nx = 1\n\n[his]\nallow = ["b"]\n',
    ),
    (
        "schema = 1\n[listener]\n[future]\n# a\n[listener.deeper]\nx = 1\n",
        'schema = 1\n[listener]\nport = 105\n[future]\n# a\n[listener.deeper]\nx = 1\n\n[his]\nallow = ["b"]\n',
    ),
    ("schema = 0 # a\n", 'schema = 1 # a\n\n[listener]\nport = 105\n\n[his]\nallow = ["b"]\n'),
    (
        "\ufeffschema = 1\n[listener]\nport = 105",
        'schema = 1\n[listener]\nport = 105\n\n[his]\nallow = ["b"]\n',
    ),
]


@pytest.mark.parametrize(("before", "saved"), SAVED, ids=range(len(SAVED)))
def test_what_is_saved(home: Home, before: str, saved: str) -> None:
    home.write(before)
    home.save(CHANGE)
    assert home.text() == saved


def test_equal_is_not_the_same(home: Home) -> None:
    """What another version wrote keeps its type: 1 is neither 1.0 nor true, and nan is nan."""
    text = "[future]\na = 1\nb = 1.0\nc = true\nd = nan\ne = 0x1\nf = 1979-05-27\n"
    home.write(text)
    home.save(CHANGE)
    assert text in home.text()
    home.write("[web]\nsession_timeout = 20.0\n[listener]\nartim_timeout = 20\n")
    home.save({"web": {"session_timeout": 20}, "listener": {"artim_timeout": 20}})
    assert home.text() == "schema = 1\n\n[web]\nsession_timeout = 20\n[listener]\nartim_timeout = 20.0\n"
