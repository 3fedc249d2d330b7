"""Creates and fills `.venv`: `python3 tools/environment.py lab|test|bench`, and `pin` to renew the pins.

Needs only Python's standard library. One line a step; a second call finds its stamp and ends at once.
The stamp holds a hash of pyproject.toml and the pins, and the extras installed so far; extras only add up, so
that `make lab` and `make test` share one environment.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "pacskit-stamp.json"
PINS = ROOT / "requirements" / "constraints.txt"
EXTRAS = {"lab": {"lab"}, "test": {"lab", "test"}, "bench": {"bench"}}
OLDEST = (3, 11)
PIN = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+")


def main(arguments: list[str]) -> int:
    """Returns the exit code; what is missing is said in a sentence on stderr."""
    if sys.version_info < OLDEST:
        return _fail(
            f"pacskit needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is "
            f"{sys.version.split()[0]}. Name a newer one: make PYTHON=python3.12 ..."
        )
    if arguments == ["pin"]:
        return pin()
    if len(arguments) != 1 or arguments[0] not in EXTRAS:
        print("usage: environment.py lab|test|bench|pin", file=sys.stderr)
        return 2
    return prepare(EXTRAS[arguments[0]])


def prepare(wanted: set[str]) -> int:
    """Makes `.venv` hold pacskit with the extras `wanted`; does nothing where it already does."""
    fingerprint = _fingerprint()
    installed = _installed(fingerprint)
    if wanted <= installed and _alive():
        return 0
    if not _alive():
        _say(f"environment: creating .venv with Python {sys.version.split()[0]}")
        problem = _create()
        if problem:
            return _fail(problem)
        installed = set()
    extras = ",".join(sorted(wanted | installed))
    STAMP.unlink(missing_ok=True)
    _say(f"environment: installing pacskit[{extras}] (a minute or two the first time)")
    pip = [str(_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    run = _run([*pip, "-e", f".[{extras}]", "-c", str(PINS.relative_to(ROOT))])
    if run.returncode:
        sys.stderr.write(run.stdout)
        return _fail(f"pip could not install pacskit[{extras}]; its own words stand above.")
    STAMP.write_text(json.dumps({"fingerprint": fingerprint, "extras": extras.split(",")}), encoding="utf-8")
    _say("environment: ready")
    return 0


def pin() -> int:
    """Writes what is installed in `.venv` now as plain `name==version` lines, pacskit itself left out."""
    if not _alive():
        return _fail("there is no .venv to take the pins from: make test")
    run = _run([str(_python()), "-m", "pip", "--disable-pip-version-check", "freeze", "--exclude", "pacskit"])
    if run.returncode:
        return _fail(f"pip freeze failed: {run.stdout}")
    pins = sorted((line for line in run.stdout.splitlines() if PIN.fullmatch(line)), key=str.casefold)
    PINS.write_text("\n".join(pins) + "\n", encoding="utf-8")
    _say(f"environment: {len(pins)} pins written to {PINS.relative_to(ROOT)}")
    return 0


def _python() -> Path:
    return ENVIRONMENT / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _alive() -> bool:
    """Whether the environment's interpreter (a removed Python leaves a dangling link) has its pip."""
    return _python().exists() and any(
        any(ENVIRONMENT.glob(place)) for place in ("lib/python*/site-packages/pip", "Lib/site-packages/pip")
    )


def _create() -> str:
    """An empty string, or why there is no environment and what to do."""
    run = _run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
    if run.returncode == 0:
        return ""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if "ensurepip" in run.stdout or "No module named" in run.stdout:
        return (
            f"this Python has no venv or ensurepip: install them "
            f"(Debian, Ubuntu: apt-get install python{version}-venv), then call again."
        )
    return f"python -m venv failed: {run.stdout.strip()}"


def _fingerprint() -> str:
    digest = hashlib.sha256(str(ROOT).encode())  # an editable install knows its folder: a moved one is stale
    for path in (ROOT / "pyproject.toml", PINS):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _installed(fingerprint: str) -> set[str]:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return set(stamp["extras"]) if stamp["fingerprint"] == fingerprint else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(sentence: str) -> int:
    print(f"environment: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
