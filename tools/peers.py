"""Installs the outside programs the tests talk to: the Debian packages of binder/apt.txt and tests/apt.txt,
and sslyze into `.venv/sslyze`, by requirements/sslyze.txt (its licence and its pins do not fit ours).

As root on Debian or Ubuntu it installs what is missing, without starting any daemon; elsewhere one line names
what is skipped. Never fails: a test whose program is missing says so itself (tests/peers.py). Stdlib only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = (ROOT / "binder" / "apt.txt", ROOT / "tests" / "apt.txt")


SSLYZE = ROOT / ".venv" / "sslyze"
PINS = ROOT / "requirements" / "sslyze.txt"


def main() -> int:
    if problem := sslyze():
        _say(f"sslyze cannot be had, tests needing it are skipped: {problem}")
    return debian()


def sslyze() -> str:
    """Makes its environment, where it is not there by these pins; an empty string, or why that failed."""
    stamp, pins = SSLYZE / "pins.txt", PINS.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == pins:
        return ""
    _say("installing sslyze")
    shutil.rmtree(SSLYZE, ignore_errors=True)
    pip = [
        str(SSLYZE / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    how = ["--quiet", "--retries=2", "--no-deps", "--requirement", str(PINS)]
    for command in ([sys.executable, "-m", "venv", str(SSLYZE)], [*pip, *how]):
        run = subprocess.run(
            command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if run.returncode:
            shutil.rmtree(SSLYZE, ignore_errors=True)
            said = run.stdout.strip().splitlines()
            return said[-1] if said else f"{command[0]} ended with {run.returncode}"
    stamp.write_text(pins, encoding="utf-8")
    return ""


def debian() -> int:
    missing = missing_packages(packages())
    if not missing:
        return 0
    names = " ".join(missing)
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        _say(f"no apt-get here; tests needing {names} are skipped: install these programs by other means")
    elif os.geteuid() != 0:
        _say(f"not root; tests needing {names} are skipped: sudo apt-get install {names}")
    else:
        _say(f"installing {names}")
        install(missing)
        left = missing_packages(missing)
        if left:
            _say(f"could not be installed, tests needing them are skipped: {' '.join(left)}")
    return 0


def packages() -> list[str]:
    """The names in the lists; blank lines and `#` lines are left out."""
    lines = (line.strip() for path in LISTS for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def missing_packages(names: list[str]) -> list[str]:
    """Those of `names` dpkg does not know as installed; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return names
    run = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    installed = {line.split()[0] for line in run.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def install(names: list[str]) -> None:
    """All at once, once more after a failure, then one by one: one unknown name must not cost the others."""
    apt = ["apt-get", "--quiet", "--quiet", "-o", "DPkg::Lock::Timeout=120"]
    for _attempt in range(2):
        updated = _run([*apt, "update"])
        if updated and _run([*apt, "install", "--yes", "--no-install-recommends", *names]):
            return
    for name in names:
        _run([*apt, "install", "--yes", "--no-install-recommends", name])


def _run(command: list[str]) -> bool:
    # RUNLEVEL=1: invoke-rc.d then starts no daemon (Orthanc would take a port).
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run = subprocess.run(
        command,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if run.returncode:
        sys.stderr.write(run.stdout[-2000:])
    return run.returncode == 0


def _say(line: str) -> None:
    print(f"peers: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
