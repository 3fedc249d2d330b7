"""Channel: another process's end of the control channel. Asks, and hears what happens in the owner."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from pacskit.errors import ServiceError
from pacskit.services.host import plain, wire
from pacskit.services.host.places import Place
from pacskit.services.host.wire import Message
from pacskit.system import local

log = logging.getLogger(__name__)

CONNECT_PATIENCE = 10.0
ASK_PATIENCE = 120.0
"""Seconds for an answer, then the owner counts as hanging."""
DISPATCH_PATIENCE = 2.0
"""Seconds an answer waits for the receivers of earlier events."""
CANCEL_PATIENCE = 15.0
"""Seconds a work gets to end after whoever waited for it was interrupted."""
TICK = 0.1
"""Seconds between two looks whether a work is to be cancelled."""
QUEUE = 10_000
"""Events that may wait for slow receivers here."""


class NobodyThere(Exception):
    """Nobody listens at the place: its owner was killed, or is just ending."""


class Channel:
    """Any thread may ask. `state` and `events` are bound methods, held weakly, called in order.

    An answer comes after all that the owner told before it was heard.
    """

    def __init__(
        self,
        place: Place,
        *,
        state: Callable[[Message], None] | None = None,
        events: Callable[[list[Message], int], None] | None = None,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        """With `events` it follows the station: `events` gets some, and how many were dropped before them.

        `lost` gets the reason when the owner ends it ("": it did not say any). Raises NobodyThere,
        ServiceError (another version).
        """
        self._state: Callable[[], Callable[[Message], None] | None] = _weak(state)
        self._events: Callable[[], Callable[[list[Message], int], None] | None] = _weak(events)
        self._lost: Callable[[], Callable[[str], None] | None] = _weak(lost)
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._waiting: dict[int, Message | None] = {}
        self._progress: dict[int, Any] = {}
        self._pieces: dict[int, list[str]] = {}
        self._told: deque[Message] = deque(maxlen=QUEUE)
        self._come = self._heard = self._dropped = 0
        self._dispatcher: threading.Thread | None = None
        self.ended = False
        self.ending = ""
        """Why the owner ends it, once it said so."""
        self._sending = threading.Lock()
        hello = {"secret": place.secret, "protocol": wire.PROTOCOL, "follow": events is not None}
        try:
            self._sock = local.connect(place.address, CONNECT_PATIENCE)
        except (OSError, ValueError) as error:
            raise NobodyThere from error
        self._stream: BinaryIO = self._sock.makefile("rb")
        try:
            self._sock.sendall(wire.encode({"hello": hello}))
            welcome = wire.read(self._stream, wire.LONGEST_ANSWER)
            if welcome is None or not isinstance(welcome.get("welcome"), dict):
                raise NobodyThere
            self.about: Message = welcome["welcome"]
            if events is not None and self.about.get("protocol") != wire.PROTOCOL:
                raise ServiceError(
                    f"the station runs with pacskit {self.about.get('version')} in process {place.pid}, "
                    "which this pacskit cannot talk to: `pacskit stop` ends it"
                )
            self._sock.settimeout(None)
            threads = [self._read] + ([self._dispatch] if events is not None else [])
            for run in threads:
                threading.Thread(target=run, name="pacskit-channel", daemon=True).start()
        except BaseException as error:
            self._stream.close()
            self._sock.close()
            if isinstance(error, OSError | wire.BadMessage):
                raise NobodyThere from error
            raise

    def ask(self, ask: str, *, patience: float = ASK_PATIENCE, **arguments: Any) -> Any:
        """Raises what the owner raised; ServiceError where the channel ended, or after `patience` seconds."""
        with self._asked(ask, arguments) as number:
            return self._answer(number, patience)

    def work(
        self,
        ask: str,
        progress: Callable[[Any], None] | None = None,
        cancel: threading.Event | None = None,
        **arguments: Any,
    ) -> Any:
        """Ask what may take hours: `progress` is told in this thread how far it is, `cancel` ends it soon.

        It also ends when this thread is interrupted, or `progress` raises. Raises as `ask`.
        """
        with self._asked(ask, arguments) as number:
            try:
                self._accompany(number, progress, cancel)
            except BaseException:
                self._cancel(number)
                with self._changed:
                    self._changed.wait_for(lambda: self._over(number), CANCEL_PATIENCE)
                raise
            return self._answer(number, 0)

    @contextlib.contextmanager
    def _asked(self, ask: str, arguments: Mapping[str, Any]) -> Iterator[int]:
        """The question is sent, and its answer kept until it is fetched."""
        number = next(self._numbers)
        line = wire.encode({"id": number, "ask": ask, "with": arguments})
        if len(line) > wire.LONGEST_REQUEST:
            raise ServiceError(f"the question is too long for the station's own process: {len(line)} bytes")
        with self._changed:
            self._waiting[number] = None
        try:
            self._send(line)
            yield number
        finally:
            with self._changed:
                del self._waiting[number]
                self._progress.pop(number, None)
                self._pieces.pop(number, None)

    def _send(self, line: bytes) -> None:
        if not self.ended:
            with self._sending, contextlib.suppress(OSError):  # the reader meets its end
                self._sock.sendall(line)

    def _over(self, number: int) -> bool:
        return self._waiting[number] is not None or self.ended

    def _answer(self, number: int, patience: float) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._over(number), patience)
            message = self._waiting[number]
            if message is not None and threading.current_thread() is not self._dispatcher:
                come = message["come"]
                self._changed.wait_for(lambda: self._heard >= come or self.ended, DISPATCH_PATIENCE)
        if message is None:
            raise ServiceError(
                f"the station's own process is gone{f': {self.ending}' if self.ending else ''}"
                if self.ended
                else f"the station's own process has not answered for {patience:g} s"
            )
        if "error" in message:
            raise plain.error_of(message["error"])
        return message.get("answer")

    def _accompany(
        self, number: int, progress: Callable[[Any], None] | None, cancel: threading.Event | None
    ) -> None:
        """Until the work is over."""
        over = False
        while not over:
            with self._changed:
                # by ticks: a wait without end could not be interrupted on every system
                self._changed.wait_for(lambda: self._over(number) or number in self._progress, TICK)
                over, far = self._over(number), self._progress.pop(number, None)
            if far is not None and progress is not None:
                progress(far)
            if cancel is not None and cancel.is_set() and not over:
                self._cancel(number)
                cancel = None

    def _cancel(self, number: int) -> None:
        self._send(wire.encode({"id": next(self._numbers), "ask": "cancel", "with": {"id": number}}))

    def wait_for_end(self, patience: float) -> bool:
        """Wait until the owner has ended it; False after `patience` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, patience)

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            while (message := wire.read(self._stream, wire.LONGEST_ANSWER)) is not None:
                self._take(message)
        except (OSError, wire.BadMessage):
            pass
        except Exception:
            log.exception("the station's own process said something odd")
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()
            self._stream.close()
            self._sock.close()

    def _take(self, message: Message) -> None:
        if "id" in message:
            self._take_answer(message["id"], message)
        elif "state" in message:
            if (hear := self._state()) is not None:
                hear(message["state"])
        elif "ending" in message:
            self.ending = str(message["ending"])
        else:
            with self._changed:
                for one in message.get("events", ()):
                    self._dropped += len(self._told) == self._told.maxlen
                    self._told.append(one)
                    self._come += 1
                self._dropped += int(message.get("dropped", 0))
                self._changed.notify_all()

    def _take_answer(self, number: int, message: Message) -> None:
        with self._changed:
            if number not in self._waiting:
                return
            if "piece" in message:
                self._pieces.setdefault(number, []).append(message["piece"])
                return
            if "progress" in message:
                self._progress[number] = message["progress"]
            else:
                if "pieces" in message:
                    message = json.loads("".join(self._pieces.pop(number)))
                self._waiting[number] = {**message, "come": self._come}
            self._changed.notify_all()

    def _dispatch(self) -> None:
        """Receivers may be slow, or ask: not in the thread that reads the answers."""
        self._dispatcher = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._told or self._dropped or self.ended)
                told, come, dropped = list(self._told), self._come, self._dropped
                self._told.clear()
                self._dropped = 0
            try:
                if told or dropped:
                    self._publish(told, dropped)
                else:
                    self._say_goodbye()
                    return
            except Exception:
                log.exception("events of the station's own process could not be told")
            finally:
                with self._changed:
                    self._heard = come
                    self._changed.notify_all()

    # In frames of their own: a variable of the loop would keep the hearer alive until the next event.

    def _publish(self, told: list[Message], dropped: int) -> None:
        if (hear := self._events()) is not None:
            hear(told, dropped)

    def _say_goodbye(self) -> None:
        if (hear := self._lost()) is not None:
            hear(self.ending)


def _weak(method: Any) -> Any:
    """A call gives the bound method, or None once its object is garbage."""
    return weakref.WeakMethod(method) if method is not None else lambda: None
