"""`pacskit serve` in a process of its own, senders that remember what was acknowledged, and what must be true then."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacskit.archive import Archive
from pacskit.archive.incoming import UNFINISHED
from pacskit.dimse.client import ClientAssociation, Response
from pacskit.errors import AssociationError
from pacskit.events import EventBus
from pacskit.imaging.part10 import META_LIMIT, read_head
from pacskit.peers import PeerAddress
from pacskit.station import Station
from tests.archive.conftest import encode, make

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = (str(CTImageStorage), (str(ExplicitVRLittleEndian),))
# imported once; each line of arguments is a process of its own, so that a round costs no imports
WARM = """
import ctypes, json, os, sys
from pacskit.cli import main
end_with_parent = lambda: ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: also where pytest is killed
end_with_parent()
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        end_with_parent()
        sys.argv[1:] = json.loads(line)
        main()
    print(json.dumps({"pid": pid}), flush=True)
    print(json.dumps({"ended": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}), flush=True)
"""


class Server:
    """`pacskit serve`, one after the other; `serve()` starts one, `stop()` or `kill()` ends it."""

    def __init__(self, *before: str) -> None:
        """`before`: a program it runs under (strace and its options)."""
        command = ["setpriv", "--pdeathsig", "KILL", *before, sys.executable, "-c", WARM]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=None, text=True, cwd=ROOT)
        self.peer = PeerAddress("PACSKIT", "127.0.0.1", 1)
        self.pid = 0

    def serve(self, archive: Path, *, workers: int = 1, **settings: str) -> Server:
        """Ready to receive when it returns; `settings` of the section archive."""
        arguments = ["serve", "--json", "--quiet", "--archive", str(archive)]
        given = {"listener.port": "0", "listener.host": "127.0.0.1", "listener.workers": str(workers)}
        given |= {f"archive.{name}": value for name, value in settings.items()}
        for name, value in given.items():
            arguments += ["--set", f"{name}={value}"]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        told: dict[str, int] = {}
        while not {"pid", "port"} <= told.keys():
            told |= self._line()
            assert "ended" not in told, "it did not start"
        self.pid = told["pid"]
        self.peer = PeerAddress("PACSKIT", "127.0.0.1", told["port"])
        return self

    def _line(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server's parent has ended"
        found: dict[str, int] = json.loads(line)
        return found

    def end(self, number: int) -> int:
        """Send a signal, wait for the end; the exit code."""
        # to the main thread, where Python handles signals: under strace another thread may get it otherwise,
        # and a main thread that waits for a lock does not wake up
        assert ctypes.CDLL(None).tgkill(self.pid, self.pid, number) == 0
        ended = self._line()["ended"]
        self.pid = 0
        return ended

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def kill(self) -> None:
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def close(self) -> None:
        if self.pid:
            self.kill()
        self._process.communicate()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def store(self, bodies: Sequence[tuple[str, bytes]]) -> list[Response]:
        """(SOP Instance UID, data set) in one association."""
        with ClientAssociation(self.peer, [CONTEXT], timeout=60) as association:
            return [store(association, uid, body) for uid, body in bodies]


def store(association: ClientAssociation, uid: str, body: bytes) -> Response:
    return association.store(CONTEXT[0], uid, CONTEXT[1][0], iter([memoryview(body)]), len(body))


def instance(study: int, series: int, number: int, room: int = 20_000) -> tuple[str, bytes]:
    """(SOP Instance UID, data set); different in each byte range."""
    uid = f"1.2.{study}.{series}.{number}"
    body = bytes([number % 251 + 1]) * room
    dataset = make(
        uid, f"1.2.{study}", f"1.2.{study}.{series}", InstanceNumber=number, EncapsulatedDocument=body
    )
    return uid, encode(dataset)


class Reachable(Protocol):
    @property
    def peer(self) -> PeerAddress: ...


class Flood:
    """Four senders, a study and an association each; remembers each data set that was acknowledged."""

    def __init__(self, server: Reachable, first: int, senders: int = 4, each: int = 100_000) -> None:
        """`first`: number of the first study. Each sender waits, connected, once `each` were acknowledged."""
        self.acknowledged: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._ended = 0
        self._server, self._senders, self._each = server, senders, each
        self._over = threading.Event()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        """How associations ended that were not released."""
        self._threads = [
            threading.Thread(target=self._send, args=(first + number,)) for number in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, study: int) -> None:
        try:
            with ClientAssociation(self._server.peer, [CONTEXT], timeout=60) as association:
                for number in range(1, self._each + 1):
                    if self._over.is_set():
                        return
                    uid, body = instance(study, number // 20, number, 100 + number * 997 % 90_000)
                    response = store(association, uid, body)
                    with self._changed:
                        if response.status == 0:
                            self.acknowledged[uid] = body
                        else:
                            self.wrong.append(f"{uid}: {response}")
                        self._changed.notify_all()
                self._over.wait(120)
        except AssociationError as error:  # the server was stopped, or killed
            self.lost.append(str(error))
        finally:
            with self._changed:
                self._ended += 1
                self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Until so many are acknowledged."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.acknowledged) >= count or self._ended == self._senders, 120
            )
            assert len(self.acknowledged) >= count, self.wrong

    def wait_for_refusals(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.wrong) >= count, 120)

    def so_far(self) -> dict[str, bytes]:
        with self._changed:
            return dict(self.acknowledged)

    def join(self, refused: bool = False) -> dict[str, bytes]:
        """After the server's end, or to end now: everything that was acknowledged."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        assert refused or not self.wrong, self.wrong[:3]
        return self.acknowledged


@contextmanager
def restarted(folder: Path, **settings: str) -> Iterator[Archive]:
    """As the next owner finds it."""
    with Archive.create_or_open(folder, EventBus()) as archive:
        yield archive


class Background:
    """A station in a process of its own, and one that is attached to it."""

    def __init__(self, archive: Path) -> None:
        settings: dict[str, Any] = {"enabled": True, "host": "127.0.0.1", "port": 0}
        self.station = Station(archive, listener=settings, station={"run_in": "background"})
        self.pid = self.station.background.pid
        self.peer = PeerAddress("PACSKIT", "127.0.0.1", self.station.listener.status.port)

    def end(self) -> None:
        if not self.station.background.lost:
            self.station.stop_background()
        self.station.close()


def check_kept(folder: Path, acknowledged: dict[str, bytes]) -> int:
    """Open it as the next owner: what was acknowledged is there, whole and indexed; returns the rows."""
    with restarted(folder) as archive:
        found = archive.table("instance")
        paths = dict(zip(found.sop_instance_uid, found.path, strict=True))
        missing = [uid for uid in acknowledged if uid not in paths]
        assert not missing, f"{len(missing)} of {len(acknowledged)} are lost: {missing[:5]}"
        for uid, body in acknowledged.items():
            raw = Path(paths[uid]).read_bytes()
            assert raw[read_head(raw[:META_LIMIT]).offset :] == body, f"{uid} is not what was sent"
        files = set(map(str, (folder / "studies").rglob("*.dcm")))
        assert files == set(paths.values()), "each file is indexed, and each row has its file"
        assert not [path for path in files if Path(path).read_bytes().startswith(UNFINISHED)]
        assert not list((folder / "incoming").iterdir())
        assert not archive.verify().damaged
        return len(found)
