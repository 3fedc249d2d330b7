"""Who may read an archive beside its owner: nobody, or the group of `archive.group`.

Its folders say which: mode 0700 with files 0600, or 2750 with files 0640. What is made in one takes over its
mode, whatever the umask, and its group by the setgid bit. sharing.py brings folders from one to the other.
Private all the same: the lock (who can open it can hold it), the control channel, the log, backups.
"""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path
from typing import NamedTuple

from pacskit import system
from pacskit.errors import ArchiveError

FOLDER_MODE, FILE_MODE = 0o700, 0o600


class Modes(NamedTuple):
    folder: int
    file: int


ALONE = Modes(FOLDER_MODE, FILE_MODE)
GROUP = Modes(0o2750, 0o640)


def modes_of(folder: Path | str) -> Modes:
    """What a folder of an archive says. Raises OSError."""
    return GROUP if stat.S_IMODE(os.stat(folder).st_mode) == GROUP.folder else ALONE


def file_mode(path: Path) -> int:
    """Of a file of an archive, by the folder it is to stand in. Raises OSError."""
    return modes_of(path.parent).file


def make_folder(folder: Path, like: Path) -> None:
    """A folder with the mode of the one `like` (its parent may not be brought over yet). Raises OSError."""
    folder.mkdir(exist_ok=True, mode=FOLDER_MODE)
    if (modes := modes_of(like)) is GROUP:
        folder.chmod(modes.folder)


def open_file(path: Path | str, flags: int) -> int:
    """The descriptor of a file of an archive, which is made where `flags` say so. Raises OSError."""
    modes = modes_of(os.path.dirname(path))
    descriptor = os.open(path, flags | system.BINARY, modes.file)
    if modes is GROUP:
        make_readable(descriptor)
    return descriptor


def create_file(path: str, mode: int, umask_hides: bool) -> int:
    """A new file, to write and read. Raises OSError.

    `umask_hides`: what the umask takes away from the mode has to be given afterwards.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | system.BINARY, mode)
    if umask_hides:
        make_readable(descriptor)
    return descriptor


def make_readable(descriptor: int) -> None:
    """For the group, whatever the umask was when the file was made. Raises OSError, the file closed."""
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != GROUP.file:
            os.fchmod(descriptor, GROUP.file)
    except BaseException:
        os.close(descriptor)
        raise


def is_there(folder: Path, path: Path) -> bool:
    """Whether the archive in `folder` has this. Raises ArchiveError where this user may not know."""
    try:
        path.stat()
    except PermissionError as error:
        raise ArchiveError(not_open(folder, path)) from error
    except OSError:
        return False
    return True


def not_open(folder: Path, path: Path) -> str:
    """What a person reads who may not read `path` of the archive in `folder`."""
    start = f"the archive {folder} is not open to this user ({_user()})"
    for above in (*reversed(folder.parents), *reversed(path.parents)):
        if folder not in (above, *above.parents) and not os.access(above, os.X_OK):
            return f"{start}: {above}, on the way to {path}, is closed. Its owner can open that folder"
    try:
        status = folder.stat()
    except OSError:
        return start
    if stat.S_IMODE(status.st_mode) != GROUP.folder:
        return f"{start}: it is its owner's alone. Its owner can give it to a group with archive.group"
    if not os.access(folder, os.X_OK):
        group = system.name_of_group(status.st_gid)
        return f"{start}: it is for the group {group}. Ask an administrator to be taken into it"
    return f"{start}: {path} cannot be read. Its owner's station may still be giving it to the group"


def _user() -> str:
    return system.name_of_user(os.geteuid()) if hasattr(os, "geteuid") else getpass.getuser()
