"""The command line: `pacskit`, a file a command group. Exit codes: 0 done, 1 failed, 2 wrong use."""

from pacskit.cli.app import main

__all__ = ["main"]
