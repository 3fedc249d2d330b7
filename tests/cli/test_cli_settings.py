"""`pacskit settings` and `pacskit serve` with settings, as a person and as a script use them: real processes."""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from forked_cli import SENTENCE, Forker, Result, write

from pacskit.settings import SECTIONS, passwords
from pacskit.settings.files import site_path, user_path
from tests import second_user

# Values


def test_a_person_sets_a_value_and_takes_it_back(settings: Any) -> None:
    every = settings("list").out.splitlines()
    assert [line.split()[0] for line in every] == [
        f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields
    ]
    assert all(line.endswith("  [default]") for line in every)
    assert settings("list", "--changed").out == ""
    assert settings("set", "listener.port", "104") == Result(0, "", "")
    assert settings("set", "viewer.mask_identifiers", "yes") == Result(0, "", "")
    assert settings("get", "listener.port") == Result(0, "104\n", "")
    assert settings("get", "viewer.mask_identifiers").out == "true\n"
    text = user_path().read_text()
    assert text == "schema = 1\n\n[listener]\nport = 104\n\n[viewer]\nmask_identifiers = true\n"
    assert stat.S_IMODE(user_path().stat().st_mode) == 0o600
    assert settings("list", "--changed").out == (
        f"listener.port            104  [user file {user_path()}, line 4]\n"
        f"viewer.mask_identifiers  true  [user file {user_path()}, line 7]\n"
    )
    value, meaning, *places = settings("explain", "listener.port").out.splitlines()
    assert (value, "TCP port" in meaning) == ("listener.port = 104", True)
    assert places == [f"from: user file {user_path()}, line 4", "hides: 11112 (default)"]
    settings("set", "listener.port", "11112")
    settings("set", "viewer.mask_identifiers", "false")
    assert "=" not in user_path().read_text().removeprefix("schema = 1")
    assert settings("explain", "listener.port").out.splitlines()[2:] == ["from: default"]


def test_a_script_reads_json(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write('[listener]\nport = 104\nae_title = "PACSKIT"\n[web]\nuser = "Jürgen"\n')
    monkeypatch.setenv("PACSKIT_LISTENER__PORT", "105")
    found = json.loads(settings("list", "--json").out)
    assert list(found) == [f"{s}.{name}" for s, kind in SECTIONS.items() for name in kind.model_fields]
    assert found["listener.port"] == {"value": 105, "source": "environment"}
    assert found["web.user"] == {"value": "Jürgen", "source": f"user file {user_path()}, line 5"}
    assert found["his.allow"] == {"value": [], "source": "default"}
    assert found["archive.folder"] == {"value": None, "source": "default"}
    changed = json.loads(settings("list", "--json", "--changed").out)
    assert list(changed) == ["listener.port", "web.user"], "the title in the file is the default"
    explained = json.loads(settings("explain", "listener.port", "--json").out)
    assert explained == {
        "key": "listener.port",
        "value": 105,
        "source": "environment",
        "file": None,
        "line": None,
        "hidden": [
            {"source": f"user file {user_path()}, line 2", "value": 104},
            {"source": "default", "value": 11112},
        ],
    }
    explained = json.loads(settings("explain", "web.user", "--json").out)
    assert (explained["file"], explained["line"]) == (str(user_path()), 5)
    assert json.loads(settings("explain", "web.password", "--json").out)["value"] is None


def test_lists_are_one_value_or_a_json_array(settings: Any) -> None:
    for text, kept in [
        ("10.0.0.1", '["10.0.0.1"]'),
        ('["10.0.0.1", "10.0.0.2"]', '["10.0.0.1", "10.0.0.2"]'),
    ]:
        settings("set", "his.allow", text)
        assert f"allow = {kept}\n" in user_path().read_text()
        before = user_path().read_bytes()
        shown = settings("get", "his.allow").out
        assert shown == f"{text}\n"
        settings("set", "his.allow", shown.removesuffix("\n"))
        assert user_path().read_bytes() == before, "what get prints, set takes"
    assert "10.0.0.1, 10.0.0.2  [user file" in settings("list", "--changed").out
    settings("set", "his.allow", "[]")
    assert settings("get", "his.allow").out == "\n"
    assert "allow" not in user_path().read_text()


WRONG: list[tuple[list[str], int, str]] = [
    (["get", "listener.prot"], 2, "listener.prot: is not a setting (did you mean port?)"),
    (["get", "listner.port"], 2, "listner.port: is not a section (did you mean listener?)"),
    (["get", "listener"], 2, "listener: is not a setting"),
    (["explain", "x"], 2, "x: is not a section"),
    (["set", "listener.prot", "-"], 2, "did you mean port?"),
    (["set", "listener.port", "many"], 2, "listener.port: a port is a whole number from 1 to 65535"),
    (["set", "listener.port", "0"], 2, "for one run only; write auto for any free one"),
    (["set", "listener.port", "8080"], 2, "8080 is the HIS/HTTP Service's port too"),
    (["set", "listener.ae_title", "Ж"], 2, "listener.ae_title: "),
    (["set", "web.session_timeout", "5"], 2, "web.session_timeout: must be at least 10"),
    (["set", "his.allow", "[1]"], 2, "his.allow: must be text"),
    (["set", "secure_listener.key_password", "geheim"], 2, "a key's password is never saved"),
    (["set", "listener.shared", "true"], 0, ""),
    (["set", "viewer.mask_identifiers", "true", "--shared"], 2, "cannot be shared: each user has its own"),
    (["set", "listener.port"], 2, "Missing argument 'VALUE'"),
    (["set", "listener.max_pdu", "65536"], 2, "is fixed by the environment; change it there"),
    (["nonsense"], 2, "No such command 'nonsense'"),
    (["list", "--nonsense"], 2, "No such option"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: " ".join(case[0]))
def test_wrong_use(settings: Any, monkeypatch: pytest.MonkeyPatch, case: Any) -> None:
    arguments, code, sentence = case
    monkeypatch.setenv("PACSKIT_LISTENER__MAX_PDU", "131072")
    result = settings(*arguments, code=code)
    assert result.out == ""
    assert sentence in " ".join(result.err.replace("│", " ").split())
    assert "geheim" not in result.err
    assert not user_path().exists()


def test_a_file_that_cannot_be_written(settings: Any) -> None:
    file = write("[listener]\nport = 104\n")
    file.chmod(0o400)
    result = settings("set", "listener.port", "105", code=1)
    assert result.err == (
        f"pacskit: {file} is not saved: it is read-only; allow writing, if it is meant to change\n"
    )
    assert file.read_text() == "[listener]\nport = 104\n"


def test_a_broken_file_is_told_by_every_command(settings: Any) -> None:
    """On stderr, so that what a script reads is only the value; the rest of the file counts."""
    file = write("[listener]\nport = \nae_title = 'X'\n[web]\nuser = 'me'\n")
    place = f"pacskit: user file {file}, line 2: listener: "
    assert settings("get", "web.user").out == "me\n"
    for arguments in (["list"], ["list", "--json"], ["get", "listener.port"], ["explain", "listener.port"]):
        result = settings(*arguments)
        assert result.err.startswith(place)
        assert result.out
    result = settings("set", "listener.port", "105", code=1)
    assert f"{file} is not saved: line 2 is in the way" in result.err
    assert "line 4: listener: " in settings("set", "viewer.mask_identifiers", "true").err, "after schema = 1"
    assert "port = \n" in file.read_text()


# Passwords


def test_a_password_stays_secret(settings: Any) -> None:
    """Read from standard input, kept as its hash, shown as being set."""
    for typed in ("geheim", '["geheim"]', " ge heim ", "$geheim\r"):
        assert settings("set", "web.password", "-", stdin=f"{typed}\n") == Result(0, "", "")
        text = user_path().read_text()
        assert "geheim" not in text
        hashed = text.partition('password = "')[2].partition('"')[0]
        assert hashed.startswith("$argon2id$")
        assert passwords.matches(hashed, typed.rstrip("\r"))
    for arguments in (
        ["get", "web.password"],
        ["list"],
        ["list", "--changed"],
        ["list", "--json"],
        ["explain", "web.password"],
        ["explain", "web.password", "--json"],
    ):
        result = settings(*arguments)
        assert "(set)" in result.out
        assert "$argon2" not in result.out + result.err
    assert settings("get", "web.password").out == "(set)\n"
    for stdin in ("", "\n"):
        before = user_path().read_bytes()
        result = settings("set", "web.password", "-", stdin=stdin, code=1)
        assert "web.password: nothing came on standard input" in result.err
        assert user_path().read_bytes() == before
    settings("set", "web.password", "")
    assert settings("get", "web.password").out == "\n"
    assert "password" not in user_path().read_text()


def test_a_person_is_asked_for_a_password(forker: Forker) -> None:
    """At a terminal, which must not show it."""
    master, slave = os.openpty()
    shown = b""
    try:
        forker.on_terminal(os.ttyname(slave), "settings", "set", "web.password", "-")
        while b"web.password: " not in shown:
            shown += os.read(master, 1000)
        os.write(master, b"geheim\n")
        assert forker.code() == 0
        os.set_blocking(master, False)
        shown += os.read(master, 1000)
    finally:
        os.close(slave)
        os.close(master)
    assert b"geheim" not in shown
    assert b"Traceback" not in shown
    hashed = user_path().read_text().partition('password = "')[2].partition('"')[0]
    assert passwords.matches(hashed, "geheim")


# All users


TWICE = """
import sys
from pacskit.cli import main
for more in (["--shared"], []):
    sys.argv = ["pacskit", "settings", "set", "listener.ae_title", "MINE", *more]
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


def test_only_an_administrator_shares(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = second_user.needed()
    site = user.shared() / "site.toml"
    monkeypatch.setenv("PACSKIT_SITE", str(site))
    settings("set", "listener.ae_title", "ALL", "--shared")
    text = site.read_text()
    assert text == 'schema = 1\n\n[listener]\nae_title = "ALL"\nshared = true\n'
    assert not user_path().exists()
    assert f"[site file {site}, line 4]" in settings("list", "--changed").out

    home = user.folder()
    run = user.run([sys.executable, "-c", TWICE], {"PACSKIT_SITE": str(site), "PACSKIT_HOME": str(home)})
    assert (run.returncode, run.stderr) == (0, SENTENCE * 2)
    assert run.stdout == "1\n1\n", "it was asked rightly, and failed"
    assert site.read_text() == text
    assert not list(home.iterdir())

    settings("set", "listener.shared", "false")
    assert "shared = false" in site.read_text()
    assert (
        settings("explain", "listener.ae_title").out.splitlines()[2]
        == f"from: user file {user_path()}, line 4"
    )


# The editor


@pytest.fixture
def editor(tmp_path: Path) -> Any:
    """`editor("code")`: the words for $EDITOR; the program has a blank in its name, and `path` and `text`."""

    def make(code: str) -> str:
        program = tmp_path / "my editor.py"
        program.write_text(
            f"import pathlib, sys\npath = pathlib.Path(sys.argv[-1])\ntext = path.read_text()\n{code}\n"
        )
        return shlex.join([sys.executable, str(program), "--wait"])

    return make


def test_edit(settings: Any, editor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = "assert sys.argv[1] == '--wait'; path.write_text(text + '[listener]\\nport = 104\\n')"
    monkeypatch.setenv("EDITOR", editor(good))
    monkeypatch.setenv("VISUAL", " ")
    assert settings("edit") == Result(0, "", "")
    assert user_path().read_text() == "schema = 1\n[listener]\nport = 104\n"
    assert stat.S_IMODE(user_path().stat().st_mode) == 0o600
    assert settings("get", "listener.port").out == "104\n"

    for code, sentence in [
        ("path.write_text(text + 'ae_title = \\n')", f"user file {user_path()}, line 4: listener: "),
        ("path.write_text(text.replace('104', 'many'))", f"user file {user_path()}, line 3: listener"),
        (
            "path.write_text(text.replace('port', 'prot'))",
            "line 3: listener.prot: is not a setting (did you mean",
        ),
        ("path.write_bytes(b'\\0')", f"user file {user_path()}: it is not text in UTF-8"),
    ]:
        user_path().write_text("schema = 1\n[listener]\nport = 104\n")
        monkeypatch.setenv("EDITOR", editor(code))
        result = settings("edit", code=1)
        assert result.err.startswith(f"pacskit: user file {user_path()}")
        assert sentence in result.err

    user_path().write_text("schema = 1\n")
    monkeypatch.setenv("VISUAL", editor("sys.exit(3)"))
    assert settings("edit", code=1).err.endswith("my editor.py' --wait ended with code 3\n")
    for nonsense, reason in [
        ("/nowhere/vi -x", "No such file or directory"),
        ("vi '", "No closing quotation"),
    ]:
        monkeypatch.setenv("VISUAL", nonsense)
        result = settings("edit", code=1)
        assert result.err == f"pacskit: The editor {nonsense} cannot be started: {reason}. Set EDITOR\n"
    assert user_path().read_text() == "schema = 1\n"

    monkeypatch.setenv("VISUAL", editor("path.write_text('[listener]\\nshared = true\\nport = 2000\\n')"))
    settings("edit", "--shared")
    assert site_path().stat().st_mode & 0o777 == 0o644
    assert settings("get", "listener.port").out == "2000\n"
    monkeypatch.setenv("VISUAL", editor("path.unlink()"))
    settings("edit")
    assert not user_path().exists()
