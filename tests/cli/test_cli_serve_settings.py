"""`pacskit serve` by settings files: a line for each service, what changes is followed."""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from forked_cli import HERE, write

from pacskit.dimse.client import echo
from pacskit.peers import PeerAddress
from pacskit.settings.files import user_path

# Serving


class Serving:
    """`pacskit serve --json` from its first line on; SIGTERM ends it with code 0."""

    def __init__(self, archive: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "pacskit", "serve", "--json", "--archive", str(archive), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.errors: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.removesuffix("\n"))

    def told(self, words: str) -> None:
        """Wait for a line with these words."""
        while words not in (line := self._lines.get(timeout=20)):
            self.errors.append(line)
        self.errors.append(line)

    def __enter__(self) -> Serving:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
        self.ready = json.loads(line)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join(10)
        while not self._lines.empty():
            self.errors.append(self._lines.get())
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        assert (code, self.process.stdout.read()) == (0, ""), self.errors
        assert not [line for line in self.errors if "Traceback" in line]
        self.process.stdout.close()
        self.process.stderr.close()


def unused_port() -> int:
    with socket.create_server((HERE, 0)) as probe:
        return int(probe.getsockname()[1])


def test_serve_by_a_settings_file(tmp_path: Path) -> None:
    """A line for each service; what changes meanwhile is followed, and what cannot be is told in the log."""
    start = f"[listener]\nenabled = true\nhost = '{HERE}'\nport = 'auto'\n[web]\nenabled = true\n[viewer]\n"
    file = write(start)
    with Serving(tmp_path / "a", "--set", "listener.ae_title=LINE") as served:
        port = served.ready.pop("port")
        assert served.ready == {"service": "listener", "host": HERE, "ae_title": "LINE"}
        assert json.loads((tmp_path / "a" / "ports.json").read_text()) == {"listener": port}
        assert echo(PeerAddress("LINE", HERE, port)).done
        with socket.create_server((HERE, 0)) as other:
            taken = other.getsockname()[1]
            file.write_text(start.replace("'auto'", str(taken)) + "mask_identifiers = 'perhaps'\n")
            served.told("viewer.mask_identifiers")
        assert echo(PeerAddress("LINE", HERE, port)).done
        wanted = unused_port()
        file.write_text(start.replace("'auto'", str(wanted)))
        served.told("settings are followed: listener")
        assert echo(PeerAddress("LINE", HERE, wanted)).done
    told = [line.partition(" WARNING ")[2].rstrip() for line in served.errors if " WARNING " in line]
    assert told[0] == "Web Service: web.enabled has no effect, this version has no such service yet"
    assert f"port {taken} is taken" in told[1]
    assert (
        told[2] == f"user file {file}, line 8: viewer.mask_identifiers: must be true or false, not 'perhaps'"
    )
    assert len(told) == 3


def test_serve_where_nothing_is_enabled(tmp_path: Path) -> None:
    write(f"[listener]\nhost = '{HERE}'\nport = 'auto'\nae_title = 'FILE'\n")
    with Serving(tmp_path, "--quiet") as served:
        assert served.ready["ae_title"] == "FILE"
        assert echo(PeerAddress("FILE", HERE, served.ready["port"])).done
    assert served.errors == []


def test_serve_where_no_service_is_left(tmp_path: Path, pacskit: Any) -> None:
    serve = ["serve", "--quiet", "--archive", tmp_path]
    last = "pacskit: no service could start\n"
    for text, sentence in [
        ("[listener]\nenabled = true\nport = 'many'\n", "line 3: listener.port: a port is a whole number"),
        ("[listener]\nport = \n", "line 2: listener: "),
        ("listener", f"{user_path()}, line 1: "),
        ("[listener]\nenabled = true\nprot = 104\n", "did you mean port?"),
        ("[web]\nenabled = true\n", "web.enabled has no effect"),
    ]:
        write(text)
        result = pacskit(*serve, code=1)
        assert result.out == ""
        assert sentence in result.err
        assert result.err.endswith(last)
        assert ".py" not in result.err, "where in the code helps nobody"
    user_path().unlink()
    with socket.create_server((HERE, 0)) as other:
        port = other.getsockname()[1]
        line = ["--set", f"listener.host={HERE}", "--set", f"listener.port={port}"]
        result = pacskit(*serve, *line, code=1)
    assert f"port {port} is taken" in result.err
    assert result.err.endswith(last)
    for wrong in ("listener.prot=104", "listener.port=8080", "listner.port=104", "listener.port=many"):
        assert "(from command line)" in pacskit(*serve, "--set", wrong, code=2).err
