"""Station: settings, archive and services in one object; the only place that knows them all."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import threading
import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pacskit.archive import Archive, Incoming, Origin
from pacskit.archive.query import Level
from pacskit.dimse.listener import DicomListener
from pacskit.errors import ArchiveError, PacskitError, SettingError
from pacskit.events import ArchiveFailed, EventBus
from pacskit.imaging.series import Series
from pacskit.settings import Layer, Settings, environment_layer
from pacskit.settings.layers import default_folder

FACES = "pacskit.faces"

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
        """Raises SettingError for a wrong setting, ArchiveError (ArchiveOwned) for an unusable archive."""
        code: dict[str, Mapping[str, Any]] = dict(sections)
        if archive is not None:
            code["archive"] = archive if isinstance(archive, Mapping) else {"folder": archive}
        for section, values in code.items():
            if not isinstance(values, Mapping):
                raise SettingError(section, f"is a dict of settings, not {values!r}")
        self.settings = Settings.resolve([environment_layer(), *layers, Layer("code", code)])
        self.events = EventBus()
        folder = self.settings.archive.folder or Path(default_folder()) / "archive"
        folder = Path(os.path.abspath(folder.expanduser()))
        with _opening:
            if (earlier := _open.get(folder)) is not None:
                earlier.close()
            self.archive = Archive.create_or_open(folder, self.events, self.settings.archive)
            _open[folder] = self
        self.listener = DicomListener(self.settings.listener, ArchiveStore(self.archive), self.events)
        self._closed = False
        self._face: Any = None
        self._on_failure = self.events.subscribe(ArchiveFailed, self._archive_failed)
        atexit.register(_close_quietly, weakref.ref(self))
        if self.settings.listener.enabled:
            try:
                self.listener.start()
            except PacskitError as error:
                warnings.warn(f"DICOM Listener cannot start: {error}", RuntimeWarning, stacklevel=2)

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
            if self._face is not None:
                self._face.close()
            self.listener.stop()
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
        title = self.settings.listener.ae_title
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
        if self._face is None:
            try:
                (entry, *_) = importlib.metadata.entry_points(group=FACES)
                face = entry.load()
            except (ImportError, ValueError) as error:
                raise PacskitError(
                    f"No dashboard: {error}. Install it with pip install 'pacskit[lab]'"
                ) from None
            self._face = face(self)
        return self._face

    def _archive_failed(self, event: ArchiveFailed) -> None:
        # From the index's own thread: stopping waits for associations that may wait for the index.
        threading.Thread(target=self.listener.stop, name="pacskit-stop", daemon=True).start()


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
