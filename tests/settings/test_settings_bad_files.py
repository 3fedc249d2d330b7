"""Files that cannot be meant: each gets its sentence, the rest still counts, and nothing in them is lost."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacskit.errors import NotSaved, SettingError
from pacskit.settings.document import Document
from pacskit.settings.files import SettingsFile
from pacskit.settings.layers import USER
from tests.settings.conftest import Home

PORT = "a port is a whole number from 1 to 65535"
ANY = "port 0 is for one run only; write auto for any free one"
AUTO = f"{PORT}, or auto for any free one"
TITLE = "an AE title"

WRONG_VALUES = [
    ("listener", "port = 0", ANY),
    ("listener", "port = 65536", AUTO),
    ("listener", "port = -1", AUTO),
    ("listener", "port = 'many'", AUTO),
    ("listener", "port = 104.0", AUTO),
    ("listener", "port = true", AUTO),
    ("listener", "port = [104]", AUTO),
    ("listener", "port = { a = 1 }", AUTO),
    ("listener", "port = 1979-05-27", AUTO),
    ("listener", "port = nan", AUTO),
    ("listener", "port = 1e400", AUTO),
    ("listener", f"port = {2**70}", AUTO),
    ("listener", "port = '٣٢'", AUTO),
    ("listener", "ae_title = ''", f"{TITLE} needs at least one character that is not a space"),
    ("listener", "ae_title = '   '", f"{TITLE} needs at least one character that is not a space"),
    ("listener", "ae_title = 'SEVENTEEN_LETTERS'", f"{TITLE} has at most 16 characters, this one has 17"),
    ("listener", "ae_title = 'A\\B'", f'{TITLE} has no backslash ("\\")'),
    ("listener", "ae_title = 'Ж'", f"{TITLE} has only ASCII letters, digits and signs, no Ж"),
    ("listener", "ae_title = 'Mü'", f"{TITLE} has only ASCII letters, digits and signs, no ü"),
    ("listener", "ae_title = '🩻'", f"{TITLE} has only ASCII letters, digits and signs, no 🩻"),
    ("listener", 'ae_title = "A\\tB"', f"{TITLE} has only ASCII letters, digits and signs, no U+0009"),
    ("listener", 'ae_title = "A\\u0000"', "has a character that no file can hold"),
    ("listener", "ae_title = 5", "must be text, not 5"),
    ("listener", "enabled = 'perhaps'", "must be true or false, not 'perhaps'"),
    ("listener", "enabled = 2", "must be true or false, not 2"),
    ("listener", "max_associations = 0", "must be at least 1, not 0"),
    ("listener", "max_associations = true", "must be a whole number, not True"),
    ("listener", "max_associations = 1.5", "must be a whole number, not 1.5"),
    ("listener", f"max_associations = 0x{'f' * 5000}", "must be at most 10000, not this"),
    ("listener", "artim_timeout = nan", "must be at most 3600, not nan"),
    ("listener", "artim_timeout = inf", "must be at most 3600, not inf"),
    ("listener", "artim_timeout = 07:32:00", "must be a number, not datetime.time(7, 32)"),
    ("listener", "host = 'no host'", "an address is 0.0.0.0 for the network"),
    ("listener", "host = '256.1.1.1'", "an address is 0.0.0.0 for the network"),
    ("listener", "accept_private = 'some'", "must be one of known or all, not 'some'"),
    ("listener", "shared = true", "counts in the site file only: share it there"),
    ("listener", "prot = 104", "is not a setting (did you mean port?); listener has enabled, ae_title, port"),
    ("listener", "__class__ = 1", "is not a setting; listener has enabled"),
    ("listener", "model_config = {}", "is not a setting; listener has enabled"),
    ("listener", "'a.b' = 1", "is not a setting; listener has enabled"),
    ("listener", "'' = 1", "is not a setting; listener has enabled"),
    ("secure_listener", "trusted = 5", "must be a list, not 5"),
    ("secure_listener", "trusted = [5]", "must be text, not [5]"),
    ("secure_listener", "certificate = 5", "must be a path, not 5"),
    ("secure_listener", "key_password = 'geheim'", "a key's password is never saved: use the environment"),
    ("his", "port = 8090", "8090 is the Web Service's port too; services' ports must differ"),
    ("web", "session_timeout = 9", "must be at least 10, not 9"),
    ("web", "password = 5", "a password is text"),
    ("web", "password = '$argon2id$half'", "this is no whole argon2 hash: set the password again"),
    ("archive", "durability = 'quick'", "must be one of safe or fast, not 'quick'"),
    ("station", "run_in = 'elsewhere'", "must be one of kernel or background, not 'elsewhere'"),
    ("hooks", "study_stable = 5", "must be text, not 5"),
]


@pytest.mark.parametrize(("section", "line", "sentence"), WRONG_VALUES, ids=[w[1][:40] for w in WRONG_VALUES])
def test_a_wrong_value(home: Home, section: str, line: str, sentence: str) -> None:
    """Its sentence, with file, line and key; the other sections load; saving elsewhere leaves it as it is."""
    other = "viewer.mask_identifiers = true\n" if section != "viewer" else ""
    text = f"# head\nschema = 1\n{other}\n[{section}] # here\n# it is\n{line} # wrong\n"
    home.write(text)
    stack = home.stack()
    [problem] = stack.settings.problems
    name = next(iter(tomllib.loads(line)))
    line_number = 7 if name else 0
    place = f", line {line_number}" if name else ""
    assert problem.key == f"{section}.{name or chr(34) * 2}"
    assert problem.source.line == line_number
    assert str(problem).startswith(f"user file {home.user}{place}: {problem.key}: {sentence}")
    assert stack.settings.viewer.mask_identifiers is bool(other)
    assert home.text() == text
    try:
        home.save({"viewer": {"mask_identifiers": not other}})
    except NotSaved:
        assert "0xf" in text  # a number too long for Python to write
        assert home.text() == text
        return
    saved = home.text()
    assert saved.startswith("# head\nschema = 1\n")
    assert f"[{section}] # here\n# it is\n{line} # wrong\n" in saved
    assert problem.key in [problem.key for problem in home.stack().settings.problems]


def test_one_may_put_it_right(home: Home) -> None:
    home.write("schema = 1\n[listener]\nport = 'many' # which?\nenabled = 'perhaps'\n")
    assert len(home.problems()) == 2
    home.save({"listener": {"port": 104}})
    assert home.text() == "schema = 1\n[listener]\nport = 104 # which?\nenabled = 'perhaps'\n"
    home.save({"listener": {"enabled": False}})
    assert home.text() == "schema = 1\n[listener]\nport = 104 # which?\n"
    assert home.problems() == []


BROKEN = [
    (
        "[listener]\nport = \n[web]\nuser = 'x'\n",
        "line 2: listener: Invalid value; this part is not used",
        "listener",
    ),
    ("[listener]\nport = 104\nport = 105\n[web]\nuser = 'x'\n", "line 3: listener: ", "listener"),
    (
        "[listener]\nport = 1\n[web]\nuser = 'x'\n[listener]\nport = 2\n",
        "line 5: listener: listener stands here a second time",
        "listener",
    ),
    ("[web]\nuser = 'x'\n[viewer]\nmask_identifiers = flase\n", "line 4: viewer: Invalid value", "viewer"),
    ("[web]\nuser = 'x'\n[archive]\nfolder = \"/da", "line 4: archive: Unterminated string", "archive"),
    ("[web]\nuser = 'x'\n[archive]\nfold", "line 4: archive: Expected '=' after a key", "archive"),
    ("[web]\nuser = 'x'\n[archive", "line 3: web: ", "web"),
    ("[web]\nuser = 'x'\n[listener]\nport = 1979-02-30\n", "line 4: listener: Invalid date", "listener"),
    (
        f"[web]\nuser = 'x'\n[listener]\nport = {'9' * 5000}\n",
        "line 4: listener: this number is too long",
        "listener",
    ),
    (
        f"[web]\nuser = 'x'\n[listener]\nport = {'[' * 5000}\n",
        "line 3: listener: it is nested too deeply",
        "listener",
    ),
    ("= 5\n[web]\nuser = 'x'\n", "line 1: Invalid statement", ""),
    ("[web]\nuser = 'x'\n[listener]\nae_title = \"\\uD800\"\n", "line 4: listener: ", "listener"),
    (
        "[web]\nuser = 'x'\n[listener]\nae_title = 'a\x01'\n",
        "line 4: listener: Found invalid character",
        "listener",
    ),
]


@pytest.mark.parametrize(("text", "sentence", "section"), BROKEN, ids=[sentence for _, sentence, _ in BROKEN])
def test_a_broken_part(home: Home, text: str, sentence: str, section: str) -> None:
    """The whole parts count and can be saved to; the broken one blocks its service and is never touched."""
    home.write(text)
    stack = home.stack()
    assert str(stack.settings.problems[0]).startswith(f"user file {home.user}, {sentence}")
    assert [p.effect for p in stack.settings.problems] == ["blocks"]
    assert stack.settings.blocking(section or "listener")
    if section != "web":
        assert stack.settings.web.user == "x"
        assert bool(stack.settings.blocking("his")) is (section == "")
    change: dict[str, dict[str, Any]] = {section or "listener": {}}
    name, value = {
        "viewer": ("mask_identifiers", True),
        "archive": ("durability", "fast"),
        "web": ("user", "y"),
    }.get(section, ("enabled", True))
    change[section or "listener"][name] = value
    with pytest.raises(NotSaved, match=r"is not saved: line \d+ is in the way: "):
        home.save(change)
    assert home.text() == text
    if section:
        home.save({"his": {"port": 8081}})
        assert home.text().startswith(f"schema = 1\n\n{text}")
        assert home.stack().settings.his.port == 8081
        assert [p.key for p in home.stack().settings.problems] == [section]


def test_what_looks_like_a_section_in_a_broken_files_string(home: Home) -> None:
    text = '[web]\nuser = """\n[listener]\nport = 105\n[his]\nport = 9\n"""\n[viewer]\nmask_identifiers = flase\n'
    home.write(text)
    settings = home.stack().settings
    assert (settings.listener.port, settings.his.port) == (11112, 8080)
    assert settings.web.user == "[listener]\nport = 105\n[his]\nport = 9\n"
    assert [problem.key for problem in settings.problems] == ["viewer"]
    home.save({"listener": {"port": 106}})
    assert text in home.text()


@pytest.mark.parametrize(
    "text", ["listener = 3\n", "[[listener]]\nport = 104\n", "listener = []\n", "listener = 2020-01-01\n"]
)
def test_a_section_that_is_none(home: Home, text: str) -> None:
    home.write(text)
    stack = home.stack()
    sentence = "is a section: write [listener] and its settings below"
    assert home.problems() == [f"user file {home.user}, line 1: listener: {sentence}"]
    assert stack.settings.blocking("listener")
    assert not stack.settings.blocking("web")
    with pytest.raises(NotSaved, match=r"line 1 is in the way: write \[listener\]"):
        home.save({"listener": {"port": 105}})
    assert home.text() == text
    home.save({"web": {"user": "x"}})
    assert text in home.text()


@pytest.mark.parametrize(
    ("text", "key", "effect", "blocked"),
    [
        ("[future]\nx = 1\n", "future", "ignored", []),
        ("[listner]\nport = 104\n", "listner", "blocks", ["listener"]),
        ("[__class__]\nx = 1\n", "__class__", "ignored", []),
        ("['']\nx = 1\n", '""', "ignored", []),
        ("['a.b\"c']\nx = 1\n", 'a.b"c', "ignored", []),
        ("[listener]\nprot = 104\n", "listener.prot", "blocks", ["listener"]),
        ("[listener]\nfuture = 104\n", "listener.future", "ignored", []),
        ("[listener.deeper]\nx = 1\n", "listener.deeper", "ignored", []),
        ("port = 104\n", "port", "ignored", []),
    ],
)
def test_unknown_names(home: Home, text: str, key: str, effect: str, blocked: list[str]) -> None:
    """One like a known name may be a slip of the pen: the service does not start by what nobody meant."""
    home.write(text)
    settings = home.stack().settings
    [problem] = settings.problems
    assert (problem.key, problem.effect) == (key, effect)
    assert ("did you mean" in problem.sentence) is (effect == "blocks")
    assert [name for name in ("listener", "web", "his") if settings.blocking(name)] == blocked
    home.save({"archive": {"durability": "fast"}})
    assert text in home.text()


def test_an_empty_file(home: Home) -> None:
    home.write("")
    assert home.problems() == [f"user file {home.user}: it is empty, so nothing is set in it"]
    assert not home.stack().settings.blocking("listener")
    home.save({"listener": {"port": 104}})
    assert home.text() == "schema = 1\n\n[listener]\nport = 104\n"
    assert home.problems() == []


NO_TEXT = {
    "bytes": (
        bytes(range(1, 256)),
        "it is not text in UTF-8, so it is no settings file; save it as UTF-8, or move it away",
    ),
    "latin 1": (
        "[web]\nuser = 'Ü'\n".encode("latin-1"),
        "it is not text in UTF-8, so it is no settings file; save it as UTF-8, or move it away",
    ),
    "utf-16": ("[web]\nuser = 'Ü'\n".encode("utf-16"), "it is not text in UTF-8"),
    "nul": (b"[web]\nuser = 'x'\n" + bytes(4096), "it is not text in UTF-8, so it is no settings file"),
    "large": (b"# a\n" * (10 << 18), "it has more than 1048576 bytes, so it is no settings file"),
}


@pytest.mark.parametrize("which", NO_TEXT)
def test_no_settings_file_at_all(home: Home, which: str) -> None:
    content, sentence = NO_TEXT[which]
    home.write(content)
    [problem] = home.problems()
    assert problem.startswith(f"user file {home.user}: {sentence}")
    settings = home.stack().settings
    assert settings.blocking("listener")
    assert settings.listener.port == 11112
    with pytest.raises(NotSaved, match="is not saved: it "):
        home.save({"listener": {"port": 104}})
    assert home.user.read_bytes() == content
    assert [path.name for path in home.user.parent.iterdir()] == [home.user.name], "something was left"


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


NO_FILE = [
    (_folder, "it is a folder, not a file; move it away"),
    (_fifo, "it is not a file; move it away"),
    (_zero, "it is not a file; move it away"),
    (_circle, "Too many levels of symbolic links"),
]


@pytest.mark.parametrize(("make", "sentence"), NO_FILE, ids=[make.__name__ for make, _ in NO_FILE])
@pytest.mark.parametrize("whose", ["user", "site"])
def test_what_is_no_file(home: Home, make: Any, sentence: str, whose: str) -> None:
    """Nothing waits for ever, nothing is replaced, and nothing is left in /dev."""
    path = getattr(home, whose)
    home.user.parent.mkdir()
    make(path)
    before, devices = path.lstat(), set(Path("/dev").iterdir())
    stack = home.stack()
    assert [str(problem) for problem in stack.settings.problems] == [f"{whose} file {path}: {sentence}"]
    assert stack.settings.blocking("listener")
    if whose == "site":
        assert not stack.is_administrator()
    else:
        with pytest.raises(NotSaved) as caught:
            home.save({"listener": {"port": 104}})
        assert str(caught.value) == f"{path} is not saved: {sentence}"
        with pytest.raises(NotSaved):
            stack.user.create() if not stack.user.stamp() else stack.user.change({"web": {"user": "x"}})
    assert path.lstat() == before
    assert set(Path("/dev").iterdir()) == devices


@pytest.mark.parametrize("schema", ["'one'", "-1", "true", "1.0", "[]"])
def test_a_schema_that_is_none(home: Home, schema: str) -> None:
    text = f"# mine\nschema = {schema}\n[listener]\nport = 104\n"
    home.write(text)
    settings = home.stack().settings
    sentence = "schema is a whole number, 1 in this version"
    assert home.problems() == [f"user file {home.user}, line 2: {sentence}"]
    assert settings.listener.port == 104
    assert settings.blocking("listener")
    with pytest.raises(NotSaved, match=sentence):
        home.save({"web": {"user": "x"}})
    assert home.text() == text


def test_a_newer_versions_file(home: Home) -> None:
    """What is understood is used, what is not is no slip of the pen, and nothing is written."""
    text = "schema = 99 # new\n[listener]\nport = 104\nprot = 'a new thing'\n[listner]\nx = 1\n"
    home.write(text)
    settings = home.stack().settings
    assert settings.listener.port == 104
    assert not settings.blocking("listener")
    assert home.problems()[0] == (
        f"user file {home.user}: a newer pacskit wrote it (schema 99, this one knows 1); "
        "what is understood is used, and nothing is written to it"
    )
    with pytest.raises(
        NotSaved, match="a newer pacskit wrote it, and this one could do harm: use the newer one"
    ):
        home.save({"web": {"user": "x"}})
    assert home.text() == text


def test_a_newer_versions_file_with_a_broken_part(home: Home) -> None:
    text = "schema = 99\n[listener]\nport = \n"
    home.write(text)
    with pytest.raises(NotSaved, match="newer"):
        home.save({"web": {"user": "x"}})
    broken = "schema = 99 9\n[listener]\nport = 104\n"
    home.write(broken)  # nobody knows of which version it is
    with pytest.raises(NotSaved, match="line 1 is in the way"):
        home.save({"web": {"user": "x"}})
    assert home.text() == broken


SHAPES = [
    "[future]\nx = " + "[" * 300 + "]" * 300 + "\n",
    "[future]\n" + ".".join("a" * 2000) + " = 1\n",
    "[future]\nx = nan\ny = 1e400\nz = -inf\n",
    "".join(f"[section_{n}]\nname = {n} # remark {n}\n" for n in range(2000)),
    "[listener]\n" + "".join(f"name_{n} = {n}\n" for n in range(2000)),
    "[future]\nx = '''\n" + "# no remark\n" * 5000 + "'''\n",
    "[future]\nx = [\n" + "1, # remark\n" * 5000 + "]\n",
]


@pytest.mark.parametrize("text", SHAPES, ids=range(len(SHAPES)))
def test_strange_but_whole(home: Home, text: str) -> None:
    home.write(text)
    stack = home.stack()
    try:
        home.save({"viewer": {"mask_identifiers": True}})
    except NotSaved:
        assert ".a.a.a" in text  # deeper than its own reader goes
        assert home.text() == text
    else:
        assert text in home.text()
    assert not stack.settings.blocking("web")


WAYS = [
    ("[listener]\nport = 104\n", 2),
    ("# a\n\n[listener]\n\n  # b\n  port = 104 # c\n", 6),
    ("[ listener ]\n'port'=104\n", 2),
    ('["listener"]\n"port"\t=\t104', 2),
    ("listener.port = 104\n", 1),
    ("# a\nlistener . port = 104\n[web]\n", 2),
    ("\n\nlistener = { enabled = true, port = 104 }\n", 3),
    ("[listener.deeper]\nx = 1\n[listener]\nport = 104\n", 4),
    ("[listener]\r\n# a\r\nport = 104\r\n", 3),
    ("\ufeff# a\n[listener]\nport = 104\n", 3),
    ("# a\u2028b\x85c\u2029d\n[listener]\nport = 104\n", 3),
    ("[web]\nuser = '''\n[listener]\nport = 1\n'''\n[listener]\nport = 104\n", 7),
    ("[his]\nallow = [\n  'a', # b\n  '[listener]',\n]\n[listener]\nport = 104\n", 7),
    ("[web]\nuser = \n[listener]\nport = 104\n", 4),
    ('[listener]\nport = "104"\n', 2),
    ("[listener]\nport = '''\n104'''\n", 2),
]


@pytest.mark.parametrize(("text", "line"), WAYS, ids=range(len(WAYS)))
def test_explain_knows_the_line(home: Home, text: str, line: int) -> None:
    home.write(text)
    found = home.stack().settings.explain("listener.port")
    assert (found.value, found.source, found.file, found.line) == (104, "user file", home.user, line)
    assert found.hidden == (("default", 11112),)


def test_lines_of_values_over_lines(home: Home) -> None:
    home.write("[his]\n# a\nallow = [\n  'a',\n\n  'b', # c\n]\nport = 8081\n")
    settings = home.stack().settings
    assert settings.explain("his.allow").line == 3
    assert settings.explain("his.port").line == 8
    assert settings.explain("his.host").line == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_any_bytes(home: Home, data: st.DataObject) -> None:
    """Whatever the file holds: reading never raises, and a save that cannot be done changes nothing."""
    whole = b"schema = 1\n[listener] # a\nport = 104\ntrusted = ['''\n[web]\n''']\n[web]\nuser = \"x\"\n[viewer]\n"
    content = data.draw(
        st.binary(max_size=60)
        | st.integers(0, len(whole)).map(lambda end: whole[:end])
        | st.tuples(st.integers(0, len(whole)), st.binary(min_size=1, max_size=3)).map(
            lambda at: whole[: at[0]] + at[1] + whole[at[0] + 1 :]
        )
        | st.text(st.sampled_from("[]='\"\n#.,{}a1 \\"), max_size=40).map(str.encode)
    )
    home.write(content)
    read = SettingsFile(home.user, USER).read()
    try:
        SettingsFile(home.user, USER).change({"viewer": {"mask_identifiers": True}})
    except NotSaved:
        assert home.user.read_bytes() == content
    else:
        assert SettingsFile(home.user, USER).read().stored["viewer"] == {
            **read.stored.get("viewer", {}),
            "mask_identifiers": True,
        }
        for line in content.decode("utf-8-sig").split("\n"):
            assert line in home.text() or "viewer" in line or "mask" in line


def test_remarks_that_cannot_be_kept_are_not_lost(home: Home) -> None:
    """So long a list that nobody counts its lines: its remarks could not be put above it."""
    home.write("[his]\nallow = [\n" + "'a]', # remark\n" * 3000 + "]\n")
    before = home.text()
    with pytest.raises(
        NotSaved, match="is written in a way that cannot be changed without harm: edit it by hand"
    ):
        home.save({"his": {"allow": ["b"]}})
    assert home.text() == before


def test_a_change_that_would_do_harm_is_refused() -> None:
    document = Document.parse("[future]\nx = 1\n")
    with pytest.raises(ValueError, match="cannot be changed without harm"):
        document.changed("web", {"user": object()})


@pytest.mark.parametrize(
    "code", [{"listener": {"prot": 1}}, {"listner": {"x": 1}}, {"listener": {"port": 65536}}]
)
def test_code_is_refused_at_once(home: Home, code: dict[str, dict[str, int]]) -> None:
    with pytest.raises(SettingError, match=r"\(from code\)"):
        home.stack(code)
