"""`pacskit lab`: JupyterLab on the quick start."""

from __future__ import annotations

import importlib.resources
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

QUICK_START = "00-quickstart.ipynb"


def lab(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option(help="Where the notebooks are, or are put.", show_default="here")
    ] = None,
) -> None:
    """JupyterLab on the quick start; further arguments go to JupyterLab (--no-browser --port 9999)."""
    if not _installed("jupyterlab"):
        sys.stderr.write("pacskit: JupyterLab is not installed here: pip install 'pacskit[lab]'\n")
        raise typer.Exit(1)
    notebook = _quick_start(folder)
    sys.stdout.write(f"JupyterLab opens {notebook}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "jupyterlab", str(notebook), *context.args]
    if os.name == "posix":
        os.execv(sys.executable, command)  # signals and the exit code are JupyterLab's own
    raise typer.Exit(subprocess.call(command))


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def _quick_start(folder: Path | None) -> Path:
    """The notebook in `folder` (or ./notebooks, or here); copied there from the package if it isn't yet."""
    if folder is None:
        folder = Path("notebooks") if Path("notebooks", QUICK_START).exists() else Path()
    notebook = folder.resolve() / QUICK_START
    if not notebook.exists():
        notebook.parent.mkdir(parents=True, exist_ok=True)
        packaged = importlib.resources.files("pacskit") / "notebooks" / QUICK_START
        with importlib.resources.as_file(packaged) as source:
            shutil.copyfile(source, notebook)
    return notebook


def register(app: typer.Typer) -> None:
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
