"""The Typer application, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import sys
import warnings

import typer

from pacskit.cli import archive, background, certificate, lab, network, serve, settings
from pacskit.errors import NotAdministrator, PacskitError, SettingError

app = typer.Typer(
    name="pacskit",
    help="A small, fast, trustworthy PACS inside a Jupyter notebook.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (lab, serve, background, archive, network, certificate, settings):
    module.register(app)


def main() -> None:
    """Run the command line; never a traceback for what a person can mend."""
    warnings.filterwarnings("ignore", module="pydicom")  # of files: what matters is said per file
    try:
        app()
    except SettingError as error:
        sys.stderr.write(f"pacskit: {error}\n")
        sys.exit(1 if isinstance(error, NotAdministrator) else 2)
    except PacskitError as error:
        sys.stderr.write(f"pacskit: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("pacskit: interrupted\n")
        sys.exit(1)
