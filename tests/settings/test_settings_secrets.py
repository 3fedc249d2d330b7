"""Secrets: passwords only as argon2 hashes, and in no sentence, repr or log."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacskit.errors import PacskitError, SettingError
from pacskit.settings import Settings, passwords, values
from pacskit.settings.document import Document
from tests.settings.conftest import Home

PLAIN = "geheim-Ж-4711"
HASH_OF_ANOTHER = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$"


def everything(found: Settings) -> str:
    """All that a face could show of these settings."""
    parts: list[Any] = [found, repr(found), *found.problems, *map(repr, found.problems)]
    for name in ("his", "web", "secure_listener"):
        section = found.section(name)
        parts += [section, repr(section), section.model_dump_json(), section.model_dump()]
        for field in type(section).model_fields:
            explained = found.explain(f"{name}.{field}")
            parts += [
                explained,
                values.shown(explained.value),
                *map(values.shown, dict(explained.hidden).values()),
            ]
    return "\n".join(map(str, parts))


def test_a_password_is_kept_as_its_hash(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stack = home.stack()
    plan = stack.plan({"web": {"password": PLAIN, "user": "doctor"}, "his": {"token": PLAIN}}, save=True)
    assert PLAIN not in repr(plan) + str(plan)
    assert "argon2" not in repr(plan)
    saved = stack.carry_out(plan)
    assert home.text().count(PLAIN) == 1  # the token, which must be sent as it is
    kept = saved.web.password
    assert kept is not None
    assert kept.get_secret_value().startswith("$argon2id$v=19$")
    assert f'password = "{kept.get_secret_value()}"\n' in home.text()
    assert passwords.matches(kept.get_secret_value(), PLAIN)
    assert not passwords.matches(kept.get_secret_value(), PLAIN + "x")
    for shown in (everything(saved), everything(home.stack().settings), caplog.text, repr(stack.user.read())):
        assert PLAIN not in shown
        assert "argon2id" not in shown
    assert values.shown(kept) == "(set)"
    assert home.stack().settings == saved  # the same hash each time it is read
    before = home.text()
    home.save({"web": {"password": kept.get_secret_value()}})
    assert home.text() == before
    home.save({"web": {"password": ""}, "his": {"token": ""}})
    assert home.text() == 'schema = 1\n\n[web]\nuser = "doctor"\n\n[his]\n'


def test_from_environment_and_code(home: Home) -> None:
    """The same plain text gives the same hash, so a service does not seem to have new settings."""
    stack = home.stack(PACSKIT_WEB__PASSWORD=PLAIN, PACSKIT_SECURE_LISTENER__KEY_PASSWORD=PLAIN)
    first = stack.settings
    assert first == stack.load()
    assert PLAIN not in everything(first) + repr(stack._environment)
    assert first.secure_listener.key_password is not None
    assert first.secure_listener.key_password.get_secret_value() == PLAIN
    stack.carry_out(stack.plan({"web": {"user": "x"}, "secure_listener": {"port": 104}}, save=True))
    stack.carry_out(stack.plan({"secure_listener": {"port": 105}}, save=True, shared=True))
    for file in (home.user, home.site):
        assert PLAIN not in file.read_text()
        assert "argon2" not in file.read_text()
    in_code = home.stack({"web": {"password": PLAIN}, "his": {"token": PLAIN}})
    assert PLAIN not in everything(in_code.settings) + repr(in_code.plan({"web": {"user": "x"}}, save=False))


def test_in_plain_in_a_file(home: Home) -> None:
    text = f"[web]\npassword = '{PLAIN}' # mine\n"
    home.write(text)
    found = home.stack().settings
    assert found.web.password is not None
    assert passwords.matches(found.web.password.get_secret_value(), PLAIN)
    [problem] = found.problems
    sentence = "stands there in plain: set it again, and only its hash is kept"
    assert str(problem) == f"user file {home.user}, line 2: web.password: {sentence}"
    assert problem.effect == "ignored"
    assert PLAIN not in everything(found)
    assert home.text() == text
    home.save({"web": {"password": PLAIN}})
    assert PLAIN not in home.text()
    assert "# mine" in home.text()
    assert home.problems() == []


BAD = [
    "$argon2id$",
    "$argon2",
    HASH_OF_ANOTHER,
    "$argon2id$v=19$m=1,t=1,p=1$AAAA",
    "$argon2z$v=19$m=1,t=1,p=1$AAAA$AAAA",
]


@pytest.mark.parametrize("damaged", BAD)
def test_a_damaged_hash(home: Home, damaged: str) -> None:
    text = f"[web]\npassword = '{damaged}'\nuser = 'x'\n"
    home.write(text)
    found = home.stack().settings
    if not found.problems:  # well formed for the library: then it is nobody's password
        assert found.web.password is not None
        assert not passwords.matches(found.web.password.get_secret_value(), "")
        return
    sentence = "this is no whole argon2 hash: set the password again"
    assert home.problems() == [f"user file {home.user}, line 2: web.password: {sentence}"]
    assert found.web.password is None
    assert found.blocking("web")
    assert found.web.user == "x"
    with pytest.raises(SettingError, match=sentence):
        home.stack().plan({"web": {"password": damaged}}, save=True)
    home.save({"web": {"password": PLAIN}})
    assert home.problems() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.sampled_from(
        [
            "[web]\npassword = {}\n",
            "[web]\npasword = {}\n",
            "[web]\npassword = [{}]\n",
            "[web]\npassword = {}\npassword = {}\n",
            "[his]\ntoken = {} {}\n",
            "[his]\ntoken = [{}]\n",
            "[secure_listener]\nkey_password = {}\n",
            "[weeb]\npassword = {}\n",
            "web = {}\n",
            "[web]\npassword = {}\nuser =",
            "[web]\npassword = {}{}\n",
            "schema = {}\n",
        ]
    ),
    st.sampled_from(
        [f"'{PLAIN}'", f'"{PLAIN}"', f"'{PLAIN}", PLAIN, f'"""{PLAIN}"', f'"\\x{PLAIN}"', f'"{PLAIN}\\u0000"']
    ),
)
def test_in_no_sentence(home: Home, form: str, secret: str) -> None:
    """However wrong the place or the way it is written."""
    text = form.replace("{}", secret)
    home.write(text)
    stack = home.stack()
    shown = everything(stack.settings) + repr(stack.user.read()) + repr(Document.parse(text))
    try:
        stack.carry_out(stack.plan({"web": {"user": "x"}}, save=True))
    except PacskitError as error:
        shown += "".join(traceback.format_exception_only(error)) + repr(error) + str(error.__cause__)
    assert PLAIN not in shown
    assert PLAIN in home.text()


@pytest.mark.parametrize("secret", [f"{PLAIN}\0", f"{PLAIN}\udcff", [PLAIN], {PLAIN: 1}, PLAIN.encode()])
@pytest.mark.parametrize("field", ["web.password", "his.token", "secure_listener.key_password"])
def test_in_no_error(home: Home, field: str, secret: Any) -> None:
    section, _, name = field.partition(".")
    said = []
    for attempt in (
        lambda: home.stack().plan({section: {name: secret}}, save=True),
        lambda: home.stack({section: {name: secret}}),
    ):
        try:
            attempt()
        except SettingError as error:
            said.append(f"{error} {error!r} {error.__context__} {error.__cause__}")
    assert len(said) == 2 or isinstance(secret, bytes)
    assert PLAIN not in "".join(said)


def test_sections_do_not_tell_their_secrets(home: Home) -> None:
    found = home.stack({"his": {"token": PLAIN}}).settings
    assert PLAIN not in str(found.his) + repr(found.his) + str(found.his.model_dump())
    with pytest.raises(ValueError) as caught:
        type(found.his).model_validate({"token": [PLAIN], "port": 1})
    assert PLAIN not in str(caught.value)
    assert pickle.loads(pickle.dumps(found.his)) == found.his
