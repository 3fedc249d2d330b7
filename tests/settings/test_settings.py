"""Settings: layers, their order, and a sentence for each wrong value."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacskit.errors import SettingError
from pacskit.settings import Layer, Settings, check_ae_title, environment_layer, pairs_layer


def test_defaults() -> None:
    settings = Settings.resolve([])
    assert (settings.listener.ae_title, settings.listener.port, settings.listener.enabled) == (
        "PACSKIT",
        11112,
        False,
    )
    assert settings.explain("listener.port").source == "default"


def test_command_line_and_code_win_over_the_environment() -> None:
    environment = environment_layer(
        {
            "PACSKIT_LISTENER__PORT": "104",
            "PACSKIT_LISTENER__AE_TITLE": "ENV",
            "PACSKIT_HOME": "/x",
            "PATH": "y",
        }
    )
    settings = Settings.resolve([environment, pairs_layer("command line", [("listener.port", "0")])])
    assert (settings.listener.port, settings.listener.ae_title) == (0, "ENV")
    assert settings.explain("listener.port").source == "command line"
    assert settings.explain("listener.ae_title").source == "environment"


@pytest.mark.parametrize(
    "title", ["", "   ", "SEVENTEEN_LETTERS", "A\\B", "ПАКС", "MÜLLER", "A\tB", "🩻", "A\x7f"]
)
def test_ae_titles_that_are_none(title: str) -> None:
    with pytest.raises(ValueError, match="an AE title"):
        check_ae_title(title)


@pytest.mark.parametrize(
    ("title", "kept"), [("A", "A"), ("SIXTEEN_LETTERS_", "SIXTEEN_LETTERS_"), (" CT 1 ", "CT 1")]
)
def test_ae_titles(title: str, kept: str) -> None:
    assert check_ae_title(title) == kept


@pytest.mark.parametrize("port", [-1, 65536, "many", None, True, 1.5])
def test_ports_that_are_none(port: object) -> None:
    with pytest.raises(SettingError, match=r"listener\.port"):
        Settings.resolve([Layer("code", {"listener": {"port": port}})])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"listner": {"port": 1}}, "listner: is not a section"),
        ({"listener": {"prot": 1}}, "listener.prot: is not a setting"),
        ({"archive": {"durability": "quick"}}, "archive.durability"),
    ],
)
def test_what_is_unknown_is_named(values: dict[str, dict[str, object]], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        Settings.resolve([Layer("code", values)])


def test_a_pair_needs_a_section() -> None:
    with pytest.raises(SettingError, match=r"section\.field"):
        pairs_layer("command line", [("port", "1")])


def test_sections_are_frozen(tmp_path: Path) -> None:
    settings = Settings.resolve([Layer("code", {"archive": {"folder": str(tmp_path)}})])
    assert settings.archive.folder == tmp_path
    with pytest.raises(ValueError, match="frozen"):
        settings.listener.port = 1  # type: ignore[misc]
