"""A real JupyterLab, and a notebook in it as a person has it: in Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

TOKEN = "a-token-for-this-test-only"
SECOND = "second-user"
"""The kernel that runs as another user (tests/second_user.py)."""


@dataclass(frozen=True)
class Kernel:
    """One more kernel that the server offers, beside `python3`."""

    name: str
    argv: Sequence[str]
    """As in a kernelspec: `{connection_file}` in it is replaced."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Comes on top of the server's."""


@contextmanager
def jupyterlab(
    root: Path, home: Path, *, environment: Mapping[str, str] | None = None, kernels: Iterable[Kernel] = ()
) -> Iterator[str]:
    """Serve `root`; yields the address. Nothing of the person's own settings is read or changed.

    The server and its kernels have this process's environment, `environment` and places in `home`.
    """
    surroundings = os.environ | dict(environment or {}) | {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "XDG_DATA_HOME": str(home / "share"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }  # fmt: skip
    widgets = home / "settings" / "@jupyter-widgets" / "jupyterlab-manager"
    widgets.mkdir(parents=True)
    (widgets / "plugin.jupyterlab-settings").write_text('{"saveState": true}', "utf-8")
    news = home / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}', "utf-8")
    for kernel in kernels:
        _offer(kernel, home / "data" / "kernels" / kernel.name)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--ip=127.0.0.1", "--allow-root",
        "--expose-app-in-browser", "--LabApp.news_url=None", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}",
    ]  # fmt: skip
    said = home / "server.log"
    with said.open("w") as log, subprocess.Popen(
        command, env=surroundings, stdin=subprocess.DEVNULL, stderr=log, stdout=subprocess.DEVNULL
    ) as server:  # fmt: skip
        try:
            yield _address(server, said)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()  # its kernels see that it is gone, and end


def _offer(kernel: Kernel, folder: Path) -> None:
    folder.mkdir(parents=True)
    words = {"display_name": kernel.name, "language": "python"}
    spec = words | {"argv": list(kernel.argv), "env": dict(kernel.environment)}
    (folder / "kernel.json").write_text(json.dumps(spec), "utf-8")


def _address(server: subprocess.Popen[bytes], said: Path) -> str:
    end = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < end:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", said.read_text("utf-8", "replace")):
            return found.group()
        time.sleep(0.05)
    raise RuntimeError("JupyterLab did not start:\n" + said.read_text("utf-8", "replace")[-3000:])


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
        light = "false" if dark else "true"  # the server remembers what an earlier test chose
        if page.locator("body").get_attribute("data-jp-theme-light") != light:
            self.command("apputils:change-theme", {"theme": f"JupyterLab {'Dark' if dark else 'Light'}"})
            page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")

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
                panel.content.widgets[index].model.executionCount = null;  // of an earlier run: `count` waits for this one
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

    def text(self, index: int) -> str:
        """What stands below a cell, as a person reads it."""
        cell = self.page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(index)
        return cell.locator(".jp-Cell-outputArea").inner_text()

    def end(self) -> None:
        """End the kernel: else it lives as long as the server, with its threads, ports and memory."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")

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


def write(path: Path, *cells: str, kernel: str = "python3") -> None:
    """A notebook of code cells for one of the server's kernels."""
    made = [
        {"cell_type": "code", "id": f"c{number}", "metadata": {}, "execution_count": None, "outputs": [],
         "source": source.splitlines(True)}
        for number, source in enumerate(cells)
    ]  # fmt: skip
    shown = "Python 3 (ipykernel)" if kernel == "python3" else kernel
    spec = {"display_name": shown, "language": "python", "name": kernel}
    notebook = {"cells": made, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")


def environ(**values: str | Path) -> str:
    """A first cell, to stand before `import pacskit`: sets names of the kernel's environment.

    All kernels of a session share one PACSKIT_HOME and one PACSKIT_SITE. A notebook with settings of its own:

        write(folder / "mine.ipynb", environ(PACSKIT_HOME=tmp_path / "pacskit"), "import pacskit ...")

    The second user's needs a folder that it may write: `second.folder()` for PACSKIT_HOME; `second.shared()` holds
    what root writes and both read, as a PACSKIT_SITE.
    """
    return f"import os\nos.environ.update({dict(zip(values, map(str, values.values()), strict=True))!r})"
