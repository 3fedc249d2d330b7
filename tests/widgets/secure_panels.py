"""A person at the Secure DICOM Listener's panel, without a browser, and the files there are to choose."""

from __future__ import annotations

import re
import stat
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import pacskit
from pacskit.certificates import Authority
from pacskit.widgets.chooser import ChooserField
from pacskit.widgets.dialog import Dialog
from pacskit.widgets.identity_dialog import IdentityDialog
from pacskit.widgets.service_panel import ServicePanel
from pacskit.widgets.trusted_dialog import TrustedDialog

PASSWORD = "correct horse battery"


class Person:
    """Clicks and types as the views do, and waits until it is drawn."""

    def __init__(self, station: pacskit.Station) -> None:
        self.station = station
        assert station.services.settle()
        self.panel: ServicePanel = station.services.panels["secure_listener"]

    def chooser(self, name: str) -> ChooserField:
        found = self.panel.form.fields[name]
        assert isinstance(found, ChooserField)
        return found

    @property
    def trusted(self) -> TrustedDialog:
        found = self.chooser("trusted").dialog
        assert isinstance(found, TrustedDialog)
        return found

    @property
    def identity(self) -> IdentityDialog:
        found = self.chooser("certificate").dialog
        assert isinstance(found, IdentityDialog)
        return found

    def choose(self, name: str) -> None:
        self.chooser(name).button.click()
        self.settle()

    def click(self, dialog: Dialog, key: str, **values: str) -> None:
        dialog.heard({"type": "click", "key": key, "values": values})
        self.settle()

    def upload(self, dialog: Dialog, key: str, name: str, data: bytes | None) -> None:
        """As the browser's message comes, its content beside it."""
        carrier = dialog.middle if dialog is self.trusted else dialog.top
        buffers = [memoryview(data)] if data is not None else []
        carrier.private._message(None, {"type": "file", "key": key, "name": name}, buffers)
        self.settle()

    def press(self, button: str) -> None:
        getattr(self.panel, button).click()
        self.settle()

    def settle(self) -> None:
        assert self.station.services.settle()

    def until(self, met: Callable[[], object]) -> None:
        """What a thread reads comes soon."""
        end = time.monotonic() + 20
        while not met():
            assert time.monotonic() < end, "it did not happen in time"
            self.settle()
            time.sleep(0.01)

    def paths(self, certificate: object, key: object) -> None:
        for name, path in (("certificate", certificate), ("private_key", key)):
            self.identity.heard({"type": "input", "key": name, "text": str(path or "")})
        self.settle()

    def status(self) -> str:
        """The status line, in the dialog."""
        self.until(lambda: "Reading" not in self.identity.middle.html)
        return self.identity.middle.html

    @property
    def ok_on(self) -> bool:
        return (
            'aria-disabled="true"'
            not in re.findall(r"<button[^>]*data-key=.ok:.[^>]*>", self.identity.foot.html)[0]
        )


def saved(home: Path) -> dict[str, object]:
    path = home / "pacskit" / "settings.toml"
    return dict(tomllib.loads(path.read_text()).get("secure_listener", {})) if path.exists() else {}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(hospital: Authority, tmp_path: Path) -> dict[str, tuple[object, object]]:
    """Each of the seed's statuses, and ours: the paths that lead to it."""
    good, other = hospital.issue("pacs"), hospital.issue("other")
    noise = tmp_path / "noise.crt"
    noise.write_bytes(bytes(range(256)))
    locked = tmp_path / "locked.key"
    key = load_pem_private_key(good.private_key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode()))
    )
    locked.chmod(0o600)
    return {
        "No certificate": (None, good.private_key),
        "No private key": (good.certificate, None),
        "Incorrect certificate": (noise, good.private_key),
        "Incorrect private key": (good.certificate, tmp_path / "gone.key"),
        "Private key needs a password": (good.certificate, locked),
        "Certificate and private key do not match": (good.certificate, other.private_key),
        "pacs, pacskit teaching authority": (good.certificate, good.private_key),
    }
