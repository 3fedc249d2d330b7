"""The DICOM Listener's panel, each step of the seed's 12.1.1 as a person does it, in a real JupyterLab."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import looks
import pytest
from driven_lab import SECOND, Notebook, environ, write
from playwright.sync_api import Browser, Locator, Page, expect

from pacskit.archive.outgoing import OutgoingFile
from pacskit.dimse.send import send
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms
from tests.second_user import SecondUser

BUSY = "Dicom Listener cannot be run. Error message: The address is protected"
NOT_ADMINISTRATOR = "Only an administrator can change settings shared by all users."
STATION = """
import tempfile, pacskit
station = pacskit.Station(tempfile.mkdtemp())
station.services
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Panel:
    """One service's panel as a person sees it."""

    def __init__(self, page: Page, section: str = "listener") -> None:
        self.page = page
        self.services = page.locator(".pk-services:visible").first
        self.services.wait_for()
        self.root = self.services.locator(f".pk-panel-{section}")

    def field(self, label: str) -> Locator:
        return self.root.get_by_label(label, exact=True)

    def under(self, name: str) -> Locator:
        return self.root.locator(f".pk-row-{name} .pk-under")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    @property
    def message(self) -> Locator:
        return self.root.locator(".pk-message")

    @property
    def state(self) -> Locator:
        return self.root.locator(".pk-strip")

    @property
    def shared(self) -> Locator:
        return self.field("Shared settings (for all users)")


class Places:
    """A notebook's own home and site file."""

    def __init__(self, folder: Path) -> None:
        self.home, self.site = folder / "home", folder / "site" / "settings.toml"

    @property
    def cell(self) -> str:
        return environ(PACSKIT_HOME=self.home, PACSKIT_SITE=self.site)

    def saved(self) -> dict[str, object]:
        path = self.home / "settings.toml"
        found = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
        return dict(found.get("listener", {}))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@contextmanager
def opened(
    page: Page,
    address: str,
    folder: Path,
    name: str,
    *cells: str,
    dark: bool = False,
    kernel: str = "python3",
) -> Iterator[tuple[Notebook, Panel]]:
    write(folder / f"{name}.ipynb", *cells, kernel=kernel)
    notebook = Notebook(page, address, f"{name}.ipynb", dark=dark)
    for number in range(len(cells)):
        notebook.run(number)
    try:
        yield notebook, Panel(page)
    finally:
        notebook.end()


def test_the_steps_of_the_seed(page: Page, address: str, folder: Path, places: Places) -> None:
    port = free_port()
    with opened(page, address, folder, "steps", places.cell, STATION) as (_, panel):
        expect(page.get_by_role("tab", name="DICOM Listener", exact=True)).to_be_visible()
        expect(panel.state).to_contain_text("stopped")
        # 1. Check the Enable box.
        expect(panel.field("Enable")).not_to_be_checked()
        panel.field("Enable").check()
        # 2. The AE title: at most 16 characters, no Cyrillic letters, no backslash; OK is off meanwhile.
        title = panel.field("AE Title")
        expect(title).to_have_value("PACSKIT")
        for wrong, sentence in (
            ("SEVENTEEN_LETTERS", "at most 16 characters, this one has 17"),
            ("ПАКС", "only ASCII letters, digits and signs, no П"),
            ("A\\B", "no backslash"),
            ("MÜLLER", "no Ü"),
            ("🩻", "no 🩻"),
            ("   ", "at least one character"),
            ("", "at least one character"),
        ):
            title.fill(wrong)
            expect(panel.under("ae_title")).to_contain_text(sentence)
            expect(panel.button("OK")).to_be_disabled()
        # who cannot see it hears it: the field is tied to its line
        assert title.get_attribute("aria-invalid") == "true"
        described = title.get_attribute("aria-describedby")
        assert "at least one character" in page.locator(f"#{described}").inner_text()
        title.fill("")
        title.press_sequentially("CT_ARCHIVE")
        expect(panel.under("ae_title")).to_contain_text("changed, was PACSKIT")
        # 3. The port: any free one; the default stands there.
        number = panel.field("Port")
        expect(number).to_have_value("11112")
        for wrong, sentence in (
            ("0", "write auto for any free one"),
            ("65536", "1 to 65535"),
            ("many", "1 to 65535"),
            ("", "1 to 65535"),
            ("8080", "HIS/HTTP Service's port too"),
        ):
            number.fill(wrong)
            expect(panel.under("port")).to_contain_text(sentence)
            expect(panel.button("OK")).to_be_disabled()
        number.fill(str(port))
        expect(panel.button("OK")).to_be_enabled()
        panel.field("Reachable from").select_option("this computer only")
        assert places.saved() == {}, "nothing is saved before OK"
        # 6. OK applies.
        panel.button("OK").click()
        expect(panel.message).to_contain_text("Saved. DICOM Listener is running at 127.0.0.1")
        expect(panel.state).to_contain_text(
            re.compile(rf"running since [\d:]+ at 127\.0\.0\.1:{port}, AE title CT_ARCHIVE")
        )
        expect(panel.under("port")).to_have_text("from your settings file")
        wanted = {"enabled": True, "ae_title": "CT_ARCHIVE", "port": port, "host": "127.0.0.1"}
        assert places.saved() == wanted
        subprocess.run(["echoscu", "-aec", "CT_ARCHIVE", "127.0.0.1", str(port)], check=True, timeout=30)
        # 6. CANCEL takes back what was typed, and changes nothing.
        title.fill("OTHER")
        panel.button("CANCEL").click()
        expect(title).to_have_value("CT_ARCHIVE")
        title.fill("OTHER")
        title.press("Escape")
        expect(title).to_have_value("CT_ARCHIVE")
        assert places.saved() == wanted
        # what is wrong under More settings is never hidden
        more = panel.root.get_by_role("button", name="More settings")
        more.click()
        expect(more).to_have_attribute("aria-expanded", "true")
        panel.field("Most associations").fill("-1")
        expect(panel.under("max_associations")).to_contain_text("must be at least 1")
        panel.button("CANCEL").click()
        expect(panel.field("Most associations")).to_have_value("100")
        # 4. DEFAULTS fills the form only; OK then keeps what differs from the defaults: nothing.
        panel.button("DEFAULTS").click()
        expect(title).to_have_value("PACSKIT")
        expect(number).to_have_value("11112")
        expect(panel.field("Enable")).not_to_be_checked()
        assert places.saved() == wanted
        panel.button("OK").click()
        expect(panel.message).to_contain_text("Saved. DICOM Listener is not running.")
        expect(panel.state).to_contain_text("stopped")
        assert places.saved() == {}
        gone = subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True, timeout=30)
        assert gone.returncode != 0


def test_a_busy_port_says_so_and_a_free_one_is_a_click_away(
    page: Page, address: str, folder: Path, places: Places, artifacts: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with opened(page, address, folder, "taken", places.cell, STATION) as (_, panel):
            panel.field("Enable").check()
            panel.field("Port").fill(str(port))
            panel.field("Reachable from").select_option("this computer only")
            panel.button("OK").click()
            expect(panel.message.locator("b")).to_have_text(f"▲ {BUSY}")
            expect(panel.message).to_contain_text(f"port {port} is taken by process")
            looks.screenshot(page, artifacts, "listener-busy", ".pk-services")
            assert places.saved() == {}
            # 6. select another port and repeat
            offered = panel.root.get_by_role("button", name=re.compile(r"Take port \d+"))
            free = int(re.sub(r"\D", "", offered.inner_text()))
            assert free != port
            offered.focus()
            page.keyboard.press("Enter")
            expect(panel.message).to_contain_text(f"running at 127.0.0.1:{free}")
            expect(offered).to_be_hidden()
            expect(panel.button("OK")).to_be_focused()
            assert places.saved()["port"] == free
            # and with a running one: the old one goes on, and the message says why
            panel.field("Port").fill(str(port))
            panel.button("OK").click()
            expect(panel.message.locator("b")).to_have_text(f"▲ {BUSY}")
            expect(panel.state).to_contain_text(f"127.0.0.1:{free}")
            subprocess.run(["echoscu", "-aec", "PACSKIT", "127.0.0.1", str(free)], check=True, timeout=30)
            assert places.saved()["port"] == free
            # what was said goes when it is no longer true
            panel.button("CANCEL").click()
            panel.button("OK").click()
            expect(panel.message).to_contain_text("Nothing to save. DICOM Listener is running")
            subprocess.run(
                [sys.executable, "-m", "pacskit", "settings", "set", "listener.enabled", "false"],
                env=os.environ | {"PACSKIT_HOME": str(places.home), "PACSKIT_SITE": str(places.site)},
                check=True,
                timeout=60,
            )
            expect(panel.state).to_contain_text("stopped")
            expect(panel.message).to_have_text("")


def test_by_keyboard_only(page: Page, address: str, folder: Path, places: Places) -> None:
    """From the first field on: Tab, Space, typing, arrow keys, Enter. Help is read on the way."""
    port = free_port()
    with opened(page, address, folder, "keyboard", places.cell, STATION) as (_, panel):
        panel.field("Enable").focus()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")  # its help
        page.keyboard.press("Space")
        expect(panel.under("enabled")).to_have_text("Run the service, and start it with the station")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("KEYS")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type(str(port))
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        expect(panel.under("host")).to_contain_text("changed")
        names = []
        for _ in range(12):
            page.keyboard.press("Tab")
            names.append(page.evaluate("document.activeElement.innerText || document.activeElement.type"))
            if names[-1] == "OK":
                break
        assert names[-1] == "OK", names
        assert [name for name in names if name in ("checkbox", "DEFAULTS")] == ["checkbox", "DEFAULTS"], names
        page.keyboard.press("Enter")
        expect(panel.message).to_contain_text(f"Saved. DICOM Listener is running at 127.0.0.1:{port}.")
        # Enter in a field is OK, as in a dialog
        panel.field("AE Title").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("KEYS")
        page.keyboard.press("Enter")
        expect(panel.message).to_contain_text("Nothing to save.")
    assert places.saved() == {"enabled": True, "ae_title": "KEYS", "port": port, "host": "127.0.0.1"}


def test_an_administrator_shares_and_another_user_cannot_change_it(
    page: Page, chromium: Browser, address: str, folder: Path, second: SecondUser, artifacts: Path
) -> None:
    """Step 5, with two real accounts: root may write the site file, the other one may read it."""
    site, port = second.shared() / "settings.toml", free_port()
    home, theirs = Places(second.shared()), second.folder()
    mine = environ(PACSKIT_HOME=home.home, PACSKIT_SITE=site)
    with opened(page, address, folder, "administrator", mine, STATION) as (_, panel):
        panel.field("AE Title").fill("DEPARTMENT")
        panel.field("Port").fill(str(port))
        panel.shared.check()
        panel.button("OK").click()
        expect(panel.message).to_contain_text("Saved.")
        expect(panel.under("ae_title")).to_have_text("from the site file, for all users")
        assert tomllib.loads(site.read_text("utf-8"))["listener"] == {
            "ae_title": "DEPARTMENT",
            "port": port,
            "shared": True,
        }
        assert home.saved() == {}
        (theirs / "settings.toml").write_text('[listener]\nae_title = "MINE"  # my own\n')
        other = chromium.new_page(viewport={"width": 1200, "height": 1100})
        cell = environ(PACSKIT_HOME=theirs, PACSKIT_SITE=site)
        with opened(other, address, folder, "theirs", cell, STATION, kernel=SECOND) as (_, their):
            expect(their.field("AE Title")).to_have_value("DEPARTMENT")
            expect(their.shared).to_be_checked()
            expect(their.root).to_contain_text("values of your own are kept, but not used")
            before = site.read_bytes()
            # the box
            their.shared.click()
            expect(their.message).to_have_text(f"▲ {NOT_ADMINISTRATOR}")
            expect(their.shared).to_be_checked()
            looks.screenshot(other, artifacts, "listener-not-administrator", ".pk-services")
            # OK
            their.button("CANCEL").click()
            expect(their.message).to_have_text("")
            their.field("AE Title").fill("OURS")
            their.button("OK").click()
            expect(their.message).to_have_text(f"▲ {NOT_ADMINISTRATOR}")
            assert site.read_bytes() == before
            their.button("CANCEL").click()
            expect(their.field("AE Title")).to_have_value("DEPARTMENT")
            # the administrator ends the sharing: everyone has his own again, in running notebooks too
            panel.shared.uncheck()
            panel.button("OK").click()
            expect(panel.message).to_contain_text("Saved.")
            expect(their.field("AE Title")).to_have_value("MINE")
            expect(their.shared).not_to_be_checked()
            # who is no administrator cannot check it either
            their.shared.click()
            expect(their.message).to_have_text(f"▲ {NOT_ADMINISTRATOR}")
            expect(their.shared).not_to_be_checked()
        other.close()
    assert "# my own" in (theirs / "settings.toml").read_text()


def test_live_state_the_scanners_entries_and_more_settings(
    page: Page, address: str, folder: Path, places: Places, tmp_path: Path
) -> None:
    port = free_port()
    places.home.mkdir()
    text = f'[listener]\nenabled = true\nport = {port}\nhost = "127.0.0.1"\n[viewer]\nmask_identifiers = "perhaps"\n'
    (places.home / "settings.toml").write_text(text)
    with opened(page, address, folder, "live", places.cell, STATION) as (_, panel):
        expect(panel.state).to_contain_text("running")
        files = phantoms.write(tmp_path / "sent", ("ct",), slices=3, size=64)
        assert (
            send(PeerAddress("PACSKIT", "127.0.0.1", port), [OutgoingFile.read(f) for f in files]).sent == 3
        )
        expect(panel.state).to_contain_text("Received 3 instances")
        expect(panel.state).to_contain_text("1 so far")
        subprocess.run(["echoscu", "-aec", "WRONG", "127.0.0.1", str(port)], capture_output=True, timeout=30)
        expect(panel.state).to_contain_text("1 associations")
        # another section's wrong entry is told, and stopped nothing
        expect(panel.services.locator(".pk-problems")).to_contain_text("line 6: viewer.mask_identifiers")
        # what to enter at the scanner, ready to copy
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        panel.root.get_by_role("button", name="Copy 127.0.0.1").click()
        assert page.evaluate("navigator.clipboard.readText()") == "127.0.0.1"
        # more settings unfold
        expect(panel.field("Silent association (s)")).to_be_hidden()
        panel.root.get_by_role("button", name="More settings").click()
        panel.field("Silent association (s)").fill("90")
        panel.field("Accept unknown senders").check()
        # a file that another program changes meanwhile is followed; what is typed here stays
        (places.home / "settings.toml").write_text(text.replace("[viewer]", 'ae_title = "FILE"\n[viewer]'))
        expect(panel.field("AE Title")).to_have_value("FILE")
        expect(panel.state).to_contain_text("AE title FILE")
        expect(panel.field("Silent association (s)")).to_have_value("90")
        panel.button("OK").click()
        expect(panel.message).to_contain_text("Saved.")
    wanted = {"network_timeout": 90, "accept_unknown": True, "ae_title": "FILE"}
    assert places.saved() == wanted | {"enabled": True, "port": port, "host": "127.0.0.1"}
    assert 'mask_identifiers = "perhaps"' in (places.home / "settings.toml").read_text()


def test_what_the_environment_fixes_is_read_only(
    page: Page, address: str, folder: Path, places: Places
) -> None:
    fixed = environ(PACSKIT_HOME=places.home, PACSKIT_SITE=places.site, PACSKIT_LISTENER__AE_TITLE="FIXED")
    with opened(page, address, folder, "fixed", fixed, STATION) as (_, panel):
        expect(panel.field("AE Title")).to_be_disabled()
        expect(panel.under("ae_title")).to_have_text("fixed by the environment: PACSKIT_LISTENER__AE_TITLE")
        panel.button("DEFAULTS").click()
        expect(panel.field("AE Title")).to_have_value("FIXED")


def test_the_dashboard_opens_the_same_panel_while_a_cell_is_busy(
    page: Page, address: str, folder: Path, places: Places
) -> None:
    show = STATION.replace("station.services", "station")
    busy = "import time\nend = time.monotonic() + 12\nwhile time.monotonic() < end: pass"
    write(folder / "drawer.ipynb", places.cell, show, "station.services", busy)
    notebook = Notebook(page, address, "drawer.ipynb")
    for number in range(3):
        notebook.run(number)
    notebook.run(3, wait=False)
    notebook.dashboard.get_by_role("button", name="Services").click()
    inside = notebook.dashboard.locator(".pk-panel-listener")
    inside.get_by_label("AE Title", exact=True).fill("Ж")
    expect(inside.locator(".pk-row-ae_title .pk-under")).to_contain_text("no Ж", timeout=8000)
    assert notebook.count(3) is None, "the cell was over: nothing is proven"
    alone = page.locator(".pk-panel-listener").last
    expect(alone.get_by_label("AE Title", exact=True)).to_have_value("Ж")
    notebook.end()


def test_a_restarted_kernel_is_said_and_a_wrong_entry_of_the_file_is_seen(
    page: Page, address: str, folder: Path, places: Places, artifacts: Path
) -> None:
    places.home.mkdir()
    (places.home / "settings.toml").write_text("[listener]\nmax_pdu = 5  # for the old MR\n")
    with opened(page, address, folder, "restarted", places.cell, STATION) as (notebook, panel):
        expect(panel.under("max_pdu")).to_contain_text("settings.toml, line 2: must be at least 4096, not 5")
        expect(panel.under("max_pdu")).to_be_visible()
        panel.button("OK").click()
        expect(panel.message).to_contain_text("line 2: listener.max_pdu is replaced")
        assert "# for the old MR" in (places.home / "settings.toml").read_text()
        notebook.command("kernelmenu:restart")
        page.locator(".jp-Dialog .jp-mod-accept").click()
        expect(panel.services).to_have_class(re.compile("jupyter-widgets-disconnected"))
        looks.screenshot(page, artifacts, "listener-disconnected", ".pk-services")
        shown = page.evaluate("getComputedStyle(document.querySelector('.pk-services'), '::after').content")
        assert "Run the cell again" in shown
        notebook.until(notebook._has_kernel, 60)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [700, 1400])
def test_look(
    chromium: Browser, address: str, folder: Path, places: Places, artifacts: Path, width: int, dark: bool
) -> None:
    name = f"listener-{width}-{'dark' if dark else 'light'}"
    page = chromium.new_page(viewport={"width": width + 190, "height": 1000})
    try:
        with opened(page, address, folder, name, places.cell, STATION, dark=dark) as (_, panel):
            expect(panel.state).to_contain_text("stopped")
            page.wait_for_timeout(300)
            look_right(page)
            looks.screenshot(page, artifacts, name, ".pk-services")
            fields = ".pk-services .pk-form input, .pk-services .pk-form select, .pk-services .pk-form button"
            before = looks.positions(page, fields, ".pk-services")
            panel.field("AE Title").fill("SEVENTEEN_LETTERS")
            panel.field("Port").fill("0")
            expect(panel.under("port")).to_contain_text("write auto")
            assert looks.positions(page, fields, ".pk-services") == before, "an error moved the fields"
            panel.field("Port").fill("8080")
            expect(panel.under("port")).to_contain_text("HIS/HTTP")
            panel.root.get_by_role("button", name="Help on AE Title").click()
            assert looks.positions(page, fields, ".pk-services") == before, "an error moved the fields"
            panel.root.get_by_role("button", name="More settings").click()
            expect(panel.field("Most associations")).to_be_visible()
            look_right(page)
            looks.screenshot(page, artifacts, f"{name}-errors", ".pk-services")
    finally:
        page.close()


def look_right(page: Page) -> None:
    assert looks.too_wide(page, ".pk-services") == []
    assert looks.cut_off(page, ".pk-services") == []
    labels = ".pk-form .pk-input > label.widget-label, .pk-form .widget-checkbox span"
    assert len(looks.left_edges(page, labels)) == 1
    assert looks.contrast(page, ".pk-services") >= 4.5
    assert looks.axe(page, ".pk-services") == []
