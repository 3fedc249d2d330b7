"""One Python that has imported pacskit, and each command as a process forked from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pacskit.settings.files import user_path

HERE = "127.0.0.1"
SENTENCE = "pacskit: Only an administrator can change settings shared by all users.\n"

# One Python imports pacskit, which takes a second; each command is a process of its own, forked from it.
FORKER = """
import gc, json, os, sys, traceback
from pacskit.cli import main
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.setsid()
        os.environ.clear()
        os.environ.update(order["environment"])
        for number, path in enumerate(order["files"]):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
        sys.stdin = open(0, closefd=False)
        sys.argv = ["pacskit", *order["arguments"]]
        code = 1
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # to take all that was imported apart again would take most of the time
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class Forker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments: str | Path, stdin: str = "") -> tuple[Path, Path]:
        self.number += 1
        files = [self.folder / f"{self.number}.{name}" for name in ("in", "out", "err")]
        files[0].write_text(stdin)
        return self._order(arguments, files)

    def on_terminal(self, terminal: str, *arguments: str) -> None:
        self._order(arguments, [Path(terminal)] * 3)

    def _order(self, arguments: Any, files: list[Path]) -> tuple[Path, Path]:
        order = {
            "arguments": [str(argument) for argument in arguments],
            "environment": dict(os.environ),
            "files": [str(file) for file in files],
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self._read()
        return files[1], files[2]

    def code(self) -> int:
        return int(self._read())

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process that starts the others has ended"
        return line


@pytest.fixture(scope="module")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    made = Forker(tmp_path_factory.mktemp("forker"))
    yield made
    made.process.communicate(timeout=20)
    assert made.process.returncode == 0


@pytest.fixture
def pacskit(forker: Forker, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`pacskit("settings", "list")`: run a command to its end."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path, stdin: str = "", code: int = 0) -> Result:
        out, err = forker.start(*arguments, stdin=stdin)
        result = Result(forker.code(), out.read_text(), err.read_text())
        assert "Traceback" not in result.err, result.err
        assert result.code == code, result
        if code:
            assert result.err
        return result

    return run


@pytest.fixture
def settings(pacskit: Any) -> Any:
    """`settings("get", "listener.port")`."""
    return lambda *arguments, **more: pacskit("settings", *arguments, **more)


def write(text: str) -> Path:
    path = user_path()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
