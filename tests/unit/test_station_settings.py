"""Settings of a running station: changed by a program, by another process, by hand; and what it starts with."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid
from station_settings import CT, HERE, RUNNING, SENTENCE, Untouched, answers, until, unused_port, write

from pacskit import Station
from pacskit.dimse.client import ClientAssociation
from pacskit.dimse.storage_classes import EXPLICIT_LE, VERIFICATION
from pacskit.errors import (
    NotSaved,
    PacskitError,
    PortTaken,
    SettingError,
)
from pacskit.events import (
    AssociationClosed,
    InstanceStored,
    SettingsChanged,
)
from pacskit.peers import PeerAddress
from pacskit.services.base import State
from pacskit.settings import pairs_layer
from pacskit.settings.files import user_path
from tests import second_user

# One change


@pytest.mark.peer("echoscu")
def test_the_port_and_the_title_change(tmp_path: Path) -> None:
    """As INTERFACES shows it, seen by DCMTK."""
    port = unused_port()

    def code_of(title: str, at: int) -> int:
        return subprocess.run(["echoscu", "-aec", title, HERE, str(at)], capture_output=True).returncode

    with (
        Station(archive=tmp_path, listener=RUNNING) as station,
        station.events.queue(SettingsChanged) as told,
    ):
        before = station.listener.status.port
        station.apply({"listener": {"port": port, "ae_title": "NEW"}}, save=False, shared=False)
        assert station.settings.listener.port == station.listener.settings.port == port
        assert station.listener.status.port == port
        assert station.settings.explain("listener.port").source == "code"
        assert [(event.sections, event.error) for event in told.drain()] == [(frozenset({"listener"}), "")]
        assert (code_of("NEW", port), code_of("OLD", port), code_of("OLD", before)) == (0, 1, 1)
        station.apply({"listener": {"enabled": False}})
        assert station.listener.status.state is State.STOPPED
        station.apply({"listener": {"enabled": True}})
        assert station.listener.status.port == port
    assert not user_path().exists()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "value": ({"listener": {"ae_title": "NEW", "port": "many"}}, r"listener\.port: .*auto"),
    "other section": (
        {"listener": {"ae_title": "NEW"}, "web": {"session_timeout": 5}},
        r"web\.session_timeout: must be at least 10",
    ),
    "key": ({"listener": {"ae_title": "NEW", "prot": 104}}, r"listener\.prot: .*did you mean port"),
    "section": ({"listener": {"ae_title": "NEW"}, "listner": {}}, r"listner: is not a section"),
    "no dict": ({"web": {"user": "x"}, "listener": True}, r"listener: is a dict of settings, not True"),
    "port": ({"listener": {"ae_title": "NEW", "port": 8080}}, "8080 is the HIS/HTTP Service's port too"),
    "port of other": ({"listener": {"ae_title": "NEW"}, "web": {"port": 8080}}, "8080 is the HIS/HTTP"),
}


@pytest.mark.parametrize("save", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_is_refused_whole(tmp_path: Path, case: str, save: bool) -> None:
    changes, sentence = WRONG[case]
    with Station(archive=tmp_path, listener=RUNNING) as station:
        service = station.listener.current
        with Untouched(station), pytest.raises(SettingError, match=sentence):
            station.apply(changes, save=save)
        assert station.listener.current is service
        assert answers(station, "OLD")


def test_zero_is_for_one_run(tmp_path: Path) -> None:
    with Station(archive=tmp_path, listener={**RUNNING, "port": unused_port()}) as station:
        with Untouched(station), pytest.raises(SettingError, match="for one run only"):
            station.apply({"listener": {"port": 0}}, save=True)
        station.apply({"listener": {"port": 0}})
        assert answers(station, "OLD")


@pytest.mark.parametrize("save", [False, True])
def test_a_taken_port_leaves_the_old_service(tmp_path: Path, save: bool) -> None:
    with (
        Station(archive=tmp_path, listener=RUNNING) as station,
        socket.create_server((HERE, 0)) as other,
        ClientAssociation(
            PeerAddress("OLD", HERE, station.listener.status.port), [(VERIFICATION, (EXPLICIT_LE,))]
        ) as association,
    ):
        service, port = station.listener.current, other.getsockname()[1]
        with Untouched(station), pytest.raises(PortTaken, match=f"port {port} is taken") as taken:
            station.apply(
                {"listener": {"port": port, "ae_title": "NEW"}, "viewer": {"mask_identifiers": True}},
                save=save,
            )
        assert taken.value.free_port
        assert station.listener.current is service
        assert association.echo().status == 0
        assert answers(station, "OLD")


@pytest.mark.parametrize("changed", ["ae_title", "port", "enabled", "by hand", "stopped"])
def test_what_cannot_be_saved_is_taken_back(tmp_path: Path, changed: str) -> None:
    """The services have changed by then: the old settings run again, and no association has been cut."""
    file = write('[listener]\nae_title = "OLD"\n')
    file.chmod(0o400)
    listener = {"enabled": changed != "by hand", "host": HERE, "port": unused_port()}
    with Station(archive=tmp_path, listener=listener) as station:
        if changed == "by hand":
            station.listener.start()
        peer = PeerAddress("OLD", HERE, station.listener.status.port)
        with ClientAssociation(peer, [(VERIFICATION, (EXPLICIT_LE,))]) as association:
            if changed == "stopped":
                station.listener.current.retire()
            changes = {
                "port": {"port": unused_port(), "ae_title": "NEW"},
                "enabled": {"enabled": False, "ae_title": "NEW"},
            }.get(changed, {"ae_title": "NEW"})
            before = station.settings, station.listener.settings, station.listener.status.state
            with (
                station.events.queue(SettingsChanged) as told,
                pytest.raises(NotSaved, match=r"settings\.toml is not saved: it is read-only"),
            ):
                station.apply({"listener": changes}, save=True)
            assert (station.settings, station.listener.settings, station.listener.status.state) == before
            assert told.drain() == []
            assert association.echo().status == 0
        assert file.read_text() == '[listener]\nae_title = "OLD"\n'
        if changed != "stopped":
            assert station.listener.status.port == peer.port
            assert (answers(station, "OLD"), answers(station, "NEW")) == (True, False)
        file.chmod(0o600)
        station.apply({"listener": {"ae_title": "NEW", "enabled": True}}, save=True)
        assert answers(station, "NEW")


def test_only_what_differs_is_saved(tmp_path: Path) -> None:
    with Station(archive=tmp_path, listener={"enabled": True, "host": HERE, "port": 0}) as station:
        station.apply(
            {
                "listener": {"ae_title": "NEW", "max_associations": 100, "accept_private": "known"},
                "web": {"user": "me", "port": 8090, "password": "geheim"},
                "viewer": {"mask_identifiers": False},
            },
            save=True,
        )
        lines = user_path().read_text().splitlines()
        assert "geheim" not in "".join(lines)
        assert [line.split("$argon2")[0] for line in lines] == [
            "schema = 1",
            "",
            "[listener]",
            'ae_title = "NEW"',
            "",
            "[web]",
            'user = "me"',
            'password = "',
        ]
        explained = station.settings.explain("listener.ae_title")
        assert (explained.value, explained.source, explained.file, explained.line) == (
            "NEW",
            "user file",
            user_path(),
            4,
        )
        assert explained.hidden == (("default", "PACSKIT"),)
        assert answers(station, "NEW")
        station.apply({"listener": {"ae_title": "PACSKIT"}, "web": {"user": None, "password": ""}}, save=True)
        assert "=" not in user_path().read_text().removeprefix("schema = 1")
        assert station.settings.explain("listener.ae_title").source == "default"
        assert answers(station, "PACSKIT")


@pytest.mark.parametrize("place", ["environment", "command line"])
def test_what_is_fixed_elsewhere_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    given = []
    if place == "environment":
        monkeypatch.setenv("PACSKIT_LISTENER__AE_TITLE", "FIXED")
    else:
        given = [pairs_layer(place, [("listener.ae_title", "FIXED")])]
    with Station(
        archive=tmp_path, listener={"enabled": True, "host": HERE, "port": 0}, layers=given
    ) as station:
        sentence = rf"listener\.ae_title: is fixed by the {place}; change it there"
        with Untouched(station), pytest.raises(SettingError, match=sentence):
            station.apply({"listener": {"ae_title": "NEW", "max_pdu": 65536}}, save=True)
        station.apply({"listener": {"ae_title": "FIXED", "max_pdu": 65536}}, save=True)
        assert user_path().read_text() == "schema = 1\n\n[listener]\nmax_pdu = 65536\n"
        station.apply({"listener": {"ae_title": "NEW"}})
        assert station.settings.explain("listener.ae_title").hidden[0] == (place, "FIXED")
        assert answers(station, "NEW")


def test_what_code_set_changes_for_the_session(tmp_path: Path) -> None:
    write('[listener]\nae_title = "FILE"\n')
    with Station(archive=tmp_path, listener=RUNNING) as station:
        station.apply({"listener": {"ae_title": "SESSION"}})
        assert station.settings.explain("listener.ae_title").hidden[0][1] == "FILE"
        assert answers(station, "SESSION")
        station.apply({"listener": {"ae_title": "SAVED"}}, save=True)
        assert station.settings.explain("listener.ae_title").source == "code"
        assert answers(station, "SAVED")
        assert user_path().read_text() == 'schema = 1\n\n[listener]\nae_title = "SAVED"\n'
    with Station(archive=tmp_path) as station:
        assert station.settings.explain("listener.ae_title").source == "user file"
        assert station.settings.listener.ae_title == "SAVED"


AS_USER = """
import sys, json
from pacskit import Station
from pacskit.dimse.client import echo
from pacskit.errors import PacskitError
from pacskit.peers import PeerAddress
answers = []
with Station(archive=sys.argv[1], listener={"enabled": True, "host": "127.0.0.1", "port": 0}) as station:
    answers.append(station.settings.listener.ae_title)
    for changes, save, shared in (
        ({"ae_title": "MINE"}, True, False),
        ({"ae_title": "MINE"}, True, True),
        ({"ae_title": "MINE"}, False, True),
        ({"shared": False}, True, False),
        ({"ae_title": "SESSION"}, False, False),
    ):
        try:
            station.apply({"listener": changes}, save=save, shared=shared)
        except PacskitError as error:
            answers.append(f"{type(error).__name__}: {error}")
        title = station.listener.settings.ae_title
        assert station.settings.listener.ae_title == title
        assert echo(PeerAddress(title, "127.0.0.1", station.listener.status.port)).done
    answers.append(title)
print(json.dumps(answers))
"""


def test_shared_by_all_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator changes a section for all: every station follows, and no other user may change it."""
    user = second_user.needed()
    site = user.shared() / "site.toml"
    monkeypatch.setenv("PACSKIT_SITE", str(site))
    write('[listener]\nae_title = "OWN"\n')
    listener = {"enabled": True, "host": HERE, "port": 0}
    with (
        Station(archive=tmp_path / "a", listener=listener) as station,
        Station(archive=tmp_path / "b", listener=listener) as other,
        other.events.queue(SettingsChanged) as told,
    ):
        station.apply({"listener": {"ae_title": "ALL"}}, shared=True)
        assert station.is_administrator()
        assert answers(station, "ALL")
        assert site.stat().st_mode & 0o777 == 0o644
        assert 'ae_title = "ALL"' in site.read_text()
        assert station.settings.explain("listener.ae_title").source == "site file"
        until(told, lambda: other.settings.listener.ae_title == "ALL")
        assert answers(other, "ALL")

        run = user.run(
            [sys.executable, "-W", "error", "-c", AS_USER, str(user.folder() / "archive")],
            {"PACSKIT_SITE": str(site)},
            check=True,
        )
        refused = f"NotAdministrator: {SENTENCE}"
        assert json.loads(run.stdout) == ["ALL", refused, refused, refused, refused, "SESSION"]

        station.apply({"listener": {"shared": False}}, save=True)
        assert "shared = false" in site.read_text()
        assert station.settings.explain("listener.ae_title").source == "user file"
        assert answers(station, "ALL"), "what was shared is the administrator's own now"
        until(told, lambda: not other.settings.listener.shared)
        station.apply({"listener": {"ae_title": "OWN"}}, save=True)
        assert answers(station, "OWN")
        assert "OWN" not in site.read_text()
        with Untouched(station), pytest.raises(SettingError, match="cannot be shared"):
            station.apply({"viewer": {"mask_identifiers": True}}, shared=True)


def test_a_closed_station_changes_nothing(tmp_path: Path) -> None:
    station = Station(archive=tmp_path, listener=RUNNING)
    station.close()
    with pytest.raises(PacskitError, match="closed"):
        station.apply({"listener": {"ae_title": "NEW"}}, save=True)
    assert not user_path().exists()
    write("[listener]\nmax_pdu = 65536\n")
    with Untouched(station):
        station.reload()
    assert not station.listener.status.running


# While a study arrives


@pytest.mark.peer("storescu")
@pytest.mark.parametrize("changed", ["ae_title", "port"])
def test_a_study_that_arrives_is_not_cut(tmp_path: Path, changed: str) -> None:
    """DCMTK sends it in one association; in the middle of it everything changes, for those who come later."""
    folder, archive = tmp_path / "study", tmp_path / "archive"
    folder.mkdir()
    dataset = pydicom.dcmread(CT)
    for number in range(30):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"{number}.dcm")
    seen, middle, go_on = 0, threading.Event(), threading.Event()

    def hold(_: InstanceStored) -> None:
        nonlocal seen
        seen += 1
        if seen == 10:
            middle.set()
            assert go_on.wait(30)

    with (
        Station(archive=archive, listener=RUNNING) as station,
        station.events.queue(AssociationClosed) as closed,
    ):
        subscription = station.events.subscribe(InstanceStored, hold)
        port = station.listener.status.port
        command = ["storescu", "+sd", "-aec", "OLD", HERE, str(port), str(folder)]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert middle.wait(30)
            changes = {"ae_title": {"ae_title": "NEW"}, "port": {"ae_title": "NEW", "port": unused_port()}}
            station.apply({"listener": changes[changed]}, save=changed == "ae_title")
            assert (station.listener.status.port == port) is (changed == "ae_title")
            assert (answers(station, "OLD"), answers(station, "NEW")) == (False, True)
            (info,) = [found for found in station.listener.associations() if found.calling == "STORESCU"]
            assert info.called == "OLD"
        finally:
            go_on.set()
            printed, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0, printed
        until(closed, lambda: not station.listener.associations())
        (event,) = [e for e in station.events.recent(AssociationClosed) if e.calling == "STORESCU"]
        assert (event.how, event.stored, event.refused) == ("released", 30, 0)
        subscription.close()
        assert station.studies()["instances"].tolist() == [30]
