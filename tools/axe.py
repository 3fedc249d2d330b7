"""Puts axe-core, which the browser tests ask about accessibility, into `.venv/axe`; does it once.

Its licence is MPL-2.0: it is no dependency of pacskit and is never imported. The script lies in a folder of
its own, out of the wheel `axe-playwright-python`, and runs in the test's page alone. Never fails: a test
without it says so itself (tests/browser/looks.py). Stdlib only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv"
PACKAGE = "axe-playwright-python"
VERSION = "0.1.8"
PLACE = ENVIRONMENT / "axe"
SCRIPT = PLACE / "axe_playwright_python" / "axe.min.js"


def main() -> int:
    if is_there():
        return 0
    problem = install()
    if problem:
        _say(f"{PACKAGE}=={VERSION} cannot be had, tests of accessibility are skipped: {problem}")
    return 0


def is_there() -> bool:
    """Whether the script lies in its place, in this version."""
    return SCRIPT.is_file() and any(PLACE.glob(f"*-{VERSION}.dist-info"))


def install() -> str:
    """An empty string, or why it did not work. What is in the place is whole or not there at all."""
    _say(f"installing {PACKAGE}=={VERSION}")
    try:
        with tempfile.TemporaryDirectory(dir=ENVIRONMENT, prefix="axe-") as folder:
            made = Path(folder) / "made"
            problem = _pip("--target", str(made))
            if problem:
                return problem
            shutil.rmtree(PLACE, ignore_errors=True)
            made.rename(PLACE)
    except OSError as error:
        return f"{error.strerror or error}: {error.filename}"
    return "" if is_there() else f"the package does not hold {SCRIPT.relative_to(PLACE)}"


def _pip(*arguments: str) -> str:
    """The last line of pip's complaint, or an empty string."""
    pip = [str(_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    how = ["--retries=2", "--no-deps", "--no-compile", "--only-binary=:all:", *arguments]
    run = subprocess.run(
        [*pip, *how, f"{PACKAGE}=={VERSION}"],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = [line for line in run.stdout.splitlines() if line.strip()]
    return (said[-1] if said else f"pip ended with {run.returncode}") if run.returncode else ""


def _python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _say(line: str) -> None:
    print(f"axe: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
