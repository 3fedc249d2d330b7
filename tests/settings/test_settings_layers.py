"""Layers: default < JupyterHub < user < site < environment < command line and code; each value knows its source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacskit.errors import SettingError
from pacskit.settings import SECTIONS, SERVICES, Layer, Settings, environment_layer, hub_layer, pairs_layer
from pacskit.settings.layers import CODE, COMMAND_LINE, ENVIRONMENT, HUB, SITE, USER
from pacskit.settings.stack import SettingsStack
from tests.settings.conftest import Home

VALUES: dict[str, dict[str, list[Any]]] = {
    "listener": {"port": [1001, 1002, "auto"], "ae_title": ["A", "B", "C"], "enabled": [True, False]},
    "secure_listener": {"port": [2001, 2002], "verify_peer": [True, False]},
    "his": {"allow": [["a"], ["b", "c"], []]},
    "web": {"port": [3001, 3002], "user": ["x", "y"], "session_timeout": [10, 20]},
    "viewer": {"mask_identifiers": [True, False]},
}
WRONG: dict[str, list[Any]] = {"port": [0.5, "many", -1], "enabled": ["perhaps"], "session_timeout": [1, "x"]}


@st.composite
def fields(draw: st.DrawFn, wrong: bool) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for section, names in VALUES.items():
        for name, good in names.items():
            if draw(st.integers(0, 2)) == 0:
                bad = WRONG.get(name, []) if wrong else []
                found.setdefault(section, {})[name] = draw(st.sampled_from([*good, *bad]))
    return found


LENIENT = {USER, SITE, ENVIRONMENT}
NAMES = (HUB, USER, SITE, ENVIRONMENT, COMMAND_LINE, CODE)


@given(st.data())
def test_as_plain_dicts(data: st.DataObject) -> None:
    """A model: for each field the last layer that says something right about it."""
    layers = [Layer(name, data.draw(fields(name in LENIENT)), name not in LENIENT) for name in NAMES]
    settings = Settings.resolve(layers)
    for section, names in VALUES.items():
        for name in names:
            key = f"{section}.{name}"
            said = []
            for layer in layers:
                if layer.source == SITE and section in layer.values:
                    said = [entry for entry in said if entry[0] != USER]
                value = layer.values.get(section, {}).get(name)
                if value is not None and value in VALUES[section][name]:
                    said.append((layer.source, tuple(value) if isinstance(value, list) else value))
            default = SECTIONS[section].model_fields[name].default
            source, value = said[-1] if said else ("default", default)
            found = settings.explain(key)
            assert (found.source, found.value) == (source, value)
            assert getattr(settings.section(section), name) == value
            below = [*reversed(said[:-1]), ("default", default)] if said else []
            assert list(found.hidden) == below
    wrong = {
        (layer.source, f"{section}.{name}")
        for layer in layers
        for section, said in layer.values.items()
        for name, value in said.items()
        if value in WRONG.get(name, [])
        and not (layer.source == USER and section in layers[2].values)  # hidden by the site: silent
    }
    assert {(p.source.layer, p.key) for p in settings.problems} == wrong
    for section in VALUES:
        assert bool(settings.blocking(section)) is any(key.startswith(f"{section}.") for _, key in wrong)


def test_all_layers_of_a_stack(home: Home) -> None:
    """What is said in each, taken away from the top: the next one comes out."""
    home.write("[listener]\nport = 102\n")
    home.share("# for all\n[listener]\nshared = true\nport = 103\n")
    environ = {"PACSKIT_LISTENER__PORT": "104", "JUPYTERHUB_API_TOKEN": "x"}
    line = pairs_layer(COMMAND_LINE, [("listener.port", "105")])
    code = {"listener": {"port": 106}}
    explained = home.stack(code, [line], **environ).settings.explain("listener.port")
    assert (explained.value, explained.source) == (106, "code")
    assert explained.hidden == (
        ("command line", 105),
        ("environment", 104),
        (f"site file {home.site}, line 4", 103),
        ("JupyterHub", "auto"),
        ("default", 11112),
    )
    assert home.stack(None, [line], **environ).settings.listener.port == 105
    assert home.stack(**environ).settings.listener.port == 104
    del environ["PACSKIT_LISTENER__PORT"]
    explained = home.stack(**environ).settings.explain("listener.port")
    assert (explained.value, explained.source, explained.file, explained.line) == (
        103,
        "site file",
        home.site,
        4,
    )
    home.share("[listener]\nshared = false\nport = 103\n")
    explained = home.stack(**environ).settings.explain("listener.port")
    assert (explained.value, explained.source, explained.file, explained.line) == (
        102,
        "user file",
        home.user,
        2,
    )
    home.user.unlink()
    assert home.stack(**environ).settings.explain("listener.port").source == "JupyterHub"
    assert home.stack().settings.explain("listener.port").source == "default"


def test_explain_what_is_none(home: Home) -> None:
    settings = home.stack().settings
    for key, sentence in [
        ("listener.prot", r"listener\.prot: is not a setting \(did you mean port\?\)"),
        ("listner.port", r"listner\.port: is not a section \(did you mean listener\?\)"),
        ("listener", "is not a setting"),
        ("", "is not a section"),
        ("listener.", "is not a setting"),
        ("listener.port.x", "is not a setting"),
        ("listener.__class__", "is not a setting"),
    ]:
        with pytest.raises(SettingError, match=sentence):
            settings.explain(key)


@pytest.mark.parametrize("name", ["JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_API_TOKEN"])
def test_on_a_hub(home: Home, name: str) -> None:
    """Many people share the host: any free port, unless somebody says else; saving knows what is below."""
    stack = home.stack(**{name: "/user/x/"})
    assert {stack.settings.section(service).port for service in SERVICES} == {"auto"}  # type: ignore[attr-defined]
    assert stack.settings.explain("listener.port").source == "JupyterHub"
    stack.carry_out(stack.plan({"listener": {"port": 11112}}, save=True))
    assert home.text() == "schema = 1\n\n[listener]\nport = 11112\n"
    stack.carry_out(stack.plan({"listener": {"port": "auto"}}, save=True))
    assert "port" not in home.text()
    stack.carry_out(stack.plan({"listener": {"ae_title": "X"}}, save=True, shared=True))
    assert stack.settings.listener.port == "auto"
    assert hub_layer({}).values == {}


NONSENSE = [
    ("PACSKIT_LISTENER__PORT", "", "a port is a whole number from 1 to 65535", "blocks"),
    ("PACSKIT_LISTENER__PORT", "many", "a port is a whole number", "blocks"),
    ("PACSKIT_LISTENER__PORT", "70000", "a port is a whole number", "blocks"),
    ("PACSKIT_LISTENER__PORT", "9" * 10_000, "a port is a whole number", "blocks"),
    ("PACSKIT_LISTENER__PORT", "[104]", "a port is a whole number", "blocks"),
    ("PACSKIT_LISTENER__AE_TITLE", "Ж", "an AE title has only ASCII letters", "blocks"),
    ("PACSKIT_LISTENER__AE_TITLE", "\udcff\udcfe", "has a character that no file can hold", "blocks"),
    ("PACSKIT_LISTENER__ENABLED", "perhaps", "must be true or false, not 'perhaps'", "blocks"),
    ("PACSKIT_LISTENER__MAX_PDU", "[" * 100_000, "must be a whole number, not '[[[", "blocks"),
    ("PACSKIT_LISTENER__PROT", "104", "is not a setting (did you mean port?)", "blocks"),
    ("PACSKIT_LISTNER__PORT", "104", "is not a section (did you mean listener?)", "blocks"),
    ("PACSKIT_LISTENER__SHARED", "true", "counts in the site file only", "ignored"),
    ("PACSKIT_LISTENER__", "104", "is not a setting", "ignored"),
    ("PACSKIT_SOMETHING__ELSE", "x", "is not a section", "ignored"),
    ("PACSKIT___X", "x", "is not a section", "ignored"),
    ("PACSKIT_LISTENER__A__B", "x", "is not a setting", "ignored"),
]


@pytest.mark.parametrize(
    ("name", "value", "sentence", "effect"), NONSENSE, ids=[f"{n}={v[:9]!r}" for n, v, *_ in NONSENSE]
)
def test_an_environment_with_nonsense(home: Home, name: str, value: str, sentence: str, effect: str) -> None:
    """A sentence with the variable's name; everything else counts."""
    settings = home.stack(
        **{name: value, "PACSKIT_WEB__USER": "x", "PACSKIT_HOME": "y", "PATH": "z"}
    ).settings
    [problem] = settings.problems
    assert problem.sentence.startswith(sentence)
    assert problem.effect == effect
    shown = str(problem).partition(": ")[0].removeprefix("environment ")
    assert name.startswith(shown.removesuffix("...").replace('""', "").removesuffix("__"))
    assert settings.web.user == "x"
    assert settings.listener.port == 11112
    assert bool(settings.blocking("listener")) is (effect == "blocks")
    assert not settings.blocking("web")


@pytest.mark.parametrize("name", ["PACSKIT_HOME", "PACSKIT_", "PACSKIT", "pacskit_listener__port"])
def test_names_that_are_no_settings(home: Home, name: str) -> None:
    assert home.stack(**{name: "104"}).settings.problems == ()
    assert environment_layer({name: "104"}).values == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ()),
        ("one", ("one",)),
        ('["a", "b"]', ("a", "b")),
        ("[]", ()),
        ("[broken", ("[broken",)),
        ("a,b", ("a,b",)),
    ],
)
def test_lists_in_the_environment(home: Home, text: str, value: tuple[str, ...]) -> None:
    assert home.stack(PACSKIT_HIS__ALLOW=text).settings.his.allow == value


def test_empty_text_is_no_value_where_there_may_be_none(home: Home) -> None:
    """An empty folder would be the current one, an empty token one that everybody knows."""
    settings = home.stack(
        PACSKIT_ARCHIVE__FOLDER="", PACSKIT_HIS__TOKEN="", PACSKIT_WEB__USER="", PACSKIT_WEB__PASSWORD=""
    ).settings
    assert (settings.archive.folder, settings.his.token, settings.web.user, settings.web.password) == (
        None,
    ) * 4
    assert settings.problems == ()


@pytest.mark.parametrize("port", [0, "0", " 0 "])
def test_any_free_port(home: Home, port: Any) -> None:
    """Port 0 for one run: from code, environment and command line; never in a file."""
    assert home.stack({"listener": {"port": port}}).settings.listener.port == 0
    assert home.stack(PACSKIT_LISTENER__PORT=str(port)).settings.listener.port == 0
    assert (
        home.stack(layers=[pairs_layer(COMMAND_LINE, [("listener.port", str(port))])]).settings.listener.port
        == 0
    )
    stack = home.stack()
    with pytest.raises(SettingError, match="port 0 is for one run only; write auto for any free one"):
        stack.plan({"listener": {"port": port}}, save=True)
    assert stack.carry_out(stack.plan({"listener": {"port": port}}, save=False)).listener.port == 0
    assert not home.user.exists()
    stack.carry_out(stack.plan({"listener": {"ae_title": "X"}}, save=True))
    assert home.text() == 'schema = 1\n\n[listener]\nae_title = "X"\n'
    assert stack.settings.listener.port == 0


def test_all_services_on_any_free_port() -> None:
    settings = Settings.resolve([Layer(CODE, {service: {"port": 0} for service in SERVICES})])
    assert settings.problems == ()
    assert Settings.resolve([Layer(CODE, {service: {"port": "auto"} for service in SERVICES})]).problems == ()


def collide(*layers: tuple[str, str, int]) -> Settings:
    return Settings.resolve(
        Layer(source, {section: {"port": port}}, source not in LENIENT) for source, section, port in layers
    )


def test_two_services_on_one_port() -> None:
    """The later layer's is the wrong one: a problem from files and environment, an error from code."""
    for source in (USER, SITE, ENVIRONMENT):
        settings = collide((source, "listener", 3100))  # the secure listener's by default, though it is off
        [problem] = settings.problems
        assert (problem.key, problem.source.layer) == ("listener.port", source)
        assert problem.sentence == "3100 is the Secure DICOM Listener's port too; services' ports must differ"
        assert settings.blocking("listener")
        assert not settings.blocking("secure_listener")
    for source in (COMMAND_LINE, CODE):
        with pytest.raises(
            SettingError, match=r"listener\.port: 3100 is the Secure DICOM Listener's port too"
        ):
            collide((source, "listener", 3100))
        with pytest.raises(SettingError, match=r"web\.port: 5000 is the DICOM Listener's port too"):
            collide((USER, "listener", 5000), (source, "web", 5000))
        with pytest.raises(SettingError, match=rf"listener\.port: 5000 .* \(from {source}\)"):
            collide((source, "listener", 5000), (USER, "web", 5000))
    assert [p.key for p in collide((USER, "web", 5000), (USER, "listener", 5000)).problems] == ["web.port"]
    assert [p.key for p in collide((USER, "web", 5000), (ENVIRONMENT, "listener", 5000)).problems] == [
        "listener.port"
    ]
    three = collide((USER, "listener", 5000), (USER, "web", 5000), (USER, "his", 5000))
    assert sorted(problem.key for problem in three.problems) == ["his.port", "web.port"]
    assert collide((USER, "listener", 3100), (USER, "secure_listener", 11112)).problems == ()  # exchanged


def test_a_change_to_anothers_port_is_refused(home: Home) -> None:
    home.write("[his]\nport = 8081\n")
    before = home.text()
    for changes in (
        {"listener": {"port": 8081}},
        {"web": {"port": 8081, "user": "x"}},
        {"his": {"port": 3100}},
    ):
        for save in (True, False):
            with pytest.raises(SettingError, match="port too; services' ports must differ"):
                home.stack().plan(changes, save=save)
    assert home.text() == before
    exchanged = home.save({"his": {"port": 8090}, "web": {"port": 8081}})
    assert (exchanged.his.port, exchanged.web.port) == (8090, 8081)


def test_what_environment_or_command_line_fix_stays(home: Home) -> None:
    line = pairs_layer(COMMAND_LINE, [("listener.ae_title", "LINE")])
    stack = home.stack(None, [line], PACSKIT_LISTENER__PORT="104")
    for changes, source in (({"port": 105}, "environment"), ({"ae_title": "X"}, "command line")):
        with pytest.raises(SettingError, match=f"is fixed by the {source}; change it there"):
            stack.plan({"listener": changes}, save=True)
    stack.carry_out(stack.plan({"listener": {"port": 104, "ae_title": "LINE", "enabled": True}}, save=True))
    assert home.text() == "schema = 1\n\n[listener]\nenabled = true\n"


def test_code_stays_above_a_file(home: Home) -> None:
    """A change for one run is not written; a saved one counts at once, though code had set the field."""
    stack = home.stack({"listener": {"port": 104}})
    stack.carry_out(stack.plan({"listener": {"ae_title": "RUN"}}, save=False))
    assert not home.user.exists()
    saved = stack.carry_out(stack.plan({"listener": {"port": 105}}, save=True))
    assert (saved.listener.port, saved.listener.ae_title) == (105, "RUN")
    assert home.text() == "schema = 1\n\n[listener]\nport = 105\n"
    home.write("[listener]\nport = 106\n")
    assert stack.load().listener.port == 105
    assert home.stack().settings.listener.port == 106


def test_a_plan_changes_nothing(home: Home) -> None:
    stack = home.stack()
    plan = stack.plan({"listener": {"port": 104}}, save=True)
    assert plan.settings.listener.port == 104
    assert stack.settings.listener.port == 11112
    assert not home.user.exists()


def test_code_and_file_come_to_contradict_each_other(home: Home) -> None:
    """The file is right for others: reading it raises and the settings stay; it is told once, not for ever."""
    stack = home.stack({"listener": {"port": 104}})
    home.write("[web]\nport = 104\n")
    with pytest.raises(SettingError, match=r"listener\.port: 104 is the Web Service's port too"):
        stack.load()
    assert (stack.settings.web.port, stack.changed_outside()) == (8090, False)
    saved = stack.carry_out(stack.plan({"web": {"port": 105}}, save=True))
    assert (saved.web.port, saved.listener.port) == (105, 104)
    assert not stack.changed_outside()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"listener": {"prot": 1}}, r"listener\.prot: is not a setting \(did you mean port\?\)"),
        ({"listner": {"port": 1}}, "listner: is not a section"),
        ({"listener": {"port": "x"}}, r"listener\.port: a port is a whole number"),
        ({"listener": {"__init__": 1}}, "is not a setting"),
        ({"web": {"user": "a\0b"}}, r"web\.user: has a character that no file can hold"),
        ({"web": {"user": "\ud800"}}, r"web\.user: has a character that no file can hold"),
        ({"archive": {"folder": "/x\0"}}, r"archive\.folder: has a character that no file can hold"),
        ({"his": {"allow": ["a", "\udfff"]}}, "has a character that no file can hold"),
        ({"secure_listener": {"key_password": "x"}}, "a key's password is never saved"),
        ({"viewer": {"shared": True}}, r"viewer\.shared: is not a setting"),
    ],
)
def test_a_wrong_change(home: Home, changes: dict[str, dict[str, Any]], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        home.stack().plan(changes, save=True)
    assert not home.user.exists()


def test_one_underscore_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual slip: it would else be passed over, and the default be used."""
    monkeypatch.setenv("PACSKIT_LISTENER_PORT", "104")
    [problem] = SettingsStack().settings.problems
    assert "PACSKIT_LISTENER_PORT" in str(problem)
    assert "did you mean listener" in str(problem)
    assert problem.effect == "blocks"
