"""What every group of settings is: a frozen model that knows its name and label."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
    section: ClassVar[str]
    label: ClassVar[str]
    """The seed's name, where it has one."""
    service: ClassVar[bool] = False
    """Whether a service with a port runs by these settings."""
