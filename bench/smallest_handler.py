"""A receiver by pynetdicom, the smallest possible: `python smallest_handler.py PORT AET FOLDER`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, _config, evt

EXPLICIT_LE, IMPLICIT_LE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"


def main(port: int, ae_title: str, folder: Path) -> None:
    _config.LOG_HANDLER_LEVEL = "none"
    ae = AE(ae_title)
    ae.maximum_pdu_size = 131072
    ae.maximum_associations = 1000
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), [EXPLICIT_LE, IMPLICIT_LE])
    ae.add_supported_context("1.2.840.10008.1.1")

    def store(event: evt.Event) -> int:
        path = folder / str(event.request.AffectedSOPInstanceUID)  # type: ignore[union-attr]
        path.write_bytes(event.encoded_dataset())
        return 0

    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
