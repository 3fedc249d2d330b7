"""What only some systems have, in one place with fallbacks that a test forces (tests/unit/test_system.py).

files.py: disks, locks, permissions. sockets.py: the network. local.py: sockets of this computer's user.
memory.py: what the C library keeps.
Tested on Linux; macOS and Windows by design.
"""

from __future__ import annotations

from pacskit.system.files import (
    BINARY,
    CLOSE_TO_RENAME,
    TEMPORARY,
    Buffer,
    group_number,
    lower_thread_priority,
    make_private,
    name_of_group,
    name_of_user,
    read_at,
    remove_leftovers,
    rename_new,
    replace_file,
    sync_data,
    sync_folder,
    try_lock,
    unlock,
    write_all,
    write_at,
)
from pacskit.system.memory import one_heap

__all__ = [
    "BINARY",
    "CLOSE_TO_RENAME",
    "TEMPORARY",
    "Buffer",
    "group_number",
    "lower_thread_priority",
    "make_private",
    "name_of_group",
    "name_of_user",
    "one_heap",
    "read_at",
    "remove_leftovers",
    "rename_new",
    "replace_file",
    "sync_data",
    "sync_folder",
    "try_lock",
    "unlock",
    "write_all",
    "write_at",
]
