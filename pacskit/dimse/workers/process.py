"""One worker process, as the owner sees it."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from pacskit.dimse.workers import wire
from pacskit.services.host.spawn import environment
from pacskit.system import local

log = logging.getLogger(__name__)

SEND_PATIENCE = 2.0
"""Seconds for a worker to take what it is told; then it hangs, and is ended."""
END_PATIENCE = 2.0
"""Seconds for a worker to end that was told to."""

# The packages, without what they show to people: that would load pandas, SQLAlchemy and the whole station.
_BOOT = """# pacskit: a worker of the DICOM Listener
import sys
from importlib.util import find_spec, module_from_spec
for name in ("pacskit", "pacskit.archive"):
    sys.modules[name] = module_from_spec(find_spec(name))
from pacskit.dimse.workers.child import main
main(int(sys.argv[1]))
"""


class Worker:
    """Made, it starts; `watch()` follows it to its end. Raises OSError where there is no process to have."""

    def __init__(self) -> None:
        self.ready = False
        self.associations = 0
        """Under way; the pool counts."""
        self.closing = False
        self._telling = threading.Lock()
        self._control, theirs = local.pair(SEND_PATIENCE)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _BOOT, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=environment(),
                    start_new_session=True,  # a terminal's Ctrl+C is the owner's
                )
            except BaseException:
                self._control.close()
                raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, *message: Any, sockets: tuple[socket.socket, ...] = ()) -> bool:
        """False where it is not there any more; one that hangs is ended."""
        descriptors = [sock.fileno() for sock in sockets]
        with self._telling:
            if local.hand_over(self._control, wire.pack(*message), descriptors):
                return True
        self.kill()
        return False

    def watch(self, ready: Callable[[], None]) -> int | None:
        """Hear what it says until it ends; its exit code, None where it cannot end."""
        with contextlib.suppress(OSError):
            while (found := wire.receive_with(self._control)) is not None:
                (what, *values), _ = found
                if what == "ready":
                    ready()
                else:
                    name, level, text = values
                    logging.getLogger(name).log(level, "%s", text)
        self.wait()
        with self._telling:
            self._control.close()
        return self._process.returncode

    def close(self) -> None:
        """It ends at once."""
        self.closing = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Until it has ended; killed where it does not, and left behind where a disk that hangs holds it."""
        for kill in (self.kill, self._give_up):
            try:
                self._process.wait(END_PATIENCE)
                return
            except subprocess.TimeoutExpired:
                kill()

    def _give_up(self) -> None:
        log.error("process %d, a worker of the DICOM Listener, does not end: a disk may hang", self.pid)

    def kill(self) -> None:
        self._process.kill()
