"""The station: the only place that knows all parts.

station.py   Station, the face: the same whether the services run here or in another process
owner.py     settings, archive and services in this process      attached.py  those of another process
answers.py   what an owner answers on its control channel        background.py  attaching, starting one
hosting.py   the process of its own                              core.py      what owner and attached share
store.py     the archive as a listener sees it
"""

from pacskit.station.core import Background
from pacskit.station.station import Station, open_archive
from pacskit.station.store import ArchiveStore

__all__ = ["ArchiveStore", "Background", "Station", "open_archive"]
