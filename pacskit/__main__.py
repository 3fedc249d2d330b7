"""`python -m pacskit` is `pacskit`."""

from pacskit.cli import main

main()
