"""A real JupyterLab, and a notebook in it as a person has it: in Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

TOKEN = "a-token-for-this-test-only"


@contextmanager
def jupyterlab(root: Path, home: Path) -> Iterator[str]:
    """Serve `root`; yields the address. Nothing of the person's own settings is read or changed."""
    environment = os.environ | {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "XDG_DATA_HOME": str(home / "share"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    widgets = home / "settings" / "@jupyter-widgets" / "jupyterlab-manager"
    widgets.mkdir(parents=True)
    (widgets / "plugin.jupyterlab-settings").write_text('{"saveState": true}', "utf-8")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--ip=127.0.0.1", "--allow-root",
        "--expose-app-in-browser", "--LabApp.news_url=None", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            threading.Thread(target=server.stderr.read, daemon=True).start()  # or the pipe fills
            return found.group()
    raise RuntimeError("JupyterLab did not start:\n" + "".join(said[-20:]))


class Notebook:
    """One notebook, open in JupyterLab."""

    def __init__(self, page: Page, address: str, name: str, *, dark: bool = False) -> None:
        self.page, self.name = page, name
        # A workspace of its own: else what an earlier test had open would be opened again, and be current.
        page.goto(f"{address}lab/workspaces/{Path(name).stem}/tree/{name}?token={TOKEN}")
        page.wait_for_selector(".jp-NotebookPanel:visible .jp-Cell", timeout=90_000)
        self.until(self._has_kernel, 60, "the notebook got no kernel")
        # The left side bar takes room that the tests want to measure.
        self.command("application:toggle-left-area") if page.locator("#jp-left-stack").is_visible() else None
        if dark:
            self.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
            page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")

    def _has_kernel(self) -> bool:
        """A kernel runs and is connected; JupyterLab's question which one to take is answered."""
        if (dialog := self.page.locator(".jp-Dialog .jp-mod-accept")).count():
            dialog.first.click()
        return bool(
            self.page.evaluate(
                """() => { const context = window.jupyterapp.shell.currentWidget?.sessionContext;
                    return context?.isReady && context.session?.kernel?.connectionStatus === 'connected'
                        && context.kernelDisplayStatus === 'idle'; }"""
            )
        )

    def command(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        self.page.evaluate(
            "([id, args]) => { window.jupyterapp.commands.execute(id, args); }", [command, arguments or {}]
        )

    def run(self, index: int, *, wait: bool = True, timeout: float = 30) -> None:
        """Run the cell with this number."""
        self.page.evaluate(
            """(index) => { const panel = window.jupyterapp.shell.currentWidget;
                panel.content.activeCellIndex = index; panel.content.deselectAll();
                window.jupyterapp.commands.execute('notebook:run-cell'); }""",
            index,
        )
        if wait:
            self.until(lambda: self.count(index) is not None, timeout, f"cell {index} did not end")

    def count(self, index: int) -> int | None:
        """The execution count of a cell, None while it has not ended or never ran."""
        return self.page.evaluate(
            """(index) => { const cell = window.jupyterapp.shell.currentWidget.content.widgets[index].model;
                return cell.executionState === 'running' ? null : cell.executionCount ?? null; }""",
            index,
        )

    def save(self) -> None:
        """Save it, widget state included: the server's settings say so (the worst case for privacy)."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    @property
    def dashboard(self) -> Locator:
        return self.page.locator(".pk-dashboard").first

    def picture(self) -> str:
        return self.page.locator(".pk-picture img").first.get_attribute("src") or ""

    def until(self, met: Callable[[], object], timeout: float = 20, otherwise: str = "") -> None:
        """Wait for a condition while the page lives on."""
        end = time.monotonic() + timeout
        while not met():
            assert time.monotonic() < end, otherwise or "it did not happen in time"
            self.page.wait_for_timeout(50)


def write(path: Path, *cells: str) -> None:
    """A notebook of code cells."""
    made = [
        {"cell_type": "code", "id": f"c{number}", "metadata": {}, "execution_count": None, "outputs": [],
         "source": source.splitlines(True)}
        for number, source in enumerate(cells)
    ]  # fmt: skip
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")
