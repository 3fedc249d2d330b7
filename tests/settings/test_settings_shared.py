"""Sections that all users of the computer share: only an administrator changes them, nobody's own values go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacskit.errors import NotAdministrator, NotSaved, SettingError
from tests import second_user
from tests.second_user import SecondUser
from tests.settings.conftest import Home

OWN = "schema = 1\n\n# mine\n[listener]\nport = 104 # my port\nae_title = 'MINE'\nmax_pdu = 1 # wrong\n[web]\nuser = 'x'\n"
SENTENCE = "Only an administrator can change settings shared by all users."


def test_a_shared_section_hides_the_users_own(home: Home) -> None:
    home.write(OWN)
    assert [problem.key for problem in home.stack().settings.problems] == ["listener.max_pdu"]
    home.share("# for all\n[listener]\nshared = true\nport = 2000\n[web]\nuser = 'nobody'\n")
    settings = home.stack().settings
    assert (settings.listener.port, settings.listener.shared) == (2000, True)
    assert settings.listener.ae_title == "PACSKIT"  # the section as a whole
    assert settings.problems == ()  # what is wrong in values that do not count, harms nobody
    assert settings.web.user == "x"  # not shared, though it stands there
    assert home.text() == OWN


def test_share_and_end_it(home: Home) -> None:
    home.write(OWN.replace("max_pdu = 1 # wrong\n", ""))
    own = home.text()
    home.share("# for all\n")
    stack = home.stack()
    assert stack.is_administrator()
    stack.carry_out(stack.plan({"listener": {"enabled": True}}, save=True, shared=True))
    assert home.text() == own  # kept, and not used
    site = home.site.read_text()
    assert site.startswith("schema = 1\n\n# for all\n\n[listener]\n")
    assert site.endswith('enabled = true\nae_title = "MINE"\nport = 104\nshared = true\n')
    explained = stack.settings.explain("listener.port")
    assert (explained.source, explained.file, explained.value) == ("site file", home.site, 104)
    stack.carry_out(stack.plan({"listener": {"port": 105}}, save=True))  # it stays shared
    assert "port = 105\n" in home.site.read_text()
    assert home.text() == own
    stack.carry_out(stack.plan({"listener": {"shared": False}}, save=True))
    assert stack.settings.explain("listener.port").source == "user file"
    assert (stack.settings.listener.port, stack.settings.listener.shared) == (105, False)
    assert "port = 105 # my port\n" in home.text()
    assert "shared" not in home.text()
    assert "shared = false\n" in home.site.read_text()


def test_what_was_shared_long_ago_does_not_come_back(home: Home) -> None:
    home.share("[listener]\nshared = false\nport = 5000\nae_title = 'OLD'\nmax_pdu = 4096\n")
    saved = home.save({"listener": {"port": 11112, "ae_title": "NEW"}}, shared=True)
    assert (saved.listener.port, saved.listener.ae_title, saved.listener.max_pdu) == (11112, "NEW", 131072)
    assert home.site.read_text() == 'schema = 1\n\n[listener]\nshared = true\nae_title = "NEW"\n'


@pytest.mark.parametrize(
    ("word", "counts"),
    [
        ("true", True),
        ("1", True),
        ("'yes'", True),
        ("false", False),
        ("0", False),
        ("'no'", False),
        ("'perhaps'", None),
    ],
)
def test_words_for_shared(home: Home, word: str, counts: bool | None) -> None:
    home.share(f"[listener]\nshared = {word}\nport = 2000\n")
    settings = home.stack().settings
    assert settings.listener.port == (11112 if counts is False else 2000)
    assert bool(settings.blocking("listener")) is (counts is None)
    assert settings.listener.shared is (counts or False)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("section", ["web", "viewer", "archive", "station"])
def test_what_cannot_be_shared(home: Home, section: str, shared: bool) -> None:
    changes: dict[str, dict[str, Any]] = {section: {} if shared else {"shared": True}}
    with pytest.raises(SettingError, match=r"cannot be shared: each user has its own|is not a setting"):
        home.stack().plan(changes, save=True, shared=shared)


def test_sharing_is_kept_in_a_file(home: Home) -> None:
    with pytest.raises(SettingError, match="is kept in a file: change it with save=True"):
        home.stack().plan({"listener": {"shared": True}}, save=False)
    with pytest.raises(SettingError, match="counts in the site file only"):
        home.stack({"listener": {"shared": True}})
    home.write("[listener]\nshared = false\nport = 104\n")
    [problem] = home.stack().settings.problems
    assert (problem.effect, problem.key) == ("ignored", "listener.shared")
    assert home.save({"listener": {"ae_title": "X"}}).listener.port == 104


def test_a_secret_is_never_put_where_all_read(home: Home) -> None:
    home.write("[web]\npassword = 'geheim'\nuser = 'x'\n[his]\ntoken = 'geheim'\n")
    home.save({"listener": {"port": 104}, "secure_listener": {"port": 105}}, shared=True)
    assert "geheim" not in home.site.read_text()
    assert "argon2" not in home.site.read_text()


def test_a_broken_site_file(home: Home) -> None:
    home.write(OWN)
    text = "[listener]\nshared = true\nport = \n[secure_listener]\nshared = true\nport = 2000\n"
    home.share(text)
    stack = home.stack()
    assert stack.settings.secure_listener.port == 2000
    assert f"site file {home.site}, line 3: listener: Invalid value; this part is not used" in home.problems()
    assert stack.settings.blocking("listener")
    with pytest.raises(NotSaved, match="line 3 is in the way"):
        home.save({"listener": {"port": 105}}, shared=True)
    assert home.site.read_text() == text


def test_a_folder_that_is_missing_is_tried_and_taken_away_again(
    home: Home, free_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = free_home / "etc" / "pacskit" / "site.toml"
    monkeypatch.setenv("PACSKIT_SITE", str(site))
    stack = home.stack()
    assert stack.is_administrator()
    assert not site.parent.parent.exists()
    home.share("")
    monkeypatch.setenv("PACSKIT_SITE", str(home.site / "site.toml"))
    assert not home.stack().is_administrator()


AS_USER = """
import json, os, sys
from pacskit.errors import PacskitError
from pacskit.settings.stack import SettingsStack

def answer(places, requests):
    os.environ.update(places)
    stack = SettingsStack(environ={})
    result = {"administrator": stack.is_administrator(), "port": stack.settings.listener.port, "answers": [],
              "problems": [str(problem) for problem in stack.settings.problems]}
    for changes, shared in requests:
        try:
            stack.carry_out(stack.plan(changes, save=True, shared=shared))
        except PacskitError as error:
            result["answers"].append(f"{type(error).__name__}: {error}")
        else:
            result["answers"].append(stack.settings.listener.port)
    return result | {"stays": stack.is_administrator()}

for line in sys.stdin:
    print(json.dumps(answer(*json.loads(line))), flush=True)
"""


class Asked:
    """A process of the second user, that reads and changes settings as it is asked to."""

    def __init__(self, user: SecondUser, process: subprocess.Popen[str]) -> None:
        self.uid, self.folder, self.shared = user.uid, user.folder, user.shared
        self._process = process

    def ask(self, home: Path, site: Path, *requests: tuple[dict[str, Any], bool]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        places = {"PACSKIT_HOME": str(home), "PACSKIT_SITE": str(site)}
        self._process.stdin.write(json.dumps([places, requests]) + "\n")
        self._process.stdin.flush()
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result


@pytest.fixture(scope="module")
def user() -> Iterator[Asked]:
    found = second_user.needed()
    command = [*found.prefix, sys.executable, "-c", AS_USER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = os.environ | found.places()
    with subprocess.Popen(command, **pipes, text=True, env=environment, cwd=found.home) as process:
        yield Asked(found, process)
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


def test_who_is_no_administrator(user: Asked) -> None:
    site = user.shared() / "site.toml"
    text = "[listener]\nshared = true\nport = 2000\n"
    site.write_text(text)
    site.chmod(0o644)
    home = user.folder()
    answer = user.ask(
        home,
        site,
        ({"listener": {"port": 105}}, False),
        ({"listener": {"port": 105}}, True),
        ({"listener": {"shared": False}}, False),
        ({"secure_listener": {"port": 105}}, True),
        (
            {"listener": {"port": 2000}},
            False,
        ),  # as it is: OK changes nothing, so nobody is asked who they are
        ({"listener": {"ae_title": "PACSKIT"}, "web": {"user": "me"}}, False),
        ({"secure_listener": {"port": 105}}, False),
    )
    refused = f"NotAdministrator: {SENTENCE}"
    assert answer == {
        "administrator": False,
        "port": 2000,
        "problems": [],
        "answers": [refused] * 4 + [2000] * 3,
        "stays": False,
    }
    assert site.read_text() == text
    assert [path.name for path in site.parent.iterdir()] == ["site.toml"]
    saved = (home / "settings.toml").read_text()
    assert saved == 'schema = 1\n\n[web]\nuser = "me"\n\n[secure_listener]\nport = 105\n'


def test_a_site_file_that_cannot_be_replaced(user: Asked) -> None:
    """Writable for all in a folder that is not: a save replaces the file, so this is no administrator either."""
    site = user.shared() / "site.toml"
    site.write_text("[listener]\nshared = true\n")
    site.chmod(0o666)
    assert not user.ask(user.folder(), site)["administrator"]
    folder = user.shared()
    folder.chmod(0o1777)  # as /tmp: others' files cannot be replaced there
    site = folder / "site.toml"
    site.write_text("[listener]\nshared = true\n")
    site.chmod(0o666)
    answer = user.ask(user.folder(), site, ({"listener": {"port": 105}}, False))
    assert (answer["administrator"], answer["answers"]) == (False, [f"NotAdministrator: {SENTENCE}"])
    assert [path.name for path in folder.iterdir()] == ["site.toml"]


def test_who_can_write_it_is_an_administrator(user: Asked) -> None:
    site = user.folder() / "new" / "site.toml"
    answer = user.ask(
        user.folder(), site, ({"listener": {"port": 105}}, True), ({"listener": {"port": 106}}, False)
    )
    assert (answer["administrator"], answer["answers"]) == (True, [105, 106])
    assert site.stat().st_uid == user.uid


def test_a_file_of_another_user(user: Asked) -> None:
    """Read, and never written."""
    home = user.folder()
    file = home / "settings.toml"
    text = "[listener]\nport = 104\n"
    file.write_text(text)  # root's, in the user's own folder: it could be replaced there
    file.chmod(0o644)
    answer = user.ask(home, user.shared() / "site.toml", ({"listener": {"port": 105}}, False))
    assert answer["port"] == 104
    assert answer["problems"] == [f"user file {file}: it belongs to root, so it is not changed here"]
    sentence = "it belongs to root; ask them, or use a PACSKIT_HOME of your own"
    assert answer["answers"] == [f"NotSaved: {file} is not saved: {sentence}"]
    assert (file.read_text(), file.stat().st_uid) == (text, 0)


def test_a_folder_of_another_user(user: Asked) -> None:
    home = user.shared()
    answer = user.ask(home / "pacskit", user.shared() / "site.toml", ({"listener": {"port": 105}}, False))
    sentence = "you are not permitted to; its owner or an administrator is"
    assert answer["answers"] == [f"NotSaved: {home / 'pacskit' / 'settings.toml'} is not saved: {sentence}"]
    assert not list(home.iterdir())


def test_root_leaves_a_users_file_to_the_user(
    user: Asked, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = user.folder()
    answer = user.ask(theirs, user.shared() / "site.toml", ({"listener": {"port": 105}}, False))
    assert answer["answers"] == [105]
    monkeypatch.setenv("PACSKIT_HOME", str(theirs))
    home.save({"listener": {"port": 106}})
    status = (theirs / "settings.toml").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (user.uid, 0o600)
    answer = user.ask(theirs, user.shared() / "site.toml", ({"listener": {"port": 107}}, False))
    assert (answer["port"], answer["answers"]) == (106, [107])


def test_not_administrator_is_a_setting_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.user.parent.mkdir()
    home.user.parent.joinpath("file").touch()
    monkeypatch.setenv("PACSKIT_SITE", str(home.user.parent / "file" / "site.toml"))
    with pytest.raises(NotAdministrator) as caught:
        home.stack().plan({"listener": {"port": 104}}, save=True, shared=True)
    assert (str(caught.value), caught.value.key) == (SENTENCE, "listener.shared")
