"""Station: settings, archive and services in one object; the only place that knows them all."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import threading
import time
import warnings
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pacskit.archive import Archive, Incoming, Origin
from pacskit.archive.query import Level
from pacskit.dimse.listener import DicomListener, ListenerSlot
from pacskit.errors import ArchiveError, PacskitError, SettingError
from pacskit.events import ArchiveFailed, EventBus, SettingsChanged
from pacskit.imaging.series import Series
from pacskit.services.applying import apply
from pacskit.services.ports import PortMemory
from pacskit.services.slot import Slot
from pacskit.settings import SECTIONS, SERVICES, Layer, Settings
from pacskit.settings.files import default_folder
from pacskit.settings.stack import SettingsStack
from pacskit.settings.watch import Watch

FACES = "pacskit.faces"
PORTS = "ports.json"
"""In the archive's folder: which ports `auto` took, so that scanners find the station again."""

_open: weakref.WeakValueDictionary[Path, Station] = weakref.WeakValueDictionary()
"""This process's stations by archive folder. A cell that is run again makes a new Station before the old
one can be garbage: the new one takes over, as the person means it."""
_opening = threading.Lock()


class ArchiveStore:
    """The archive as a listener sees it: what comes from the network becomes an Origin."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def receive(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax_uid: str,
        calling_ae: str,
        called_ae: str,
        address: str,
        receiving_address: str,
    ) -> Incoming:
        return self._archive.incoming(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            origin=Origin(
                calling_ae=calling_ae,
                called_ae=called_ae,
                address=address,
                receiving_address=receiving_address,
                received_at=time.time(),
            ),
        )


class Station:
    """A small PACS: `station = pacskit.Station()`, then `station` as the last line of a cell.

    `archive` is the folder studies are kept in (or a dict of archive settings); sections of settings are
    dicts, as in `Station(listener={"enabled": True, "port": 0})`. What is enabled starts at once; a
    service that cannot start does not stop the others: its `status.error` says why.
    """

    def __init__(
        self,
        archive: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        layers: Sequence[Layer] = (),
        **sections: Mapping[str, Any],
    ) -> None:
        """Raises SettingError for a wrong setting, ArchiveError (ArchiveOwned) for an unusable archive.

        What is wrong in a settings file or in the environment is a warning, and stands in `problems`.
        """
        code: dict[str, Mapping[str, Any]] = dict(sections)
        if archive is not None:
            code["archive"] = archive if isinstance(archive, Mapping) else {"folder": archive}
        for section, values in code.items():
            if not isinstance(values, Mapping):
                raise SettingError(section, f"is a dict of settings, not {values!r}")
        self._stack = SettingsStack(code, layers)
        self.events = EventBus()
        folder = self.settings.archive.folder or Path(default_folder()) / "archive"
        folder = Path(os.path.abspath(folder.expanduser()))
        with _opening:
            if (earlier := _open.get(folder)) is not None:
                earlier.close()
            self.archive = Archive.create_or_open(folder, self.events, self.settings.archive)
            _open[folder] = self
        store, events, ports = ArchiveStore(self.archive), self.events, PortMemory(folder / PORTS)
        self.listener = ListenerSlot(
            lambda settings: DicomListener(settings, store, events, ports), self.settings.listener
        )
        self.slots: Mapping[str, Slot[Any]] = {"listener": self.listener}
        self.troubles: dict[str, str] = {}
        """Section → why its service could not take over its newest settings."""
        self._changing = threading.RLock()
        self._closed = False
        self._faces: dict[str, Any] = {}
        self._on_failure = self.events.subscribe(ArchiveFailed, self._archive_failed)
        atexit.register(_close_quietly, weakref.ref(self))
        for problem in self.problems:
            warnings.warn(problem, RuntimeWarning, stacklevel=2)
        for name, slot in self.slots.items():
            self._block(name)
            if slot.settings.enabled:
                try:
                    slot.start()
                except PacskitError as error:
                    warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        self._watch = Watch(self._stack.changed_outside, self.reload)

    @property
    def settings(self) -> Settings:
        """What is set now: `station.settings.listener.port`, `station.settings.explain("listener.port")`."""
        return self._stack.settings

    @property
    def problems(self) -> list[str]:
        """What is wrong in settings files and the environment, a sentence each."""
        missing = [
            f"{SECTIONS[name].label}: {name}.enabled has no effect, this version has no such service yet"
            for name in SERVICES
            if name not in self.slots and self.settings.section(name).enabled
        ]
        return [*map(str, self.settings.problems), *missing]

    def apply(
        self, changes: Mapping[str, Mapping[str, Any]], *, save: bool = False, shared: bool = False
    ) -> None:
        """Change settings, as in `apply({"listener": {"port": 104}})`; all of it, or nothing.

        Services whose settings change take them over: associations that are open end by finishing, new ones
        see the new settings. `save` keeps the change in the user's file, `shared` in the one for all users
        (administrators only; `{"listener": {"shared": False}}` ends the sharing).

        Raises SettingError, NotAdministrator, ServiceError (PortTaken: the old service still runs), NotSaved.
        """
        with self._changing:
            before, plan = self.settings, self._stack.plan(changes, save=save, shared=shared)
            for name in changes:
                if name in self.slots and (problems := plan.settings.blocking(name)):
                    raise SettingError(name, str(problems[0]), "you")
            self._run_with(plan.settings, changes)
            try:
                self._stack.carry_out(plan)
            except PacskitError:
                self._run_with(before, changes)
                raise
            self._changed(before, frozenset(changes))

    def is_administrator(self) -> bool:
        """Whether this user may change what all users of this computer share: tried, not guessed."""
        return self._stack.is_administrator()

    def reload(self) -> None:
        """Read the settings files again; happens by itself within a second after one was changed."""
        with self._changing:
            if self._closed:
                return
            before, error = self.settings, ""
            try:
                after = self._stack.load()
                sections = {n for n in SECTIONS if after.section(n) != before.section(n)}
                self._run_with(after, {n for n in sections if not after.blocking(n)})
            except PacskitError as caught:
                error, sections = str(caught), set(self.slots)
            self._changed(before, frozenset(sections), error)

    def _run_with(self, settings: Settings, sections: Collection[str]) -> None:
        """Raises ServiceError; then every service runs as before."""
        apply([(slot, settings.section(name)) for name, slot in self.slots.items() if name in sections])

    def _changed(self, before: Settings, sections: frozenset[str], error: str = "") -> None:
        for name in self.slots:
            self._block(name)
            if error or name in sections:
                self.troubles.pop(name, None)
            if error and name in sections:
                self.troubles[name] = error
        if sections or before.problems != self.settings.problems:
            self.events.publish(SettingsChanged(sections=sections, error=error))

    def _block(self, name: str) -> None:
        """Nothing is started by settings that nobody meant; what runs goes on."""
        self.slots[name].obstacle = " ".join(map(str, self.settings.blocking(name)[:1]))

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

    def series(self, uid: str) -> Series:
        """One series: `.paths`, `.datasets()`, `.volume()`, `.volumes()`. Raises UnknownUID."""
        return self.archive.series(uid)

    def close(self) -> None:
        """Stop the services, their ports free on return, and let go of the archive. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._on_failure.close()
        try:
            self._watch.close()
            for face in self._faces.values():
                face.close()
            for slot in self.slots.values():
                slot.stop()
        finally:
            self.archive.close()

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
        return f"<pacskit.Station archive={folder!r}, DICOM Listener {title} {state}{where}>"

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

    def _archive_failed(self, event: ArchiveFailed) -> None:
        # From the index's own thread: stopping waits for associations that may wait for the index.
        for slot in self.slots.values():
            threading.Thread(target=slot.stop, name="pacskit-stop", daemon=True).start()


def _close_quietly(reference: weakref.ref[Station]) -> None:
    if (station := reference()) is not None:
        station.close()


def open_archive(folder: str | os.PathLike[str]) -> Archive:
    """Read an archive without services and without a lock, also while another process writes it.

    Raises ArchiveError where there is none.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ArchiveError(f"{path} is not a folder with an archive")
    return Archive.read(path)
