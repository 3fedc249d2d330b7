"""What can be set, and where it stands.

fields.py    the rules of single values          models.py    the sections, as frozen models
layers.py    environment, command line, code     settings.py  one snapshot merged from layers
document.py  a file's text, without I/O          files.py     reading and atomic writing
stack.py     the layers of a running station, and how they change          places.py  where the files are
values.py, passwords.py, migration.py, reference.py           single values; hashes; old files; the page
"""

from pacskit.settings.fields import check_ae_title
from pacskit.settings.layers import Layer, Problem, Source, environment_layer, hub_layer, pairs_layer
from pacskit.settings.models import (
    SECTIONS,
    SERVICES,
    ArchiveSettings,
    DicomSection,
    ListenerSettings,
    Section,
    StationSettings,
    ViewerSettings,
)
from pacskit.settings.settings import Explanation, Settings

__all__ = [
    "SECTIONS",
    "SERVICES",
    "ArchiveSettings",
    "DicomSection",
    "Explanation",
    "Layer",
    "ListenerSettings",
    "Problem",
    "Section",
    "Settings",
    "Source",
    "StationSettings",
    "ViewerSettings",
    "check_ae_title",
    "environment_layer",
    "hub_layer",
    "pairs_layer",
]
