"""Certificates in settings: the trusted list is kept by content; paths count whatever the working folder is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacskit.certificates import Authority
from pacskit.errors import SettingError
from pacskit.settings import pairs_layer, values, wire
from pacskit.settings.layers import COMMAND_LINE
from pacskit.settings.models import SecureListenerSettings
from tests.settings.conftest import Home

KEY = "secure_listener.trusted"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority.create(folder / "a", name="Root A"), Authority.create(folder / "b", name="Root B")


@pytest.fixture
def roots(
    authorities: tuple[Authority, Authority], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The working folder has a.crt and b.crt; their texts."""
    monkeypatch.chdir(tmp_path)
    for authority, name in zip(authorities, "ab", strict=True):
        shutil.copy(authority.root, tmp_path / f"{name}.crt")
    return authorities[0].root.read_text(), authorities[1].root.read_text()


def by_code(home: Home, value: Any) -> tuple[str, ...]:
    return home.stack({"secure_listener": {"trusted": value}}).settings.secure_listener.trusted


def by_environment(home: Home, value: Any) -> tuple[str, ...]:
    text = json.dumps(value) if isinstance(value, list) else value
    return home.stack(PACSKIT_SECURE_LISTENER__TRUSTED=text).settings.secure_listener.trusted


def by_command_line(home: Home, value: Any) -> tuple[str, ...]:
    text = json.dumps(value) if isinstance(value, list) else value
    layer = pairs_layer(COMMAND_LINE, [(KEY, text)])
    return home.stack(layers=[layer]).settings.secure_listener.trusted


def by_hand(home: Home, value: Any) -> tuple[str, ...]:
    home.write(f"schema = 1\n[secure_listener]\ntrusted = {json.dumps(value)}\n")
    stack = home.stack()
    assert not stack.settings.problems
    return stack.settings.secure_listener.trusted


def by_saving(home: Home, value: Any) -> tuple[str, ...]:
    return home.save({"secure_listener": {"trusted": value}}).secure_listener.trusted


FACES = [by_code, by_environment, by_command_line, by_hand, by_saving]


@pytest.mark.parametrize("face", FACES)
def test_every_face_keeps_the_content(
    home: Home, roots: tuple[str, str], face: Callable[[Home, Any], tuple[str, ...]]
) -> None:
    a, b = roots
    assert face(home, "a.crt") == (a,)
    assert face(home, ["a.crt", "b.crt", "a.crt", b]) == (a, b)  # each once, in the order they came
    assert face(home, a) == (a,)
    assert face(home, a + b) == (a, b)
    assert face(home, "") == ()


def test_the_files_may_go(home: Home, roots: tuple[str, str]) -> None:
    home.save({"secure_listener": {"trusted": [Path("a.crt"), Path("b.crt").absolute()]}})
    Path("a.crt").unlink()
    Path("b.crt").unlink()
    assert "a.crt" not in home.text()
    assert home.stack().settings.secure_listener.trusted == roots
    assert SecureListenerSettings(trusted=roots).trusted == roots


def test_a_vanished_file_of_a_hand_written_entry_blocks_the_service(
    home: Home, roots: tuple[str, str]
) -> None:
    """Nobody meant the list without it."""
    assert by_hand(home, ["a.crt"]) == roots[:1]
    Path("a.crt").unlink()
    settings = home.stack().settings
    [problem] = settings.blocking("secure_listener")
    assert str(problem) == (
        f"user file {home.user}, line 3: {KEY}: a.crt does not exist: choose the file again"
    )
    assert settings.secure_listener.trusted == ()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("no.crt", "no.crt does not exist: choose the file again"),
        ("a.txt", "a.txt is none of *.pem, *.crt, *.cer"),
        ("noise.crt", "noise.crt holds text, no certificate"),
        ("empty.crt", "empty.crt is empty"),
        ("folder.crt", "folder.crt is a folder: choose the file in it"),
        ("~nobody-here/a.crt", "~nobody-here/a.crt cannot be read: ~nobody-here is no user of this computer"),
        ("two\nlines", "Entry 1 of the trusted list is neither PEM text nor a path"),
        (["a.crt", ""], "Entry 2 of the trusted list is neither PEM text nor a path"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "Entry 1 of the trusted list is damaged",
        ),
        ([5], "must be text"),
        (5, "must be a list"),
    ],
)
def test_what_is_no_certificate_has_its_sentence(
    home: Home, roots: tuple[str, str], value: Any, sentence: str
) -> None:
    Path("noise.crt").write_text("noise")
    Path("empty.crt").touch()
    Path("folder.crt").mkdir()
    with pytest.raises(SettingError) as raised:
        by_code(home, value)
    assert str(raised.value).startswith(f"{KEY}: {sentence}")


def test_paths_do_not_depend_on_the_working_folder(
    home: Home, roots: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = {
        "certificate": "s.crt",
        "private_key": Path("s.key"),
        "key_password_file": "~/p",
        "crl": "c.crl",
    }
    settings = home.stack({"secure_listener": wanted}).settings.secure_listener
    found = settings.certificate, settings.private_key, settings.key_password_file, settings.crl
    assert found == (tmp_path / "s.crt", tmp_path / "s.key", Path.home() / "p", (tmp_path / "c.crl",))
    handed = wire.plain_fields({"secure_listener": {**wanted, "trusted": ["a.crt"]}, "x": {"y": Path("z")}})
    assert handed["secure_listener"] == {
        "certificate": str(tmp_path / "s.crt"),
        "private_key": str(tmp_path / "s.key"),
        "key_password_file": str(Path.home() / "p"),
        "crl": [str(tmp_path / "c.crl")],
        "trusted": [roots[0]],
    }
    assert handed["x"] == {"y": "z"}
    wrong = {"secure_listener": {"trusted": ["gone.crt"]}, "web": {"password": "geheim"}}
    assert wire.plain_fields(wrong) == wrong  # for the other process to say; a password is hashed there


def test_people_read_names_and_programs_content(home: Home, roots: tuple[str, str]) -> None:
    assert values.in_words(roots).startswith("Root A, pacskit teaching authority (SHA-256 ")
    assert ", Root B, " in values.in_words(roots)
    assert "BEGIN" not in values.in_words(roots)
    assert values.in_words((Path("/a"), "b")) == "/a, b"

    def pacskit(*words: str) -> str:
        run = [sys.executable, "-m", "pacskit", "settings", *words]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    pacskit("set", KEY, "a.crt")
    assert pacskit("get", KEY).strip() == roots[0].strip()
    assert "Root A, pacskit teaching authority (SHA-256 " in pacskit("explain", KEY)
    listed = pacskit("list", "--changed")
    assert listed.startswith(f"{KEY}  Root A")
    assert len(listed.splitlines()) == 1
    assert json.loads(pacskit("list", "--changed", "--json"))[KEY]["value"] == [roots[0]]
