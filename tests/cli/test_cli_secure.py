"""`pacskit serve` with the Secure DICOM Listener: its line, and that it serves."""

from __future__ import annotations

import ssl
from pathlib import Path

from test_cli_serve_settings import Serving

from pacskit.certificates import Authority


def test_serve_the_secure_one_alone(tmp_path: Path) -> None:
    issued = Authority.create(tmp_path / "ca").issue("pacs")
    values = {
        "enabled": "true",
        "host": "127.0.0.1",
        "port": "0",
        "certificate": issued.certificate,
        "private_key": issued.private_key,
    }
    line = [word for name, value in values.items() for word in ("--set", f"secure_listener.{name}={value}")]
    with Serving(tmp_path / "a", *line) as served:
        port = served.ready.pop("port")
        assert served.ready == {"service": "secure_listener", "host": "127.0.0.1", "ae_title": "PACSKIT_TLS"}
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=20)
        assert shown.strip() in issued.certificate.read_text()
