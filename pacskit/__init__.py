"""pacskit: a small, fast, trustworthy PACS inside a Jupyter notebook.

    import pacskit
    station = pacskit.Station()
    station

Importing starts no thread and opens no file.
"""

from __future__ import annotations

from importlib.metadata import version

from pacskit import simulator
from pacskit.station import Station
from pacskit.station import open_archive as open

__version__ = version("pacskit")
__all__ = ["Station", "open", "simulator"]
