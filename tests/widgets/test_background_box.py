"""The switch that moves the services into a process of their own, and back; its log; what it says."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

import pacskit
from pacskit.widgets.background_box import BackgroundBox, crowded
from pacskit.widgets.services import ServicesPanel


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.peer("echoscu")
def test_the_switch_moves_the_services_away_and_back(tmp_path: Path) -> None:
    listener = {"enabled": True, "port": free_port(), "host": "127.0.0.1"}
    station = pacskit.Station(tmp_path / "archive", listener=listener)
    try:
        services = station.services
        assert isinstance(services, ServicesPanel)
        box: BackgroundBox = services.background
        assert services.settle()
        assert not box.keep.value
        assert "end with it" in box.told.html

        def echo() -> None:
            command = ["echoscu", "-aec", "PACSKIT", "127.0.0.1", str(listener["port"])]
            subprocess.run(command, check=True, timeout=30)

        echo()
        here = station.background.pid
        box.keep.value = True
        assert services.settle(30)
        assert station.background.run_in == "background", box.told.html
        assert station.background.pid != here
        assert str(station.background.pid) in box.told.html
        echo()
        box.show_log.value = True
        assert services.settle()
        assert "runs the station" in box.log.html
        panel = services.panels["listener"]
        panel.form.fields["ae_title"].put("AWAY")
        panel.ok.click()
        assert services.settle()
        assert "Saved" in panel.message.html
        box.keep.value = False
        assert services.settle(30)
        assert station.background.pid == here
        assert station.listener.settings.ae_title == "AWAY"
    finally:
        if station.background.run_in == "background":
            station.stop_background()
        station.close()


def test_a_computing_cell_is_noticed() -> None:
    assert not crowded()
    end = threading.Event()

    def compute() -> None:
        while not end.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert crowded()
    finally:
        end.set()
        thread.join()
