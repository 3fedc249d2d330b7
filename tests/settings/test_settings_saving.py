"""Saving: the old file or the new one, nobody's change lost, and a sentence where it cannot be done."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacskit.errors import NotSaved, PacskitError
from pacskit.settings import files
from pacskit.settings.document import LONGEST
from pacskit.settings.files import SettingsFile
from pacskit.settings.layers import USER
from tests.settings.conftest import Home

FORKER = """
import os, select, signal, sys
from pathlib import Path
from pacskit.settings.files import SettingsFile
file = SettingsFile(Path(sys.argv[1]), "user file")
for line in sys.stdin:
    number, delay = line.split()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        number = int(number)
        while True:
            os.write(writing, b"%d\\n" % number)
            file.change({"web": {"session_timeout": number}})
            number += 1
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        begun = int(pipe.readline())
        waiting = select.poll()
        waiting.poll(float(delay) * 1000)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        begun = max([begun, *map(int, pipe.read().split())])
    print(begun, flush=True)
"""
FRIENDS = """
import json, os, sys
from pacskit.settings.stack import SettingsStack

def save(section, name, start, count):
    stack = SettingsStack()
    for number in range(start, start + count):
        saved = stack.carry_out(stack.plan({section: {name: number}}, save=True))
        assert getattr(saved.section(section), name) == number, (number, saved)
        assert all(problem.key == "future" for problem in saved.problems), saved.problems
        if number % 10 == 5:
            default = type(saved.section(section)).model_fields[name].default
            saved = stack.carry_out(stack.plan({section: {name: default}}, save=True))
            assert getattr(saved.section(section), name) == default

children = []
for work in json.loads(sys.argv[1]):
    children.append(os.fork())
    if not children[-1]:
        save(*work)
        os._exit(0)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""
AROUND = "".join(
    f"# remark {number}, which a person wrote\nnumber_{number} = {number}\n" for number in range(40)
)


FEW = "".join(AROUND.splitlines(keepends=True)[:8])


def kill_while_saving(home: Home, rounds: int, seed: int) -> None:
    text = f"schema = 1\n[future]\n{AROUND}[web]\nsession_timeout = %d # seconds\n"
    home.write(text % 100)
    home.user.chmod(0o600)
    chance, last, leftovers = random.Random(seed), 100, 0
    began = time.perf_counter()
    SettingsFile(home.user, USER).change({"web": {"session_timeout": 100}})
    longest = 5 * (time.perf_counter() - began)
    command = [sys.executable, "-c", FORKER, str(home.user)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        for _ in range(rounds):
            forker.stdin.write(f"{last + 1} {chance.uniform(0, longest)}\n")
            forker.stdin.flush()
            begun = int(forker.stdout.readline())
            found = home.text()
            assert found in (text % (begun - 1), text % begun)
            assert stat.S_IMODE(home.user.stat().st_mode) == 0o600
            for left in home.user.parent.glob("*.tmp"):
                assert stat.S_IMODE(left.stat().st_mode) == 0o600
            leftovers += len(list(home.user.parent.glob(".*.tmp")))
            last = begun if found == text % begun else begun - 1
        forker.stdin.close()
    home.save({"web": {"session_timeout": 86400}})  # no lock stayed
    assert home.text() == text % 86400
    assert sorted(path.name for path in home.user.parent.iterdir()) == [
        ".settings.toml.lock",
        "settings.toml",
    ]
    assert last > 100
    assert leftovers or rounds < 100  # some were hit in the middle


def test_killed_while_saving(home: Home, soak_seed: int) -> None:
    kill_while_saving(home, 40, soak_seed)


@pytest.mark.soak
def test_killed_while_saving_200_times(home: Home, soak_seed: int) -> None:
    kill_while_saving(home, 200, soak_seed)


PLACES = [
    ("web", "session_timeout"),
    ("listener", "max_associations"),
    ("listener", "max_pdu"),
    ("secure_listener", "max_pdu"),
]


def save_at_once(home: Home, processes: int, saves: int) -> None:
    """Each process has a field of its own, in sections of its own and common ones."""
    home.write(f"# mine\nschema = 1\n[future]\n{FEW}[listener] # ours\nae_title = 'KEPT' # yes\n")
    work = [(*place, start, saves) for place, start in zip(PLACES, (1000, 2000, 5000, 7000), strict=True)]
    command = [sys.executable, "-c", FRIENDS, json.dumps(work[:processes])]
    with subprocess.Popen(command) as running:
        while running.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.05)
            content = SettingsFile(home.user, USER).read()  # whoever reads meanwhile sees a whole file
            assert content.problems == ()
            assert content.stored["future"]["number_3"] == 3
            assert content.stored["listener"]["ae_title"] == "KEPT"
    assert running.returncode == 0
    saved = home.stack().settings
    for section, name, start, _ in work[:processes]:
        assert getattr(saved.section(section), name) == start + saves - 1
    text = home.text()
    for remark in ("# mine", "[listener] # ours", "'KEPT' # yes", FEW):
        assert remark in text


def test_two_processes_lose_nothing_of_each_other(home: Home) -> None:
    save_at_once(home, 2, 60)


def test_four_processes_lose_nothing_of_each_other(home: Home) -> None:
    save_at_once(home, 4, 30)


@pytest.mark.soak
def test_four_processes_lose_nothing_of_each_other_long(home: Home) -> None:
    save_at_once(home, 4, 900)


def test_threads_and_stacks_of_one_process(home: Home) -> None:
    errors: list[BaseException] = []

    def save(section: str, name: str, start: int) -> None:
        try:
            stack = home.stack()
            for number in range(start, start + 20):
                stack.carry_out(stack.plan({section: {name: number}}, save=True))
        except (PacskitError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(*place, 5000)) for place in PLACES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    saved = home.stack().settings
    assert [getattr(saved.section(section), name) for section, name in PLACES] == [5019] * 4


def test_what_another_wrote_since_counts(home: Home) -> None:
    """The value asked for is the one that stays, also where this process remembers it as being there."""
    home.write("[listener]\nport = 104\n")
    here, other = home.stack(), home.stack()
    assert not here.changed_outside()
    other.carry_out(other.plan({"listener": {"port": 105, "ae_title": "OTHER"}}, save=True))
    assert here.changed_outside()
    saved = here.carry_out(here.plan({"listener": {"port": 104}}, save=True))
    assert (saved.listener.port, saved.listener.ae_title) == (104, "OTHER")
    other.load()
    here.carry_out(here.plan({"listener": {"ae_title": "PACSKIT"}}, save=True))
    saved = other.carry_out(other.plan({"listener": {"port": 11112}}, save=True))
    assert (saved.listener.port, saved.listener.ae_title) == (11112, "PACSKIT")
    assert "port" not in home.text()
    assert "ae_title" not in home.text()


def test_only_what_differs_from_the_default_is_written(home: Home) -> None:
    home.save({"listener": {"port": 11112, "ae_title": "PACSKIT", "enabled": True}})
    assert home.text() == "schema = 1\n\n[listener]\nenabled = true\n"
    home.write("[listener]\nport = 11112 # the usual one\nae_title = 'CT' # its name\n")
    home.save({"listener": {"port": 11112, "ae_title": "PACSKIT"}})
    assert home.text() == "schema = 1\n\n[listener]\nport = 11112 # the usual one\n# its name\n"


def test_nothing_asked_nothing_written(home: Home) -> None:
    home.save({"listener": {"port": 11112}})
    home.save({})
    assert not home.user.exists()
    home.write("[web]\n")
    before = home.user.stat()
    home.save({"listener": {"port": 11112}})
    assert home.user.stat() == before


@pytest.mark.parametrize("umask", [0, 0o077, 0o022])
def test_modes(home: Home, umask: int, free_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's file may hold secrets; the site's is for all to read, whatever the umask."""
    monkeypatch.setenv("PACSKIT_HOME", str(free_home / "a" / "b"))
    monkeypatch.setenv("PACSKIT_SITE", str(free_home / "c" / "d" / "site.toml"))
    before = os.umask(umask)
    try:
        stack = home.stack()
        stack.carry_out(stack.plan({"web": {"user": "x"}}, save=True))
        stack.carry_out(stack.plan({"listener": {"port": 104}}, save=True, shared=True))
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(free_home)): stat.S_IMODE(path.stat().st_mode)
        for path in (*free_home.glob("[ac]"), *free_home.rglob("[ac]/**/*"))
        if path.name[0] != "."
    }
    assert modes == {
        "a": 0o700,
        "a/b": 0o700,
        "a/b/settings.toml": 0o600,
        "c": 0o755,
        "c/d": 0o755,
        "c/d/site.toml": 0o644,
    }
    assert all(not path.stat().st_mode & 0o077 for path in free_home.rglob("*.lock"))


def test_a_file_others_could_read_is_private_after_a_save(home: Home) -> None:
    home.write("[web]\nuser = 'x'\n")
    home.user.chmod(0o644)
    home.save({"web": {"password": "geheim"}})
    assert stat.S_IMODE(home.user.stat().st_mode) == 0o600


def test_a_sites_mode_stays(home: Home) -> None:
    home.share("[listener]\nshared = true\n")
    home.site.chmod(0o640)
    home.save({"listener": {"port": 104}})
    assert stat.S_IMODE(home.site.stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(home: Home, free_home: Path, there: bool) -> None:
    target = free_home / "dotfiles" / "pacskit.toml"
    target.parent.mkdir()
    if there:
        target.write_text("# mine\n[listener]\nport = 104\n")
    home.user.parent.mkdir()
    home.user.symlink_to(os.path.relpath(target, home.user.parent))
    (target.parent / ".pacskit.toml.abc.tmp").write_text("what a killed process left")
    home.save({"listener": {"ae_title": "CT"}})
    assert home.user.is_symlink()
    assert 'ae_title = "CT"' in target.read_text()
    assert target.read_text().startswith("schema = 1\n\n# mine\n" if there else "schema = 1\n\n[listener]\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in target.parent.iterdir()) == [".pacskit.toml.lock", "pacskit.toml"]
    assert sorted(path.name for path in home.user.parent.iterdir()) == ["settings.toml"]


def test_what_a_killed_process_left_goes(home: Home) -> None:
    home.write("[listener]\n")
    for name in (".settings.toml.a_b1.tmp", ".settings.toml.x.tmp"):
        (home.user.parent / name).write_text("half")
    others = [home.user.parent / name for name in ("settings.toml.tmp", ".other.toml.x.tmp", "mine.tmp")]
    for other in others:
        other.write_text("somebody's")
    home.save({"listener": {"port": 104}})
    left = {path.name for path in home.user.parent.iterdir()}
    assert left == {"settings.toml", ".settings.toml.lock", *(other.name for other in others)}


def test_a_lock_that_is_held_for_ever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("[listener]\nport = 104\n")
    home.save({"listener": {"port": 105}})
    before = home.text()
    monkeypatch.setattr(files, "LOCK_PATIENCE", 0.05)
    with open(home.user.parent / ".settings.toml.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NotSaved) as caught:
            home.save({"listener": {"port": 106}})
        assert (
            str(caught.value) == f"{home.user} is not saved: another process has been saving it for too long"
        )
        assert home.stack().settings.listener.port == 105  # reading waits for nobody
        assert home.text() == before
    home.save({"listener": {"port": 106}})


@pytest.fixture
def small_disk(free_home: Path) -> Iterator[Path]:
    folder = free_home / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20", "none", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSKIT_HOME", str(small_disk))
    file, filler = small_disk / "settings.toml", small_disk / "filler"
    file.write_text("[web]\nuser = 'kept'\n")
    stack = home.stack()
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as stream:
        while stream.write(bytes(4096)):
            pass
    with pytest.raises(NotSaved, match=r"settings\.toml is not saved: No space left on device"):
        stack.carry_out(stack.plan({"web": {"user": "new"}}, save=True))
    assert file.read_text() == "[web]\nuser = 'kept'\n"
    assert not list(small_disk.glob(".*.tmp"))
    filler.unlink()
    assert stack.carry_out(stack.plan({"web": {"user": "new"}}, save=True)).web.user == "new"


def test_a_disk_that_fills_in_the_middle_of_a_write(home: Home) -> None:
    home.write(f"[future]\n{AROUND}")
    before = home.text()
    code = (
        "import resource, signal, sys; from pacskit.settings.stack import SettingsStack; stack = SettingsStack();"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "stack.carry_out(stack.plan({'web': {'user': 'x'}}, save=True))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"NotSaved: {home.user} is not saved: File too large" in run.stderr
    assert home.text() == before
    assert not list(home.user.parent.glob(".*.tmp"))


def test_the_folder_is_removed_in_between(home: Home) -> None:
    home.write("[web]\nuser = 'x'\n")
    stack = home.stack()
    plan = stack.plan({"listener": {"port": 104}}, save=True)
    shutil.rmtree(home.user.parent)
    assert stack.carry_out(plan).listener.port == 104
    assert home.text() == "schema = 1\n\n[listener]\nport = 104\n"


def test_the_folder_is_a_file(home: Home) -> None:
    home.user.parent.write_text("not a folder")
    [problem] = home.problems()
    assert problem == f"user file {home.user}: what should be its folder is a file; move that away"
    with pytest.raises(NotSaved, match="is not saved: what should be its folder is a file; move that away"):
        home.save({"listener": {"port": 104}})
    assert home.user.parent.read_text() == "not a folder"


def test_more_than_is_read_is_not_written(home: Home) -> None:
    home.write("[web]\nuser = 'x'\n")
    before = home.text()
    with pytest.raises(NotSaved, match=f"it would have .* bytes, more than the {LONGEST} that are read"):
        home.save({"his": {"allow": ["x" * LONGEST]}})
    assert home.text() == before


def test_a_read_only_file_is_refused_for_root_too(home: Home) -> None:
    home.write("[web]\nuser = 'x'\n")
    home.user.chmod(0o444)
    with pytest.raises(NotSaved) as caught:
        home.save({"listener": {"port": 104}})
    sentence = "it is read-only; allow writing, if it is meant to change"
    assert str(caught.value) == f"{home.user} is not saved: {sentence}"
    assert (home.text(), stat.S_IMODE(home.user.stat().st_mode)) == ("[web]\nuser = 'x'\n", 0o444)


@pytest.mark.parametrize("given", ["relative/folder", "~/in my home", "~nobody-has-this-name/x"])
def test_where_the_files_are(
    given: str, free_home: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(free_home)
    monkeypatch.setenv("PACSKIT_HOME", given)
    monkeypatch.setenv("PACSKIT_SITE", f"{given}/for all.toml")
    folder = free_home / given.removeprefix("~/")
    stack = home.stack()
    assert (stack.user.path, stack.site.path) == (folder / "settings.toml", folder / "for all.toml")
    monkeypatch.chdir("/")  # whoever moves afterwards takes nothing along
    stack.carry_out(stack.plan({"web": {"user": "x"}}, save=True))
    stack.carry_out(stack.plan({"listener": {"port": 104}}, save=True, shared=True))
    assert (folder / "settings.toml").is_file()
    assert (folder / "for all.toml").is_file()


def test_places_without_the_environments_names(
    home: Home, free_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PACSKIT_HOME")
    monkeypatch.setenv("PACSKIT_SITE", "")
    stack = home.stack()
    assert stack.user.path == free_home / "config" / "pacskit" / "settings.toml"
    assert stack.site.path.is_absolute()
    assert not stack.site.path.is_relative_to(free_home)


def test_two_homes_in_one_process(home: Home, free_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.stack()
    monkeypatch.setenv("PACSKIT_HOME", str(free_home / "another"))
    second = home.stack()
    first.carry_out(first.plan({"listener": {"port": 104}}, save=True))
    assert second.load().listener.port == 11112
    assert not second.changed_outside()
    second.carry_out(second.plan({"listener": {"port": 105}}, save=True))
    assert first.load().listener.port == 104


def test_an_empty_file_for_an_editor(home: Home) -> None:
    stack = home.stack()
    stack.user.create()
    assert home.text() == "schema = 1\n"
    assert stat.S_IMODE(home.user.stat().st_mode) == 0o600
    home.write("mine")
    stack.user.create()
    assert home.text() == "mine"
