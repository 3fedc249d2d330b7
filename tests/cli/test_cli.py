"""The command line as a person and a script use it: real processes, exit codes, JSON."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

CT = str(get_testdata_file("CT_small.dcm"))


def pacskit(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "pacskit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stderr
    return result


@contextmanager
def serving(archive: Path, *settings: str) -> Iterator[dict[str, object]]:
    """`pacskit serve --json` until its first line; SIGTERM at the end, exit code 0."""
    pairs = [
        part for text in ("listener.host=127.0.0.1", "listener.port=0", *settings) for part in ("--set", text)
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "pacskit", "serve", "--json", "--archive", str(archive), *pairs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    try:
        yield json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.peer("storescu")
def test_serve_storescu_studies(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with serving(archive) as ready:
        assert ready["service"] == "listener"
        assert ready["ae_title"] == "PACSKIT"
        subprocess.run(
            ["storescu", "-aec", "PACSKIT", "127.0.0.1", str(ready["port"]), CT], check=True, timeout=60
        )
        (study,) = json.loads(pacskit("studies", "--archive", archive, "--json").stdout)
        assert study["patient_id"] == "1CT1"
        assert study["received_from"] == "STORESCU"
    (study,) = json.loads(
        pacskit("studies", "--archive", archive, "--json", "-k", "PatientName=compressed*").stdout
    )
    assert study["study_date"] == "2004-01-19"
    assert list(study)[:5] == ["study_uid", "patient_id", "patient_name", "study_date", "study_description"]
    assert json.loads(pacskit("studies", "--archive", archive, "--json", "-k", "PatientName=X*").stdout) == []


def test_echo_and_send(tmp_path: Path) -> None:
    files = tmp_path / "files"
    pacskit("phantom", files, "--kind", "us")
    (files / "notes.txt").write_text("no DICOM")
    with serving(tmp_path / "archive") as ready:
        peer = f"PACSKIT@127.0.0.1:{ready['port']}"
        assert "answers" in pacskit("echo", peer).stdout
        result = pacskit("send", files, CT, "--to", peer)
        assert "2 sent" in result.stdout
        assert "notes.txt" in result.stderr
        wrong = pacskit("echo", f"NOBODY@127.0.0.1:{ready['port']}", check=False)
    assert wrong.returncode == 1
    assert "called AE title" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_import_rebuild_studies(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    files = tmp_path / "files"
    pacskit("phantom", files, "--kind", "us")
    (files / "empty.dcm").touch()
    first = pacskit("import", files, CT, "--archive", archive)
    assert "2 stored" in first.stdout
    assert "empty.dcm" in first.stderr
    before = pacskit("studies", "--archive", archive, "--json").stdout
    for index in archive.glob("index.sqlite*"):
        index.unlink()
    pacskit("rebuild", "--archive", archive)
    assert pacskit("studies", "--archive", archive, "--json").stdout == before


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("echo", "PACS"), 2, "AET@HOST:PORT"),
        (("echo", "PACS@127.0.0.1:1"), 1, "cannot be reached"),
        (("studies", "--archive", "nowhere"), 1, "nowhere"),
        (("serve", "--set", "listener.port=many"), 2, "listener.port"),
        (("serve", "--set", "listener.port"), 2, "KEY=VALUE"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_use_is_a_sentence(
    arguments: tuple[str, ...], code: int, sentence: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = pacskit(*arguments, check=False)
    assert result.returncode == code
    assert sentence in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


def test_serve_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = pacskit(
            "serve",
            "--archive",
            tmp_path,
            "--set",
            "listener.host=127.0.0.1",
            "--set",
            f"listener.port={port}",
            check=False,
        )
    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr


def test_without_jupyter(tmp_path: Path) -> None:
    """The command line and the servers run where nothing of Jupyter can be imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'ipywidgets', 'IPython', 'jupyterlab', 'anywidget', 'matplotlib', 'ipykernel'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    code = "import pacskit; s = pacskit.Station(archive='a'); print(s._repr_mimebundle_()['text/plain']); s.close()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert "pip install 'pacskit[lab]'" in result.stdout
    result = subprocess.run(
        [sys.executable, "-m", "pacskit", "lab"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (result.returncode, "pip install 'pacskit[lab]'" in result.stderr) == (1, True)
