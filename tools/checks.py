"""Runs the checks with the environment's programs: `checks.py lint | test [ARGS] | soak [SEED] | docs`.

`test` runs ruff, ruff format, mypy and pytest, all of them even when one fails, pytest last; it fails when
any of them did.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
}
NO_TESTS = 5  # pytest's exit code when nothing was selected


def main(arguments: list[str]) -> int:
    match arguments:
        case ["lint"]:
            return _verdict(_lint())
        case ["test", *rest]:
            failed = _lint()
            print("== pytest", flush=True)
            if _module(["pytest", *rest]) != 0:
                failed.append("pytest")
            return _verdict(failed)
        case ["soak", *seed]:
            return soak(int(seed[0]) if seed else secrets.randbits(32))
        case ["docs"]:
            return docs()
    print("usage: checks.py lint | test [ARGS] | soak [SEED] | docs", file=sys.stderr)
    return 2


def soak(seed: int) -> int:
    """The tests marked `soak`, long, from a seed that is printed so that a failure can be had again."""
    print(f"soak: seed {seed} (again with: make soak SEED={seed})", flush=True)
    os.environ["PACSKIT_SOAK_SEED"] = str(seed)
    os.environ["HYPOTHESIS_PROFILE"] = "soak"
    code = _module(["pytest", "-m", "soak", "--timeout=0", f"--hypothesis-seed={seed}"])
    if code == NO_TESTS:
        print("soak: no test is marked soak", file=sys.stderr)
    return code


def docs() -> int:
    """Writes docs/cli.md from the command line itself, docs/settings.md from the models, and the table of
    docs/tls.md by real clients."""
    page = Path("docs", "cli.md")
    command = ["typer", "pacskit.cli.app", "utils", "docs", "--name", "pacskit", "--output", str(page)]
    write = "from pathlib import Path; from pacskit.settings.reference import page; "
    write += "Path('docs', 'settings.md').write_text(page(), 'utf-8')"
    code = _module(command) or subprocess.call([sys.executable, "-c", write], cwd=ROOT)
    return code or _module(["tests.dimse.matrix"])


def _lint() -> list[str]:
    failed = []
    for name, command in LINT.items():
        print(f"== {name}", flush=True)
        if _module(command) != 0:
            failed.append(name)
    return failed


def _module(command: list[str]) -> int:
    return subprocess.call([sys.executable, "-m", *command], cwd=ROOT, stdin=subprocess.DEVNULL)


def _verdict(failed: list[str]) -> int:
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
