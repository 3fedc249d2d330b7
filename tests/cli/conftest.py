"""Fixtures of the command line's tests."""

from forked_cli import forker, pacskit, settings

__all__ = ["forker", "pacskit", "settings"]
