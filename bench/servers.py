"""Start and stop the programs that are measured, each on a free port with a folder of its own."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from pacskit.certificates import Authority

AE_TITLE = "BENCH"
ARCHIVE = "archive"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _pacskit(folder: Path, port: int, **more: object) -> list[str]:
    settings = {
        "listener.port": port,
        "listener.host": "127.0.0.1",
        "listener.ae_title": AE_TITLE,
        "listener.max_associations": 1000,
        "archive.durability": "fast",
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    archive = str(folder / ARCHIVE)
    return [sys.executable, "-m", "pacskit", "serve", "--quiet", "--archive", archive, *pairs]


def _storescp(folder: Path, port: int) -> list[str]:
    title, largest = ["-aet", AE_TITLE], ["--max-pdu", "131072"]
    return ["storescp", "-dhl", "--fork", "+B", *title, "-od", str(folder), *largest, str(port)]


@functools.cache
def certificate() -> tuple[Path, Path]:
    """Of this run's servers with TLS, and its key (EC P-256)."""
    folder = Path(tempfile.mkdtemp(prefix="pacskit-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    issued = Authority.create(folder).issue("bench")
    return issued.certificate, issued.private_key


def _secure_pacskit(folder: Path, port: int) -> list[str]:
    crt, key = certificate()
    files = {"secure_listener__certificate": crt, "secure_listener__private_key": key}
    rules = {"host": "127.0.0.1", "ae_title": AE_TITLE, "max_associations": 1000, "enabled": "true"}
    settings = {f"secure_listener__{name}": value for name, value in rules.items()}
    return _pacskit(folder, free_port(), secure_listener__port=port, **files, **settings)


def _secure_storescp(folder: Path, port: int) -> list[str]:
    crt, key = certificate()
    program, *options = _storescp(folder, port)
    return [program, "+tls", str(key), str(crt), "-ic", *options]


def _orthanc(folder: Path, port: int, **more: object) -> list[str]:
    configuration = folder / "orthanc.json"
    content = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpPort": free_port(),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "MaximumPduLength": 131072,
        "Plugins": [],
        **more,
    }
    configuration.write_text(json.dumps(content))
    return ["Orthanc", str(configuration)]


def _pynetdicom(folder: Path, port: int) -> list[str]:
    script = Path(__file__).with_name("smallest_handler.py")
    return [sys.executable, str(script), str(port), AE_TITLE, str(folder)]


COMMANDS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "pacskit": (sys.executable, _pacskit),
    "storescp": ("storescp", _storescp),
    "Orthanc": ("Orthanc", partial(_orthanc, SyncStorageArea=False)),
    "pynetdicom": (sys.executable, _pynetdicom),
}
"""As fast as they go: pacskit `fast`, Orthanc without sync, pynetdicom with the smallest handler."""
VARIANTS: dict[str, tuple[str, Callable[[Path, int], list[str]]]] = {
    "pacskit safe": (sys.executable, partial(_pacskit, archive__durability="safe")),
    "pacskit, 2 workers": (sys.executable, partial(_pacskit, listener__workers=2)),
    "Orthanc default": ("Orthanc", _orthanc),
    "pacskit, TLS": (sys.executable, _secure_pacskit),
    "storescp, TLS": ("storescp", _secure_storescp),
}


def present() -> list[str]:
    """The servers this machine has, pacskit first."""
    return [name for name, (program, _) in COMMANDS.items() if shutil.which(program)]


@dataclass
class Server(AbstractContextManager["Server"]):
    """One measured program while it runs; `stock`: with Nagle on, where the program has it on."""

    name: str
    folder: Path
    stock: bool = False

    def __enter__(self) -> Server:
        self.folder.mkdir(parents=True)
        self.port = free_port()
        command = (COMMANDS | VARIANTS)[self.name][1](self.folder, self.port)
        self._log = (self.folder / "log.txt").open("wb")
        environment = dict(os.environ)
        environment.pop("TCP_NODELAY", None)
        if not self.stock:
            environment["TCP_NODELAY"] = "1"  # takes Nagle out of the DCMTK tools
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

    @property
    def archive(self) -> Path:
        """Of pacskit."""
        return self.folder / ARCHIVE

    def memory(self) -> int:
        """Resident bytes of the process and its children, now."""
        return int(self._sum(lambda process: float(process.memory_info().rss)))

    def processor(self) -> float:
        """Seconds of processor time of the process and its children so far."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, value: Callable[[psutil.Process], float]) -> float:
        process = psutil.Process(self._process.pid)
        total = 0.0
        for one in (process, *process.children(recursive=True)):
            try:
                total += value(one)
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
