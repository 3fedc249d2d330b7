"""A scanner for rooms without one: phantom studies, sent over the network as a real SCU would."""

from pacskit.simulator.scanner import Scanner

__all__ = ["Scanner"]
