"""Errand: what takes its time, one thing at once, in a thread of its own; panels live on meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pacskit.errors import PacskitError

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds a cancelled errand has to end when the panel closes."""


class Errand:
    """`changed()` is called when it is over. Any thread."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._thread: threading.Thread | None = None
        self.cancel = threading.Event()
        """Set by whoever wants it to end; what runs looks at it."""
        self.failure = ""
        """Why the last one failed, a sentence."""

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def begin(self, run: Callable[[], None]) -> None:
        """Nothing where one is under way."""
        if self.busy:
            return
        self.failure = ""
        self.cancel.clear()

        def all_of_it() -> None:
            try:
                run()
            except (PacskitError, ValueError) as error:
                self.failure = str(error)
            except Exception:
                self.failure = "it failed by a mistake of pacskit: the log says more"
                log.exception("what was begun in the dashboard failed")
            finally:
                self._thread = None
                self._changed()

        self._thread = threading.Thread(target=all_of_it, name="pacskit-errand", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Cancel it, and wait until it is over, for some seconds."""
        thread = self._thread
        if thread is not None:
            self.cancel.set()
            thread.join(PATIENCE)
