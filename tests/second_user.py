"""A real second user: processes that cannot write what root wrote. For tests that run as root.

    user = second_user.needed()  # or skips; under CI=true, as root, it fails
    run = user.run([sys.executable, "-c", "import pacskit; ..."], {"PACSKIT_SITE": str(site)})

Where this Python stands under a folder only root may enter (/root has mode 0700), the user gets the one
capability CAP_DAC_READ_SEARCH: it then *reads* every file, root's of mode 0600 too, and enters every folder, but
still writes only what is its own. A test that something cannot be read asks `reads_everything` first.

Its folders lie beside pytest's, which have mode 0700: `folder()` is its own, `shared()` is root's for both.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
READ = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
ON_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

# setpriv itself may still enter /root when it starts Python, Python no longer: it then runs, with the library
# of another Python that it finds. So the check asks which library it has, and whether it can start itself again.
CHECK = """
import json, os, subprocess, sys, pacskit
open(os.path.join(os.environ["HOME"], "check"), "w").close()
open(os.path.join(os.environ["SHARED"], "check")).close()
subprocess.run([sys.executable, "-c", ""], check=True)
print(json.dumps([os.geteuid(), os.__file__, pacskit.__file__]))
"""

# A kernel's connection file is root's, in root's folder: the user gets a copy.
HAND_OVER = 'copy="$1/${0##*/}"; install -m 600 -o "$2" -g "$3" "$0" "$copy"; shift 3; exec "$@" -f "$copy"'


@dataclass(frozen=True)
class SecondUser:
    """Another user than the one who runs the tests."""

    uid: int
    gid: int
    prefix: list[str]
    """Comes before a command's own arguments."""
    base: Path
    reads_everything: bool
    """Whether it has CAP_DAC_READ_SEARCH."""

    @property
    def home(self) -> Path:
        return self.base / "home"

    def folder(self) -> Path:
        """A new, empty folder of its own."""
        folder = Path(tempfile.mkdtemp(dir=self.base, prefix="own-"))
        os.chown(folder, self.uid, self.gid)
        return folder

    def shared(self) -> Path:
        """A new, empty folder of root's, which both may enter and only root may write."""
        folder = Path(tempfile.mkdtemp(dir=self.base, prefix="shared-"))
        folder.chmod(0o755)
        return folder

    def places(self, home: Path | None = None) -> dict[str, str]:
        """The environment's names that have to differ: all that points to a home. PACSKIT_SITE does not."""
        home = home or self.home
        folders = {
            "HOME": home,
            "TMPDIR": home / "tmp",
            "PACSKIT_HOME": home / "pacskit",
            "XDG_CONFIG_HOME": home / "config",
            "XDG_DATA_HOME": home / "data",
            "XDG_STATE_HOME": home / "state",
            "XDG_CACHE_HOME": home / "cache",
            "XDG_RUNTIME_DIR": home / "run",
            "IPYTHONDIR": home / "ipython",
            "JUPYTER_CONFIG_DIR": home / "jupyter" / "config",
            "JUPYTER_DATA_DIR": home / "jupyter" / "data",
            "JUPYTER_RUNTIME_DIR": home / "jupyter" / "runtime",
            "MPLCONFIGDIR": home / "matplotlib",
        }
        for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
            folders[name].mkdir(mode=0o700, exist_ok=True)
            os.chown(folders[name], self.uid, self.gid)
        return {"USER": "nobody", "LOGNAME": "nobody"} | {name: str(path) for name, path in folders.items()}

    def run(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in its home; `env` comes on top. `more` goes to subprocess.run."""
        with_defaults = {"cwd": self.home, "text": True, "capture_output": True, "timeout": 60} | more
        environment = os.environ | self.places() | dict(env or {})
        return subprocess.run(
            [*self.prefix, *map(str, argv)], env=environment, stdin=subprocess.DEVNULL, **with_defaults
        )

    def kernel_argv(self) -> list[str]:
        """The argv of a kernelspec: a kernel that runs as this user under a Jupyter server of root's."""
        hand_over = ["sh", "-c", HAND_OVER, "{connection_file}", str(self.home), str(self.uid), str(self.gid)]
        return [*hand_over, *self.prefix, sys.executable, "-m", "ipykernel_launcher"]


def second_user() -> SecondUser | None:
    """The second user, or None: then `why_missing` says why."""
    return _found()[0]


def why_missing() -> str:
    """Why there is no second user; an empty string where there is one."""
    return _found()[1]


def needed() -> SecondUser:
    """The second user, or the test is skipped; where CI=true and the tests run as root it fails."""
    user, reason = _found()
    if user is None:
        (pytest.fail if ON_CI and _is_root() else pytest.skip)(reason)
    return user


@cache
def _found() -> tuple[SecondUser | None, str]:
    if not _is_root():
        return None, "no second user: the tests do not run as root"
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return None, "no second user: setpriv is missing (package util-linux)"
    base = Path(tempfile.mkdtemp(prefix="pacskit-second-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    base.chmod(0o755)
    plain = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    problem = ""
    for prefix in (plain, [*plain, *READ]):
        user = SecondUser(NOBODY, NOBODY, prefix, base, reads_everything=prefix is not plain)
        user.home.mkdir(mode=0o700, exist_ok=True)
        os.chown(user.home, user.uid, user.gid)
        problem = _problem(user)
        if not problem:
            return user, ""
    return None, f"no second user: {problem}"


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _problem(user: SecondUser) -> str:
    """An empty string where this user can run pacskit in this Python, else what is wrong."""
    (shared := user.shared()).joinpath("check").touch()
    expected = [user.uid, os.__file__, str(Path(__file__).parents[1] / "pacskit" / "__init__.py")]
    try:
        run = user.run([sys.executable, "-c", CHECK], {"SHARED": str(shared)})
        got = (
            json.loads(run.stdout)
            if run.returncode == 0
            else (run.stderr.strip().splitlines() or ["it ended"])[-1]
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        got = str(error)
    return "" if got == expected else str(got)
