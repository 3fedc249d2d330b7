"""The second user reads, but writes only its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pacskit
from tests import second_user
from tests.second_user import SecondUser


@pytest.fixture
def user() -> SecondUser:
    return second_user.needed()


def test_either_a_user_or_a_reason() -> None:
    assert (second_user.second_user() is None) == bool(second_user.why_missing())


def test_it_is_another_user_in_the_same_python(user: SecondUser) -> None:
    code = (
        "import os, pacskit; print(os.geteuid(), os.getegid(), os.getgroups(), os.__file__, pacskit.__file__)"
    )
    run = user.run([sys.executable, "-c", code], check=True)
    assert run.stdout.split() == [str(user.uid), str(user.gid), "[]", os.__file__, pacskit.__file__]
    assert user.uid != os.geteuid()


@pytest.mark.parametrize(
    "attempt",
    [
        "open(path, 'a')",
        "os.remove(path)",
        "os.replace(path, path + '~')",
        "os.chmod(path, 0o666)",
        "os.chown(path, os.geteuid(), -1)",
        "open(os.path.join(os.path.dirname(path), 'new'), 'w')",
        "os.mkdir(os.path.join(os.path.dirname(path), 'new'))",
    ],
)
def test_it_reads_and_cannot_write_what_is_roots(user: SecondUser, attempt: str) -> None:
    site = user.shared() / "site.toml"
    site.write_text("title = 'ours'")
    code = f"""
import os, sys
path = sys.argv[1]
print(open(path).read())
try:
    {attempt}
except PermissionError:
    print("refused")
"""
    run = user.run([sys.executable, "-c", code, site], check=True)
    assert run.stdout.split("\n") == ["title = 'ours'", "refused", ""]
    assert [path.name for path in site.parent.iterdir()] == ["site.toml"]
    assert site.read_text() == "title = 'ours'"


def test_a_private_file_of_roots(user: SecondUser, tmp_path: Path) -> None:
    """Mode 0600 in a folder of mode 0700: readable with the capability alone, and said so."""
    secret = tmp_path / "secret"
    secret.write_text("word")
    secret.chmod(0o600)
    tmp_path.chmod(0o700)
    run = user.run([sys.executable, "-c", f"print(open({str(secret)!r}).read())"])
    assert (run.stdout == "word\n") is user.reads_everything
    assert user.run([sys.executable, "-c", f"open({str(secret)!r}, 'a')"]).returncode != 0


def test_it_has_homes_it_can_write(user: SecondUser) -> None:
    folder = user.folder()
    code = """
import os, pathlib, tempfile
for name in ("HOME", "PACSKIT_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_CACHE_HOME"):
    path = pathlib.Path(os.environ[name]); path.mkdir(parents=True, exist_ok=True)
    (path / "try").write_text(name); print(path.joinpath("try").stat().st_uid)
print(os.stat(tempfile.mkdtemp()).st_uid)
"""
    run = user.run([sys.executable, "-c", code], user.places(folder), check=True)
    assert set(run.stdout.split()) == {str(user.uid)}
    assert (folder / "pacskit" / "try").read_text() == "PACSKIT_HOME"


def test_what_belongs_to_the_tests_stays_out(user: SecondUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSKIT_SITE", "/some/site.toml")
    code = "import os; print(os.environ['PACSKIT_SITE'], os.environ['HOME'], os.environ.get('EXTRA'))"
    run = user.run([sys.executable, "-c", code], {"EXTRA": "more"}, check=True)
    assert run.stdout.split() == ["/some/site.toml", str(user.home), "more"]


def test_it_has_none_of_roots_other_powers(user: SecondUser) -> None:
    code = f"""
import os, signal, socket
def refused(attempt):
    try:
        attempt()
    except PermissionError:
        return True
first = int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read())
print(first < 2 or refused(lambda: socket.socket().bind(("127.0.0.1", first - 1))))
print(refused(lambda: os.kill({os.getpid()}, 0)))
print(refused(lambda: os.setuid(0)))
print(refused(lambda: os.chroot("/")))
"""
    run = user.run([sys.executable, "-c", code], check=True)
    assert run.stdout.split() == ["True"] * 4


def test_its_processes_can_be_ended(user: SecondUser) -> None:
    """The prefix is gone once the command runs: the process is the command, with its number."""
    command = [
        *user.prefix,
        sys.executable,
        "-c",
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | user.places()
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.terminate()
    assert process.returncode == -signal.SIGTERM
