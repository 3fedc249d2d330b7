"""Memory that a long run must not gain."""

from __future__ import annotations

import gc

import psutil

GROWTH = 8 << 20
"""Bytes that the allocator may keep by chance."""


def resident() -> int:
    """Bytes of this process."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)
