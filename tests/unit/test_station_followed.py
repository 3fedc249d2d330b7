"""Settings that others change under a running station, what it starts with, and what is left."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import psutil
import pytest
from station_settings import HERE, RUNNING, Untouched, answers, until, unused_port, write

from pacskit import Station
from pacskit.errors import (
    NotSaved,
    PortTaken,
    ServiceError,
    SettingError,
)
from pacskit.events import (
    AssociationClosed,
    ServiceChanged,
    SettingsChanged,
)
from pacskit.services.base import State
from pacskit.settings import pairs_layer
from pacskit.settings.files import user_path
from pacskit.settings.watch import Watch

# Changes by others


def test_another_process_changes_a_setting(tmp_path: Path) -> None:
    """`pacskit settings set`, a person's editor, a file that another replaces in one step: within a second."""
    listener = {"enabled": True, "host": HERE, "port": 0}
    with (
        Station(archive=tmp_path, listener=listener) as station,
        station.events.queue(SettingsChanged) as told,
    ):

        def followed(title: str) -> float:
            """Seconds from the file's change until all was told."""
            until(told, lambda: station.listener.settings.ae_title == title)
            event = station.events.recent(SettingsChanged)[-1]
            assert (event.sections, event.error) == (frozenset({"listener"}), "")
            assert station.settings.listener.ae_title == title
            assert answers(station, title)
            return event.at - user_path().stat().st_mtime if user_path().exists() else 0.0

        command = [sys.executable, "-m", "pacskit", "settings", "set", "listener.ae_title", "COMMAND"]
        subprocess.run(command, check=True, timeout=60)
        delays = [followed("COMMAND")]
        write('[listener]\nae_title = "HAND"\n')
        delays.append(followed("HAND"))
        new = user_path().with_name("new")
        new.write_text('[listener]\nae_title = "MOVED"\n')
        new.replace(user_path())
        delays.append(followed("MOVED"))
        assert sorted(delays)[1] < 1.0, delays  # of three: this computer may have been busy
        user_path().unlink()  # a network home that went away must stop nothing
        until(told, lambda: "it is gone" in "".join(station.problems))
        assert answers(station, "MOVED")
        write('[listener]\nae_title = "BACK"\n')
        followed("BACK")
        assert not station.problems


@pytest.mark.parametrize("broken", ["[listener]\nae_title = \n", "ae_title = [[\n[listener\n", "\0"])
def test_a_file_that_breaks_stops_nothing(tmp_path: Path, broken: str) -> None:
    good = f'[listener]\nenabled = true\nhost = "{HERE}"\nport = {unused_port()}\nae_title = "OLD"\n'
    file = write(good)
    with Station(archive=tmp_path) as station, station.events.queue(SettingsChanged) as told:
        service = station.listener.current
        write(broken)
        until(told, lambda: str(file) in "".join(station.problems))
        assert station.listener.current is service
        assert answers(station, "OLD")
        assert station.troubles == {}
        with pytest.raises((SettingError, NotSaved), match=r"settings\.toml"):
            station.apply({"listener": {"ae_title": "NEW"}}, save=True)
        assert file.read_text() == broken
        assert answers(station, "OLD")
        write(good)
        until(told, lambda: not station.problems)
        assert station.listener.current is service, "as it ran all the time, nothing changed"
        write(good.replace("OLD", "NEW"))
        station.reload()
        assert answers(station, "NEW")
        write(good + "prot = 104\n")
        station.reload()
        assert station.listener.status.running
        station.listener.stop()
        with pytest.raises(ServiceError, match=r"line 6: listener\.prot: .*did you mean port"):
            station.listener.start()
        write(good)
        station.reload()
        assert answers(station, "OLD")
        write(good + "prot = 104\n")
        station.reload()
        station.listener.stop()
        write(good)
        station.reload()
        assert station.listener.status.state is State.STOPPED, "by a person, not by the file"


@pytest.mark.parametrize("again", ["reload", "other section", "own section", "file"])
def test_a_file_that_asks_for_a_taken_port(tmp_path: Path, again: str) -> None:
    listener = {"enabled": True, "host": HERE}
    before = unused_port()
    write(f'[listener]\nport = {before}\nae_title = "OLD"\n')
    with (
        Station(archive=tmp_path, listener=listener) as station,
        station.events.queue(SettingsChanged) as told,
    ):
        service = station.listener.current
        with socket.create_server((HERE, 0)) as other:
            port = other.getsockname()[1]
            write(f'[listener]\nport = {port}\nae_title = "NEW"\n')
            station.reload()
            assert f"port {port} is taken" in station.troubles["listener"]
            assert station.events.recent(SettingsChanged)[-1].error == station.troubles["listener"]
            assert station.listener.current is service
            assert station.listener.status.port == before
            assert answers(station, "OLD")
            with pytest.raises(PortTaken):
                station.apply({"listener": {"max_pdu": 65536}})
            station.apply({"viewer": {"mask_identifiers": True}})
            assert station.settings.viewer.mask_identifiers, "one section's trouble is not another's"
            assert f"port {port} is taken" in station.troubles["listener"]
            assert answers(station, "OLD")
        told.drain()
        if again == "reload":
            station.reload()
        elif again == "other section":
            station.apply({"viewer": {"mask_identifiers": False}})
        elif again == "own section":
            station.apply({"listener": {}})
        else:
            with user_path().open("a") as file:
                file.write("[viewer]\nmask_identifiers = false\n")
            until(told, lambda: not station.troubles)
        assert station.troubles == {}
        assert station.listener.status.port == port
        assert answers(station, "NEW")
        assert "listener" in station.events.recent(SettingsChanged)[-1].sections


def test_a_file_against_the_code_is_told_once(tmp_path: Path) -> None:
    port = unused_port()
    write(f"[viewer]\nmask_identifiers = true\n[his]\nport = {unused_port()}\n")
    with (
        Station(archive=tmp_path, listener={**RUNNING, "port": port}) as station,
        station.events.queue(SettingsChanged) as told,
    ):
        write(f"[his]\nport = {port}\n")
        for _ in range(3):
            station.reload()  # as the watch does, for as long as it lasts
        assert f"{port} is the HIS/HTTP Service's port too" in station.troubles["listener"]
        assert [event.error for event in told.drain()] == [station.troubles["listener"]]
        assert station.settings.viewer.mask_identifiers, "all as before"
        assert answers(station, "OLD")
        write('[web]\nuser = "me"\n')
        station.reload()
        assert station.troubles == {}
        assert (station.settings.web.user, station.settings.viewer.mask_identifiers) == ("me", False)


def test_a_change_by_another_in_the_moment_of_ones_own(tmp_path: Path) -> None:
    """The file is read again for one's own change: what others wrote meanwhile is followed too."""
    with (
        Station(archive=tmp_path, listener={"enabled": True, "host": HERE, "port": 0}) as station,
        station.events.queue(SettingsChanged) as told,
    ):
        write('[listener]\nae_title = "OTHER"\n')
        station.apply({"viewer": {"mask_identifiers": True}}, save=True)
        assert station.settings.listener.ae_title == station.listener.settings.ae_title == "OTHER"
        assert answers(station, "OTHER")
        sections = frozenset[str]().union(*(event.sections for event in told.drain()))
        assert sections == {"listener", "viewer"}


def test_what_a_person_stopped_stays_stopped(tmp_path: Path) -> None:
    with Station(archive=tmp_path, listener=RUNNING) as station:
        station.listener.stop()
        station.apply({"viewer": {"mask_identifiers": True}})
        write('[web]\nuser = "me"\n')
        station.reload()
        assert station.settings.web.user == "me"
        assert station.listener.status.state is State.STOPPED


# At the start


def test_what_a_file_enables_starts(tmp_path: Path) -> None:
    port = unused_port()
    write(f'[listener]\nenabled = true\nhost = "{HERE}"\nport = {port}\nae_title = "FILE"\n')
    with Station(archive=tmp_path) as station:
        assert station.listener.status.port == port
        assert answers(station, "FILE")


def test_a_service_that_cannot_start(tmp_path: Path) -> None:
    with socket.create_server((HERE, 0)) as other:
        port = other.getsockname()[1]
        write(f'[listener]\nenabled = true\nhost = "{HERE}"\nport = {port}\n')
        with pytest.warns(RuntimeWarning, match=f"port {port} is taken") as warned:
            station = Station(archive=tmp_path)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    with station:
        assert station.listener.status.state is State.FAILED
        assert station.listener.status.error == str(warned[0].message)
        assert station.studies().empty
        assert "failed" in repr(station)
        station.apply({"listener": {}})
        assert station.listener.status.port == port


NOT_MEANT: dict[str, tuple[str, dict[str, str], str]] = {
    "value": (
        "max_pdu = 'long'",
        {},
        r"user file .*settings\.toml, line 4: listener\.max_pdu: .*, not 'long'",
    ),
    "slip of the pen": ("prot = 104", {}, r"settings\.toml, line 4: listener\.prot: .*did you mean port"),
    "port of another": (
        "port = 8080",
        {},
        r"line 4: listener\.port: 8080 is the HIS/HTTP Service's port too",
    ),
    "syntax": ("port = ", {}, r"settings\.toml, line 4: "),
    "environment": (
        "",
        {"PACSKIT_LISTENER__MAX_PDU": "1"},
        r"environment PACSKIT_LISTENER__MAX_PDU: must be at least 4096",
    ),
}


@pytest.mark.parametrize("case", NOT_MEANT)
def test_nothing_starts_by_settings_that_nobody_meant(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it starts as soon as they are mended."""
    line, environment, sentence = NOT_MEANT[case]
    port = unused_port()
    rest = "[viewer]\nmask_identifiers = true\n"
    write(f"[listener]\nenabled = true\nhost = '{HERE}'\n{line}\n{rest}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code = {"enabled": True} if case == "syntax" else {}  # the file's whole section does not count
    with pytest.warns(RuntimeWarning, match=sentence):
        station = Station(archive=tmp_path, listener=code)
    with station, station.events.queue(ServiceChanged) as told:
        assert station.settings.viewer.mask_identifiers
        assert station.listener.status.state is State.FAILED
        error = station.listener.status.error
        with pytest.raises(ServiceError, match=sentence) as raised:
            station.listener.start()
        assert str(raised.value) == error
        with Untouched(station), pytest.raises(SettingError, match=sentence):
            station.apply({"listener": {"ae_title": "NEW"}})
        told.drain()
        if environment:
            return
        file = write(f"[listener]\nenabled = true\nhost = '{HERE}'\nport = {port}\n{rest}")
        until(told, lambda: station.listener.status.running)
        assert told.drain() == []
        since = station.events.recent(ServiceChanged)[-1].at - file.stat().st_mtime
        assert since < 3.0, "within one second, on a computer that does nothing else"
        assert station.listener.status.port == port
        assert answers(station, "PACSKIT")


def test_the_mended_settings_may_be_those_that_counted(tmp_path: Path) -> None:
    """A slip of the pen hid nothing: without it all values are the same, and yet now the service may start."""
    write(f"[listener]\nenabled = true\nhost = '{HERE}'\nport = {unused_port()}\nprot = 104\n")
    with pytest.warns(RuntimeWarning, match="did you mean port"):
        station = Station(archive=tmp_path)
    with station, station.events.queue(ServiceChanged) as told:
        settings = station.listener.settings
        write(user_path().read_text().removesuffix("prot = 104\n"))
        until(told, lambda: station.listener.status.running)
        assert station.listener.settings == settings
        assert station.troubles == {}


def test_a_program_may_mend_them(tmp_path: Path) -> None:
    write(f"[listener]\nenabled = true\nhost = '{HERE}'\nmax_pdu = 'long'\n")
    given = [pairs_layer("command line", [("listener.port", "0")])]
    with pytest.warns(RuntimeWarning, match=r"listener\.max_pdu"):
        station = Station(archive=tmp_path, layers=given)
    with station:
        user_path().chmod(0o400)
        with pytest.raises(NotSaved):
            station.apply({"listener": {"max_pdu": 131072}}, save=True)
        with pytest.raises(ServiceError, match=r"listener\.max_pdu"):
            station.listener.start()
        user_path().chmod(0o600)
        station.apply({"listener": {"max_pdu": 131072}}, save=True)
        assert "max_pdu" not in user_path().read_text()
        assert station.problems == []
        assert answers(station, "PACSKIT")


def test_what_no_version_knows_is_only_told(tmp_path: Path) -> None:
    write("[printer]\ntray = 2\n[web]\nenabled = true\n")
    with pytest.warns(RuntimeWarning) as warned:
        station = Station(archive=tmp_path, listener=RUNNING)
    foreign, missing = (str(warning.message) for warning in warned)
    assert foreign.startswith(f"user file {user_path()}, line 1: printer: is not a section")
    assert missing == "Web Service: web.enabled has no effect, this version has no such service yet"
    with station, station.events.queue(SettingsChanged) as told:
        assert station.problems == [foreign, missing]
        assert answers(station, "OLD")
        write("[web]\nenabled = true\n")
        until(told, lambda: station.problems == [missing])
        write("")
        station.reload()
        assert missing not in station.problems


# Any free port


def test_auto_is_remembered(tmp_path: Path) -> None:
    write(f"[listener]\nenabled = true\nhost = '{HERE}'\nport = 'auto'\n")

    def remembered() -> int:
        found = json.loads((tmp_path / "ports.json").read_text())
        assert list(found) == ["listener"]
        return int(found["listener"])

    with Station(archive=tmp_path) as station:
        port = station.listener.status.port
        assert remembered() == port
        station.apply({"listener": {"ae_title": "NEW"}})
        assert station.listener.status.port == port
        assert answers(station, "NEW")
    with Station(archive=tmp_path) as station:
        assert station.listener.status.port == port
    with socket.create_server((HERE, port)), Station(archive=tmp_path) as station:
        other = station.listener.status.port
        assert other != port
        assert remembered() == other
        assert answers(station, "PACSKIT")
    with Station(archive=tmp_path) as station:
        assert station.listener.status.port == other


def test_on_a_hub_each_station_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/me/")
    listener = {"enabled": True, "host": HERE}
    with (
        Station(archive=tmp_path / "a", listener=listener) as first,
        Station(archive=tmp_path / "b", listener=listener) as second,
    ):
        ports = [station.listener.status.port for station in (first, second)]
        assert len(set(ports)) == 2
        assert first.settings.explain("listener.port").source == "JupyterHub"
        assert [json.loads((tmp_path / n / "ports.json").read_text())["listener"] for n in "ab"] == ports
        assert answers(first, "PACSKIT")
        assert answers(second, "PACSKIT")
        first.apply({"listener": {"port": "auto", "ae_title": "NEW"}}, save=True)
        assert "port" not in user_path().read_text()
        port = unused_port()
        first.apply({"listener": {"port": port}}, save=True)
        assert f"port = {port}" in user_path().read_text()
        assert first.settings.explain("listener.port").hidden[0] == ("JupyterHub", "auto")


# Nothing is left


def test_fifty_changes_leave_nothing(tmp_path: Path) -> None:
    process = psutil.Process()

    def held() -> tuple[int, int, int]:
        return threading.active_count(), process.num_fds(), len(process.net_connections())

    with (
        Station(archive=tmp_path, listener={**RUNNING, "port": unused_port()}) as station,
        station.events.queue(AssociationClosed) as closed,
    ):
        for number in range(50):
            station.apply({"listener": {"ae_title": f"T{number}"}}, save=number % 2 == 0)
            assert answers(station, f"T{number}")
            if number == 4:
                until(closed, lambda: not station.listener.associations())
                before = held()
        until(closed, lambda: not station.listener.associations())
        for thread in threading.enumerate():  # an association's thread tells that it ended, then it ends
            if thread.name.startswith("pacskit-a") and "accept" not in thread.name:
                thread.join(0.5)
        assert all(now <= then for now, then in zip(held(), before, strict=True)), (held(), before)
        assert len(station.listener.services()) == 1


def test_a_closed_station_is_garbage(tmp_path: Path) -> None:
    references = []
    for number in range(3):
        with Station(archive=tmp_path / str(number), listener=RUNNING) as station:
            station.apply({"listener": {"ae_title": "NEW"}}, save=number == 0)
            station.reload()
        references.append(weakref.ref(station))
        references.append(weakref.ref(station.listener.current))
    del station
    gc.collect()
    assert [reference() for reference in references] == [None] * 6


def test_a_watch_ends_with_its_owner() -> None:
    """Also when it has told it something."""

    class Owner:
        def __init__(self) -> None:
            self.changed, self.told = threading.Event(), threading.Event()
            self.watch = Watch(self.changed.is_set, self.tell)

        def tell(self) -> None:
            self.changed.clear()
            self.told.set()

    owner = Owner()
    thread = owner.watch._thread
    owner.changed.set()
    assert owner.told.wait(5)
    del owner
    thread.join(5)
    assert not thread.is_alive()
