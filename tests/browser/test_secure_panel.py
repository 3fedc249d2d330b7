"""The Secure DICOM Listener's panel, each step of the seed's 12.1.4 as a person does it, in a real JupyterLab."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import looks
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from driven_lab import Notebook, environ
from playwright.sync_api import Browser, Locator, Page, expect
from test_listener_panel import STATION, Panel, Places, free_port, look_right, opened

from pacskit.certificates import Authority
from pacskit.certificates.authority import Issued

LABEL = "Secure DICOM Listener"
PASSWORD = "correct horse battery"
DIALOGS = {"trusted": "Trusted peer certificates", "certificate": "Certificate and private key"}


class SecurePanel(Panel):
    """Its tab, and the dialogs that unfold in it."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel.page, "secure_listener")
        self.services.get_by_role("tab", name=LABEL).click()
        self.field("Verify peer certificate").wait_for()

    def button(self, name: str) -> Locator:
        """The form's own."""
        return self.root.locator(".pk-buttons").get_by_role("button", name=name, exact=True)

    def choose(self, name: str) -> Locator:
        """Open a dialog by CHOOSE."""
        self.chooser(name).click()
        dialog = self.root.get_by_role("dialog", name=DIALOGS[name])
        dialog.wait_for()
        return dialog

    def chooser(self, name: str) -> Locator:
        return self.root.locator(f".pk-row-{name} .pk-choose")

    def summary(self, name: str) -> Locator:
        return self.root.locator(f".pk-row-{name} .pk-summary")


def press(dialog: Locator, name: str) -> None:
    dialog.get_by_role("button", name=name, exact=True).click()


def secure(places: Places) -> dict[str, object]:
    path = places.home / "settings.toml"
    found = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    return dict(found.get("secure_listener", {}))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("hospital"), name="Hospital CA")


@pytest.fixture(scope="module")
def pacs(hospital: Authority) -> Issued:
    return hospital.issue("pacs")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.fixture
def disk(tmp_path: Path, hospital: Authority, pacs: Issued) -> Path:
    """A folder of certificate files, good and bad."""
    folder = tmp_path / "disk"
    folder.mkdir()
    shutil.copy(hospital.root, folder / "root_Example.crt")
    shutil.copy(pacs.certificate, folder / "INOBITEC.crt")
    shutil.copy(pacs.private_key, folder / "INOBITEC.key")
    other = hospital.issue(f"other-{tmp_path.name[-20:]}")
    shutil.copy(other.private_key, folder / "other.key")
    key = load_pem_private_key(pacs.private_key.read_bytes(), None)
    locked = BestAvailableEncryption(PASSWORD.encode())
    (folder / "locked.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    (folder / "damaged.crt").write_bytes(pacs.certificate.read_bytes()[:300])
    (folder / "damaged.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    (folder / "secret").write_text(PASSWORD)
    return folder


def test_the_steps_of_the_seed(
    page: Page, address: str, folder: Path, places: Places, disk: Path, hospital: Authority, artifacts: Path
) -> None:
    port = free_port()
    with opened(page, address, folder, "secure-steps", places.cell, STATION) as (_, plain):
        panel = SecurePanel(plain)
        # 1. to 3. Enable, AE title, port: the defaults, and a port that another service has.
        expect(panel.field("Enable")).not_to_be_checked()
        panel.field("Enable").check()
        expect(panel.field("AE Title")).to_have_value("PACSKIT_TLS")
        expect(panel.field("Port")).to_have_value("3100")
        for taken in ("11112", "8080", "8090"):
            panel.field("Port").fill(taken)
            expect(panel.under("port")).to_contain_text("port too")
            expect(panel.button("OK")).to_be_disabled()
        panel.field("Port").fill(str(port))
        panel.field("Reachable from").select_option("this computer only")
        # 4. Trusted peer certificates: empty at first. ADD by path, completed while it is typed.
        expect(panel.summary("trusted")).to_have_text("none")
        dialog = panel.choose("trusted")
        expect(dialog).to_contain_text("The list is empty")
        path = dialog.locator("input[data-value=add]")
        expect(path).to_be_focused()
        path.press_sequentially(f"{disk}/ro")
        expect(dialog.locator("datalist option")).to_have_count(1)
        assert dialog.locator("datalist option").get_attribute("value") == str(disk / "root_Example.crt")
        path.fill(str(disk / "root_Example.crt"))
        press(dialog, "ADD")
        option = dialog.get_by_role("option")
        expect(option).to_have_count(1)
        expect(option).to_contain_text("Hospital CA")
        expect(option).to_contain_text("issued by itself")
        # adding it again: an error message
        dialog.locator("input[type=file]").set_input_files(disk / "root_Example.crt")
        expect(dialog.get_by_role("alert")).to_contain_text(
            "The certificate has already been added to the list: Hospital CA"
        )
        # one that is no authority: only knowingly
        dialog.locator("input[type=file]").set_input_files(disk / "INOBITEC.crt")
        expect(dialog.get_by_role("alert")).to_contain_text("is not an authority")
        expect(option).to_have_count(1)
        press(dialog, "Add all the same")
        expect(option).to_have_count(2)
        looks.screenshot(page, artifacts, "secure-trusted", ".pk-services")
        # REMOVE the highlighted line; REMOVE ALL
        option.nth(1).click()
        expect(option.nth(1)).to_have_attribute("aria-selected", "true")
        press(dialog, "REMOVE")
        expect(option).to_have_count(1)
        press(dialog, "REMOVE ALL")
        expect(dialog).to_contain_text("The list is empty")
        dialog.locator("input[type=file]").set_input_files(disk / "root_Example.crt")
        expect(option).to_have_count(1)
        expect(panel.button("OK")).to_be_disabled()
        press(dialog, "OK")
        expect(dialog).to_be_hidden()
        expect(panel.chooser("trusted")).to_be_focused()
        expect(panel.summary("trusted")).to_have_text("1 authority: Hospital CA")
        assert secure(places) == {}, "an inner OK saves nothing"
        panel.field("Verify peer certificate").check()
        # 5. Certificate and private key: every status, live; OK only when they are good and belong together.
        expect(panel.summary("certificate")).to_contain_text("No certificate")
        dialog = panel.choose("certificate")
        certificate = dialog.locator("input[data-value=certificate]")
        key = dialog.locator("input[data-value=private_key]")
        ok = dialog.get_by_role("button", name="OK", exact=True)
        for first, second, status in (
            ("", "INOBITEC.key", "No certificate"),
            ("INOBITEC.crt", "", "No private key"),
            ("gone.crt", "INOBITEC.key", "Incorrect certificate"),
            ("damaged.crt", "INOBITEC.key", "Incorrect certificate"),
            ("INOBITEC.key", "INOBITEC.key", "Incorrect certificate"),
            ("INOBITEC.crt", "gone.key", "Incorrect private key"),
            ("INOBITEC.crt", "damaged.key", "Incorrect private key"),
            ("INOBITEC.crt", "INOBITEC.crt", "Incorrect private key"),
            ("INOBITEC.crt", "locked.key", "Private key needs a password"),
            ("INOBITEC.crt", "other.key", "Certificate and private key do not match"),
            ("INOBITEC.crt", "INOBITEC.key", "pacs, pacskit teaching authority"),
        ):
            certificate.fill(str(disk / first) if first else "")
            key.fill(str(disk / second) if second else "")
            expect(dialog.locator(".pk-status b").first).to_contain_text(status)
            if status.startswith("pacs"):
                expect(ok).not_to_have_attribute("aria-disabled", "true")
            else:
                expect(ok).to_have_attribute("aria-disabled", "true")
            if "password" in status:
                looks.screenshot(page, artifacts, "secure-identity-password", ".pk-services")
        looks.screenshot(page, artifacts, "secure-identity", ".pk-services")
        key.press("Enter")  # the dialog's OK, not the form's
        expect(dialog).to_be_hidden()
        expect(panel.summary("certificate")).to_contain_text("INOBITEC.crt · INOBITEC.key")
        assert secure(places) == {}
        # 8. OK applies. The list was kept by content: its file may go.
        panel.button("OK").click()
        expect(panel.message).to_contain_text(f"Saved. {LABEL} is running at 127.0.0.1:{port}.")
        (disk / "root_Example.crt").unlink()
        kept = secure(places)
        assert str(kept.pop("trusted")).count("BEGIN CERTIFICATE") == 1
        wanted = {"enabled": True, "port": port, "host": "127.0.0.1", "verify_peer": True}
        paths = {"certificate": str(disk / "INOBITEC.crt"), "private_key": str(disk / "INOBITEC.key")}
        assert kept == wanted | paths
        # A handshake with ourselves: our certificate is for servers, so as a client it is refused, and told.
        panel.root.get_by_role("button", name="Test handshake").click()
        result = panel.root.locator(".pk-handshake")
        expect(result).to_contain_text("TLSv1.3")
        expect(result).to_contain_text("pacs, signed by Hospital CA")
        expect(result).to_contain_text("does not accept our certificate's kind or use")
        expect(panel.root.locator(".pk-refused")).to_contain_text("127.0.0.1")
        looks.screenshot(page, artifacts, "secure-running", ".pk-services")
        # 7. DEFAULTS empties list and paths, in the form only; CANCEL takes it back; DEFAULTS and OK saves it.
        panel.button("DEFAULTS").click()
        expect(panel.summary("trusted")).to_have_text("none")
        expect(panel.summary("certificate")).to_contain_text("No certificate")
        assert secure(places)["port"] == port
        panel.button("CANCEL").click()
        expect(panel.summary("trusted")).to_have_text("1 authority: Hospital CA")
        panel.button("DEFAULTS").click()
        panel.button("OK").click()
        expect(panel.message).to_contain_text(f"Saved. {LABEL} is not running.")
        assert secure(places) == {}


def test_enabled_without_a_certificate_fails_with_a_sentence(
    page: Page, address: str, folder: Path, places: Places
) -> None:
    with opened(page, address, folder, "secure-without", places.cell, STATION) as (_, plain):
        panel = SecurePanel(plain)
        panel.field("Enable").check()
        panel.field("Port").fill(str(free_port()))
        expect(panel.under("certificate").first).to_contain_text("cannot run without them. No certificate")
        panel.button("OK").click()
        expect(panel.message.get_by_role("alert")).to_contain_text(re.compile("certificate", re.IGNORECASE))
        assert secure(places) == {}


def test_the_dialogs_by_keyboard_only(
    page: Page, address: str, folder: Path, places: Places, disk: Path
) -> None:
    """Enter and Escape act on the dialog that has the focus, not on the form; arrows move in the list."""
    second = Authority.create(disk / "second", name="Second CA").root
    with opened(page, address, folder, "secure-keys", places.cell, STATION) as (_, plain):
        panel = SecurePanel(plain)
        panel.field("AE Title").fill("TYPED")
        panel.chooser("trusted").focus()
        page.keyboard.press("Enter")
        dialog = panel.root.get_by_role("dialog", name=DIALOGS["trusted"])
        expect(dialog.locator("input[data-value=add]")).to_be_focused()
        for number, file in enumerate((disk / "root_Example.crt", second), 1):
            page.keyboard.press("Control+A")
            page.keyboard.type(str(file))
            page.keyboard.press("Enter")
            expect(dialog.get_by_role("option")).to_have_count(number)
            expect(dialog.locator("input[data-value=add]")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        expect(dialog.get_by_role("listbox")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(dialog.get_by_role("option").first).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(panel.chooser("trusted")).to_be_focused()
        expect(panel.field("AE Title")).to_have_value("TYPED")  # the form's CANCEL was not meant
        expect(panel.summary("trusted")).to_have_text("none")
        panel.chooser("certificate").focus()
        page.keyboard.press("Enter")
        dialog = panel.root.get_by_role("dialog", name=DIALOGS["certificate"])
        expect(dialog.locator("input[data-value=certificate]")).to_be_focused()
        page.keyboard.type(str(disk / "INOBITEC.crt"))
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type(str(disk / "INOBITEC.key"))
        page.keyboard.press("Enter")  # at once: what is typed comes along
        expect(dialog).to_be_hidden()
        expect(panel.summary("certificate")).to_contain_text("INOBITEC.crt · INOBITEC.key")
    assert secure(places) == {}


def test_uploads_and_a_saved_notebook_hold_no_key(
    page: Page, address: str, folder: Path, places: Places, disk: Path
) -> None:
    """After an error, CANCEL, and OK."""
    with opened(page, address, folder, "secure-private", places.cell, STATION) as (notebook, plain):
        panel = SecurePanel(plain)
        panel.root.get_by_role("button", name="More settings").click()
        panel.field("Key password file").fill(str(disk / "secret"))
        dialog = panel.choose("certificate")
        upload = {name: dialog.locator(f"input[data-file={name}]") for name in ("certificate", "private_key")}
        # an error: a key in the certificate's place, and the reverse; too large
        wrong = disk / "wrong.crt"
        shutil.copy(disk / "INOBITEC.key", wrong)
        upload["certificate"].set_input_files(wrong)
        expect(dialog.get_by_role("alert")).to_contain_text("wrong.crt holds a private key, no certificate")
        large = disk / "large.key"
        large.write_bytes(bytes((1 << 20) + 1))
        upload["private_key"].set_input_files(large)
        expect(dialog.get_by_role("alert")).to_contain_text("large.key has more than 1 MB")
        assert_nothing_secret(notebook, folder, disk)
        # CANCEL
        upload["private_key"].set_input_files(disk / "INOBITEC.key")
        kept = places.home / "certificates" / "INOBITEC.key"
        expect(dialog.locator("input[data-value=private_key]")).to_have_value(str(kept))
        press(dialog, "CANCEL")
        expect(dialog).to_be_hidden()
        assert_nothing_secret(notebook, folder, disk)
        # OK, with a key that its password opens; BROWSE is the browser's own dialog
        dialog = panel.choose("certificate")
        with page.expect_file_chooser() as chosen:
            dialog.get_by_role("button", name="BROWSE Private key").click()
        chosen.value.set_files(disk / "locked.key")
        expect(dialog.locator("input[data-value=private_key]")).to_have_value(re.compile("locked.key"))
        upload["certificate"].set_input_files(disk / "INOBITEC.crt")
        expect(dialog.locator(".pk-status")).to_contain_text("pacs, pacskit teaching authority")
        press(dialog, "OK")
        expect(dialog).to_be_hidden()
        panel.button("OK").click()
        expect(panel.message).to_contain_text("Saved.")
        assert_nothing_secret(notebook, folder, disk)
        if os.name != "nt":
            assert (kept.with_name("locked.key").stat().st_mode & 0o777) == 0o600
        assert secure(places)["private_key"] == str(kept.with_name("locked.key"))
        # still there after the page was loaded again
        page.reload()
        notebook.until(notebook._has_kernel, 60)
    assert "PRIVATE" not in (places.home / "settings.toml").read_text()


def assert_nothing_secret(notebook: Notebook, folder: Path, disk: Path) -> None:
    """Saved with its widget state, which is there."""
    path = folder / notebook.name
    before = path.stat().st_mtime_ns
    notebook.save()
    notebook.until(lambda: path.stat().st_mtime_ns != before and "widget-state" in path.read_text(), 30)
    text = path.read_text("utf-8")
    assert "pk-services" in text
    assert PASSWORD not in text
    for name in ("INOBITEC.key", "locked.key"):
        for line in (disk / name).read_text().splitlines():
            if "KEY" not in line and len(line) > 20:
                assert line not in text
    assert "PRIVATE KEY-" not in text


def test_teaching_certificates_make_a_working_listener(
    page: Page, address: str, folder: Path, places: Places, artifacts: Path
) -> None:
    port = free_port()
    with opened(page, address, folder, "secure-teaching", places.cell, STATION) as (_, plain):
        panel = SecurePanel(plain)
        panel.field("Enable").check()
        panel.field("Port").fill(str(port))
        panel.field("Reachable from").select_option("this computer only")
        dialog = panel.choose("certificate")
        press(dialog, "Make certificates for teaching")
        expect(dialog.locator(".pk-status")).to_contain_text("server, pacskit teaching authority")
        press(dialog, "Trust the root")
        expect(dialog).to_contain_text("The root is on the trusted list of the form")
        looks.screenshot(page, artifacts, "secure-teaching", ".pk-services")
        press(dialog, "OK")
        panel.button("OK").click()
        expect(panel.message).to_contain_text(f"running at 127.0.0.1:{port}")
        panel.root.get_by_role("button", name="Test handshake").click()
        expect(panel.root.locator(".pk-handshake")).to_contain_text("Verified: server")
        root = places.home / "certificates" / "teaching" / "root.crt"
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{port}",
            "-CAfile",
            str(root),
            "-verify_return_error",
        ]
        shaken = subprocess.run(command, input=b"", capture_output=True, timeout=30)
        assert b"Verify return code: 0 (ok)" in shaken.stdout
        # plain DICOM on the TLS port is refused, and told
        subprocess.run(["echoscu", "-to", "5", "127.0.0.1", str(port)], capture_output=True, timeout=60)
        expect(panel.root.locator(".pk-refused")).to_contain_text("127.0.0.1")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [700, 1400])
def test_it_looks_right(
    chromium: Browser,
    address: str,
    folder: Path,
    places: Places,
    disk: Path,
    artifacts: Path,
    width: int,
    dark: bool,
) -> None:
    page = chromium.new_page(viewport={"width": width + 190, "height": 1000})
    name = f"secure-{width}-{'dark' if dark else 'light'}"
    fixed = environ(
        PACSKIT_HOME=places.home, PACSKIT_SITE=places.site, PACSKIT_SECURE_LISTENER__TLS_PROFILE="legacy"
    )
    try:
        with opened(page, address, folder, name, fixed, STATION, dark=dark) as (_, plain):
            panel = SecurePanel(plain)
            panel.field("Verify peer certificate").check()
            expect(panel.under("trusted").first).to_contain_text("No client will be accepted")
            look_right(page)
            looks.screenshot(page, artifacts, name, ".pk-services")
            dialog = panel.choose("trusted")
            dialog.locator("input[type=file]").set_input_files(disk / "root_Example.crt")
            expect(dialog.get_by_role("option")).to_have_count(1)
            dialog.locator("input[type=file]").set_input_files(disk / "INOBITEC.crt")
            press(dialog, "Add all the same")
            expect(dialog.get_by_role("option")).to_have_count(2)
            look_right(page)
            looks.screenshot(page, artifacts, f"{name}-trusted", ".pk-services")
            press(dialog, "OK")
            dialog = panel.choose("certificate")
            dialog.locator("input[data-value=certificate]").fill(str(disk / "INOBITEC.crt"))
            dialog.locator("input[data-value=private_key]").fill(str(disk / "other.key"))
            expect(dialog).to_contain_text("do not match")
            look_right(page)
            looks.screenshot(page, artifacts, f"{name}-identity", ".pk-services")
            press(dialog, "CANCEL")
            panel.root.get_by_label("Server", exact=True).fill("127.0.0.1")
            panel.root.locator("input[data-value=port]").fill("1")
            panel.root.get_by_role("button", name="Test handshake").click()
            expect(panel.root.locator(".pk-handshake")).to_contain_text("No connection")
            look_right(page)
    finally:
        page.close()
