"""What can be set: frozen models (models.py) and the layers their values come from (layers.py)."""

from pacskit.settings.layers import Explanation, Layer, Settings, environment_layer, pairs_layer
from pacskit.settings.models import (
    ArchiveSettings,
    ListenerSettings,
    Section,
    StationSettings,
    ViewerSettings,
    check_ae_title,
)

__all__ = [
    "ArchiveSettings",
    "Explanation",
    "Layer",
    "ListenerSettings",
    "Section",
    "Settings",
    "StationSettings",
    "ViewerSettings",
    "check_ae_title",
    "environment_layer",
    "pairs_layer",
]
