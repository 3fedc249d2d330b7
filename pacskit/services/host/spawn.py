"""A process of its own: in a session of its own and no child of ours, so nothing that ends us ends it."""

from __future__ import annotations

import json
import os
import queue
import site
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from pacskit import system
from pacskit.archive.files import FILE_MODE
from pacskit.errors import ServiceError
from pacskit.services.host import plain
from pacskit.services.host.places import START_PATIENCE

# A process between: its child is the system's, no child of ours that a kernel ends, or a zombie.
_LAUNCH = """
import subprocess, sys
flags = {"creationflags": 0x208} if sys.platform == "win32" else {"start_new_session": True}
subprocess.Popen(sys.argv[1:], **flags)
"""
LONGEST_BOOT = 1 << 22
LONGEST_SENTENCE = 2000


def spawn(arguments: Sequence[str], boot: Mapping[str, Any], errors: Path) -> None:
    """Run `python -m pacskit ARGUMENTS` until it says that it is ready.

    It gets `boot` as JSON on its standard input, where no list of processes shows it, and writes one line:
    {"ready": true}, or an error that is raised here. `errors` takes what Python itself says (mode 0600).
    Raises ServiceError where it ends without a word, or says none for 300 s.
    """
    descriptor = os.open(errors, os.O_RDWR | os.O_CREAT | os.O_TRUNC | system.BINARY, FILE_MODE)
    command = [sys.executable, "-I", "-S", "-c", _LAUNCH, sys.executable, "-P", "-m", "pacskit", *arguments]
    more: dict[str, Any] = {} if os.name == "nt" else {"start_new_session": True}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=descriptor,
            env=environment(),
            **more,
        )
    except OSError as error:
        raise ServiceError(f"no process of its own for the station: {error}") from error
    finally:
        os.close(descriptor)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as stream:
            stream.write(json.dumps(boot).encode())
    except OSError:  # it ended at once: what it said is read below
        pass
    process.wait()
    answer = _first_line(process.stdout)
    if "error" in answer:
        raise plain.error_of(answer)
    if answer.get("ready") is not True:
        said = _last_words(errors)
        raise ServiceError(f"the background station ended as it started{f': {said}' if said else ''}")


def _first_line(stream: IO[bytes]) -> Mapping[str, Any]:
    """Read in a thread: a pipe cannot be waited for with a limit on every system."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        with stream:
            lines.put(stream.readline(LONGEST_BOOT))

    threading.Thread(target=read, name="pacskit-start", daemon=True).start()
    try:
        found = json.loads(lines.get(timeout=START_PATIENCE) or b"{}")
    except queue.Empty:
        raise ServiceError(
            f"the background station has been starting for {START_PATIENCE:g} s; it may yet: try again"
        ) from None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last_words(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:LONGEST_SENTENCE] if lines else ""


def environment() -> dict[str, str]:
    """For a Python of our own: ours; and where this package is found only by way of the current folder, or of
    sys.path, that too.

    The notebook's folder itself stays out (-P): a file in it could stand in for a library's module.
    """
    environment = dict(os.environ)
    above = str(Path(__file__).resolve().parents[3])
    if above not in (*site.getsitepackages(), site.getusersitepackages()):
        known = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = f"{known}{os.pathsep}{above}" if known else above
    return environment
