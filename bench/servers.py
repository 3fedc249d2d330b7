"""Start and stop the programs that are measured, each on a free port with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

AE_TITLE = "BENCH"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _pacskit(folder: Path, port: int) -> list[str]:
    settings = {
        "listener.port": port,
        "listener.host": "127.0.0.1",
        "listener.ae_title": AE_TITLE,
        "archive.durability": "fast",
    }
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "pacskit", "serve", "--quiet", "--archive", str(folder / "archive"), *pairs]


def _storescp(folder: Path, port: int) -> list[str]:
    return [
        "storescp",
        "--fork",
        "+B",
        "-aet",
        AE_TITLE,
        "-od",
        str(folder),
        "--max-pdu",
        "131072",
        str(port),
    ]


def _orthanc(folder: Path, port: int) -> list[str]:
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "DicomAet": AE_TITLE,
                "DicomPort": port,
                "HttpPort": free_port(),
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomAlwaysAllowStore": True,
                "SyncStorageArea": False,
                "Plugins": [],
            }
        )
    )
    return ["Orthanc", str(configuration)]


def _pynetdicom(folder: Path, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pynetdicom",
        "storescp",
        "-q",
        "-aet",
        AE_TITLE,
        "-od",
        str(folder),
        str(port),
    ]


COMMANDS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "pacskit": (sys.executable, _pacskit),
    "storescp": ("storescp", _storescp),
    "Orthanc": ("Orthanc", _orthanc),
    "pynetdicom": (sys.executable, _pynetdicom),
}


def present() -> list[str]:
    """The servers this machine has, pacskit first."""
    return [name for name, (program, _) in COMMANDS.items() if shutil.which(program)]


@dataclass
class Server(AbstractContextManager["Server"]):
    """One measured program while it runs."""

    name: str
    folder: Path

    def __enter__(self) -> Server:
        self.folder.mkdir(parents=True)
        self.port = free_port()
        command = COMMANDS[self.name][1](self.folder, self.port)
        self._log = (self.folder / "log.txt").open("wb")
        environment = {**os.environ, "TCP_NODELAY": "1"}  # takes Nagle out of the DCMTK tools
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, cwd=self.folder, env=environment
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self.name} did not start: {(self.folder / 'log.txt').read_text()[-2000:]}"
                    ) from None
                time.sleep(0.05)

    def memory(self) -> int:
        """Resident bytes of the process and its children, now."""
        process = psutil.Process(self._process.pid)
        total = 0
        for one in (process, *process.children(recursive=True)):
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
