"""Fixtures of the tests with TLS."""

from tests.dimse.secured import lab, secured

__all__ = ["lab", "secured"]
