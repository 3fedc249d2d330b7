"""Station: a small PACS, one face whether its services run in this process or in one of their own."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pacskit.archive import Archive
from pacskit.archive.import_report import How, ImportProgress, ImportReport
from pacskit.archive.query import Level
from pacskit.errors import ArchiveOwned, PacskitError, ServiceError
from pacskit.events import EventBus, ServiceChanged, SettingsChanged
from pacskit.imaging.series import Series
from pacskit.services.base import State
from pacskit.services.host import log, places
from pacskit.settings import Layer, Settings, wire
from pacskit.settings.files import default_folder
from pacskit.settings.stack import SettingsStack
from pacskit.station import background
from pacskit.station.attached import Attached
from pacskit.station.core import AnyListenerSlot, AnySlot, Background, Core, check_dicts
from pacskit.station.metrics import Metrics
from pacskit.station.owner import Owner

FACES = "pacskit.faces"
STOP_PATIENCE = 60.0
"""Seconds for a background station to end."""

_open: weakref.WeakValueDictionary[Path, Station] = weakref.WeakValueDictionary()
"""This process's stations by archive folder. A cell that is run again makes a new Station before the old
one can be garbage: the new one takes over, as the person means it."""
_opening = threading.Lock()


class Station:
    """A small PACS: `station = pacskit.Station()`, then `station` as the last line of a cell.

    `archive` is the folder studies are kept in (or a dict of archive settings); sections of settings are
    dicts, as in `Station(listener={"enabled": True, "port": 0})`. What is enabled starts at once; a
    service that cannot start does not stop the others: its `status.error` says why.

    Where another process owns the archive, this one attaches to it: the services there run by the settings
    given here too, and `close()` only lets go. With `station={"run_in": "background"}` they always run in a
    process of their own, which is started where there is none.
    """

    def __init__(
        self,
        archive: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        layers: Sequence[Layer] = (),
        attach: bool = True,
        **sections: Mapping[str, Any],
    ) -> None:
        """`attach=False`: the services run in this process, or nowhere.

        Raises SettingError for a wrong setting, ArchiveError for an unusable archive (ArchiveOwned where
        another process has it and cannot be attached to), ServiceError where no background station starts.

        What is wrong in a settings file or in the environment is a warning, and stands in `problems`.
        """
        code: dict[str, Mapping[str, Any]] = dict(sections)
        if archive is not None:
            code["archive"] = archive if isinstance(archive, Mapping) else {"folder": archive}
        check_dicts(code, "code")
        stack = SettingsStack(code, layers)
        self.events = EventBus()
        self._may_attach, self._layers = attach, layers
        self._moving = threading.RLock()
        self._closed = False
        self._faces: dict[str, Any] = {}
        folder = stack.settings.archive.folder or Path(default_folder()) / "archive"
        folder = Path(os.path.abspath(folder.expanduser()))
        with _opening:
            earlier = _open.get(folder)
            if earlier is not None and not isinstance(earlier._core, Attached):
                earlier.close()
            self._core: Core
            self._core, wrong = self._begin(stack, folder, code)
            if earlier is not None:  # not before: a background station may end with its last notebook
                earlier.close()
            _open[folder] = self
        atexit.register(_close_quietly, weakref.ref(self))
        for problem in self.problems:
            warnings.warn(problem, RuntimeWarning, stacklevel=2)
        if isinstance(self._core, Owner):
            wrong += self._core.start()
        for sentence in wrong:
            warnings.warn(sentence, RuntimeWarning, stacklevel=2)

    def _begin(
        self, stack: SettingsStack, folder: Path, code: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Core, list[str]]:
        """Own the archive, attach to its owner, or start one; and what could not be, a sentence each."""
        started = False
        found: Attached | None = None
        if self._may_attach and stack.settings.station.run_in == "background":
            found, started = self._in_background(folder, code)
        else:
            try:
                return Owner(stack, folder, self.events), []
            except ArchiveOwned:
                if not self._may_attach:
                    raise
            with places.starting(folder):  # somebody may be starting one just now
                found = background.reach(folder, self.events)
        if found is None:  # its owner has ended meanwhile; or it is one that nobody can attach to
            return Owner(stack, folder, self.events), []
        wrong = [slot.status.error for slot in found.slots.values() if slot.status.state is State.FAILED]
        try:
            if not started and (sentence := found.adopt(_merged(code, self._layers))):
                wrong.append(sentence)
        except BaseException:
            found.close()
            raise
        return found, wrong

    def _in_background(self, folder: Path, code: Mapping[str, Mapping[str, Any]]) -> tuple[Attached, bool]:
        fixed = {**code, "archive": {**code.get("archive", {}), "folder": folder}}
        boot = background.boot(fixed, self._layers, lasting=False)
        return background.start(folder, boot, self.events)

    @property
    def settings(self) -> Settings:
        """What is set now: `station.settings.listener.port`, `station.settings.explain("listener.port")`."""
        return self._core.settings

    @property
    def problems(self) -> list[str]:
        """What is wrong in settings files and the environment, a sentence each."""
        return self._core.problems

    @property
    def troubles(self) -> Mapping[str, str]:
        """Section → why its service could not take over its newest settings."""
        return self._core.troubles

    @property
    def slots(self) -> Mapping[str, AnySlot]:
        """The services by their sections' names."""
        return self._core.slots

    @property
    def listener(self) -> AnyListenerSlot:
        """The DICOM Listener: `.start() .stop() .status .settings .associations() .totals() .refusals()`."""
        return self._core.listener

    @property
    def secure_listener(self) -> AnyListenerSlot:
        """The Secure DICOM Listener, over TLS: as `listener`."""
        return self._core.secure_listener

    @property
    def archive(self) -> Archive:
        """The archive. Where another process owns it, that one does what changes it."""
        return self._core.archive

    @property
    def background(self) -> Background:
        """Where the services run, and whether that process is still there."""
        return self._core.background

    @property
    def owner(self) -> Owner:
        """What runs the services in this process. Raises ServiceError where another one does."""
        if not isinstance(self._core, Owner):
            raise ServiceError(f"the services run in another process ({self.background.pid})")
        return self._core

    def metrics(self) -> Metrics:
        """Of the process that runs the services: `.now`, `.history` (ten minutes, numpy), `.prometheus()`.

        Raises ServiceError where that process is gone.
        """
        return self._core.metrics()

    def log_lines(self, count: int = 200) -> list[str]:
        """The last lines of the background station's log, oldest first; none where there is no log."""
        path = self.background.log
        return log.tail(path, count) if path is not None else []

    def apply(
        self, changes: Mapping[str, Mapping[str, Any]], *, save: bool = False, shared: bool = False
    ) -> None:
        """Change settings, as in `apply({"listener": {"port": 104}})`; all of it, or nothing.

        Services whose settings change take them over: associations that are open end by finishing, new ones
        see the new settings. `save` keeps the change in the user's file, `shared` in the one for all users
        (administrators only; `{"listener": {"shared": False}}` with `save` ends the sharing).

        `{"station": {"run_in": "background"}}` moves the services into a process of their own, "kernel" back
        into this one: they stop here and start there, associations that are open end.

        Raises SettingError, NotAdministrator, ServiceError (PortTaken: the old service still runs), NotSaved.
        """
        check_dicts(changes, "you")
        with self._moving:
            before = self.settings.station.run_in
            self._core.apply(changes, save=save, shared=shared)
            wanted = self.settings.station.run_in
            if wanted == before or not self._may_attach:
                return
            try:
                self._move(wanted == "background")
            except BaseException:
                self._core.apply({"station": {"run_in": before}}, save=save)
                raise

    def is_administrator(self) -> bool:
        """Whether this user may change what all users of this computer share: tried, not guessed."""
        return self._core.is_administrator()

    def reload(self) -> None:
        """Read the settings files again; happens by itself within a second after one was changed."""
        self._core.reload()

    def stop_background(self) -> None:
        """End the process that the services run in, cleanly; ports and archive are free on return.

        Raises ServiceError where they run in this process, or in another notebook's.
        """
        if not isinstance(self._core, Attached):
            raise ServiceError("there is no background station: the services run in this process")
        self._core.shut_down(STOP_PATIENCE)

    def _move(self, away: bool) -> None:
        """Let the services run in a process of their own, or in this one again.

        Raises ServiceError, ArchiveError; then they run where they did.
        """
        core, folder, code = self._core, self.archive.folder, wire.code_of(self.settings)
        if away and isinstance(core, Owner):
            core.close()
            try:
                self._core = self._in_background(folder, code)[0]
            except BaseException:
                self._core = self._own(folder, {**code, "station": {"run_in": "kernel"}})
                raise
        elif not away and isinstance(core, Attached) and core.background.run_in == "background":
            core.shut_down(STOP_PATIENCE)
            core.close()
            self._core = self._own(folder, code)
        else:
            return
        for name, slot in self.slots.items():
            status = slot.status
            self.events.publish(ServiceChanged(service=name, state=status.state, error=status.error))
        self.events.publish(SettingsChanged(sections=frozenset({"station"})))

    def _own(self, folder: Path, code: Mapping[str, Mapping[str, Any]]) -> Owner:
        owner = Owner(SettingsStack(code, self._layers), folder, self.events)
        owner.start()
        return owner

    def studies(self, **query: Any) -> pd.DataFrame:
        """The studies here, last received first, one a row; `query` by DICOM keywords (`PatientName='A*'`).

        Columns: study_uid, patient_id, patient_name, study_date, study_description, modalities, series,
        instances, bytes, received_at, received_from, conflict.
        """
        return self.archive.studies(**query)

    def table(
        self, level: Level = "study", columns: Sequence[str] | None = None, **query: Any
    ) -> pd.DataFrame:
        """Studies, series or instances with any attributes as columns (`columns=["EchoTime"]`)."""
        return self.archive.table(level=level, columns=columns, **query)

    def import_paths(
        self,
        paths: Iterable[str | os.PathLike[str]],
        how: How = "copy",
        *,
        progress: Callable[[ImportProgress], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> ImportReport:
        """Take files, folders and what DICOMDIRs list into the archive: `how` is copy, link or in-place.

        `progress` is called at most ten times a second; once `cancel` is set it ends soon, and doing it again
        goes on from there. The report says what was skipped and why (`print(report)`, `report.table()`).
        Raises ArchiveError.
        """
        return self.archive.import_paths(map(Path, paths), how, progress=progress, cancel=cancel)

    def series(self, uid: str) -> Series:
        """One series: `.paths`, `.datasets()`, `.volume()`, `.volumes()`. Raises UnknownUID."""
        return self.archive.series(uid)

    def close(self) -> None:
        """Stop the services, their ports free on return, and let go of the archive. Safe to call twice.

        Where they run in another process they go on, unless it is to end with its last notebook.
        """
        with self._moving:  # a change under way comes to its end first
            if self._closed:
                return
            self._closed = True
        try:
            for face in self._faces.values():
                face.close()
        finally:
            self._core.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        status = self.listener.status
        where = f" at {status.host}:{status.port}" if status.running else ""
        state = "closed" if self._closed else status.state
        title = self.listener.settings.ae_title
        folder = str(self.archive.folder)
        place = f", in process {self._core.background.pid}" if isinstance(self._core, Attached) else ""
        return f"<pacskit.Station archive={folder!r}, DICOM Listener {title} {state}{where}{place}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """The dashboard in a notebook; where no face is installed, a line that says what to install."""
        try:
            return self.dashboard._repr_mimebundle_(include=include, exclude=exclude)
        except PacskitError as error:
            return {"text/plain": f"{self!r}\n{error}"}

    @property
    def dashboard(self) -> Any:
        """The station's face in a notebook. Raises PacskitError where none is installed."""
        return self._face("dashboard")

    @property
    def services(self) -> Any:
        """The services with their settings, in one panel; the dashboard opens the same one."""
        return self._face("services")

    def _face(self, name: str) -> Any:
        if name not in self._faces:
            try:
                (entry, *_) = importlib.metadata.entry_points(group=FACES, name=name)
                face = entry.load()
            except (ImportError, ValueError) as error:
                raise PacskitError(
                    f"No {name}: {error}. Install it with pip install 'pacskit[lab]'"
                ) from None
            self._faces[name] = face(self)
        return self._faces[name]


def _merged(code: Mapping[str, Mapping[str, Any]], layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """What command line and code ask for, the code last."""
    found: dict[str, dict[str, Any]] = {}
    for values in (*(layer.values for layer in layers), code):
        for section, fields in values.items():
            found.setdefault(section, {}).update(fields)
    return found


def _close_quietly(reference: weakref.ref[Station]) -> None:
    if (station := reference()) is not None:
        station.close()


def open_archive(folder: str | os.PathLike[str]) -> Archive:
    """Read an archive without services and without a lock, also while another process writes it.

    Raises ArchiveError where there is none, or none that this user may read.
    """
    return Archive.read(folder)
