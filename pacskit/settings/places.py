"""Where the settings files are."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

NAME = "settings.toml"


def default_folder() -> str:
    """Where the default archive is: PACSKIT_HOME, else the platform's data folder."""
    return os.environ.get("PACSKIT_HOME") or platformdirs.user_data_dir("pacskit", appauthor=False)


def user_path() -> Path:
    """The user's settings file: in PACSKIT_HOME, else in the platform's configuration folder."""
    folder = os.environ.get("PACSKIT_HOME") or platformdirs.user_config_dir("pacskit", appauthor=False)
    return _absolute(folder) / NAME


def site_path() -> Path:
    """The file for all users: PACSKIT_SITE, else in the platform's folder for them."""
    given = os.environ.get("PACSKIT_SITE")
    if given:
        return _absolute(given)
    return Path(platformdirs.site_config_dir("pacskit", appauthor=False)) / NAME


def _absolute(folder: str) -> Path:
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError:  # ~ of somebody unknown
        return Path(folder).absolute()
