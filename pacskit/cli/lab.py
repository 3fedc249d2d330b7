"""`pacskit lab`: JupyterLab on the quick start."""

from __future__ import annotations

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
    command = [sys.executable, "-m", "jupyterlab", str(notebook), *_as_root(context.args), *context.args]
    if os.name == "posix":
        os.execv(sys.executable, command)  # signals and the exit code are JupyterLab's own
    raise typer.Exit(subprocess.call(command))


def _as_root(given: list[str]) -> list[str]:
    """JupyterLab refuses to run as root unless told so; in a container root is often all there is."""
    if os.name != "posix" or os.geteuid() != 0 or any(text.startswith("--allow-root") for text in given):
        return []
    sys.stdout.write("You are root: JupyterLab gets --allow-root; an account of your own is safer.\n")
    sys.stdout.flush()
    return ["--allow-root"]


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
        shutil.copyfile(_packaged(), notebook)
    return notebook


def _packaged() -> Path:
    """The notebook that comes with pacskit: in the package, or beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "notebooks" / QUICK_START
    return inside if inside.exists() else package.parent / "notebooks" / QUICK_START


def register(app: typer.Typer) -> None:
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
