"""What can be stored: every standard storage SOP class, the vendors' well-known private ones, and in which
transfer syntaxes. Data, taken from pydicom's UID dictionary, which follows PS3.6 annex A.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

from pacskit.archive.elements import BIG_ENDIAN, EXPLICIT, IMPLICIT
from pacskit.archive.importing import DICOMDIR_CLASS
from pacskit.dimse.command import VERIFICATION_SOP_CLASS

VERIFICATION = VERIFICATION_SOP_CLASS
IMPLICIT_LE = IMPLICIT
EXPLICIT_LE = EXPLICIT
EXPLICIT_BE = BIG_ENDIAN

_NOT_DATA_SETS = {"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20"}
"""MIME, XML and Papyrus: retired, and not encodings of a data set that a file can hold."""
_NOT_STORED = {DICOMDIR_CLASS}
"""Media Storage Directory: a file on a medium, never sent (PS3.4 I)."""

TRANSFER_SYNTAXES: frozenset[str] = frozenset(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "Transfer Syntax" and uid not in _NOT_DATA_SETS
)

STANDARD: frozenset[str] = frozenset(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "SOP Class"
    and "Storage" in entry[0]
    and "Storage Commitment" not in entry[0]
    and uid not in _NOT_STORED
)

KNOWN_PRIVATE: Mapping[str, str] = {
    "1.3.12.2.1107.5.9.1": "Siemens CSA Non-Image Storage",
    "1.3.12.2.1107.5.99.3.10": "Siemens CT MR Volume Storage",
    "1.3.12.2.1107.5.99.3.11": "Siemens AX Frame Sets Storage",
    "1.2.840.113619.4.2": "GE DICOM CT Image Info Object Storage",
    "1.2.840.113619.4.3": "GE DICOM Display Image Info Object Storage",
    "1.2.840.113619.4.26": "GE 3D Model Storage",
    "1.2.840.113619.4.27": "GE eNTEGRA Protocol or NM Genie Storage",
    "1.2.840.113619.4.30": "GE PET Raw Data Storage",
    "1.2.840.113619.4.5.249": "GE RT Plan Storage",
    "1.3.46.670589.2.3.1.1": "Philips Specialised XA Storage",
    "1.3.46.670589.2.4.1.1": "Philips CX Image Storage",
    "1.3.46.670589.2.5.1.1": "Philips 3D Presentation State Storage",
    "1.3.46.670589.2.8.1.1": "Philips VRML Storage",
    "1.3.46.670589.2.11.1.1": "Philips Volume Set Storage",
    "1.3.46.670589.5.0.1": "Philips Volume Storage",
    "1.3.46.670589.5.0.1.1": "Philips Volume Image Storage",
    "1.3.46.670589.5.0.2": "Philips 3D Object Storage",
    "1.3.46.670589.5.0.2.1": "Philips 3D Object 2 Storage",
    "1.3.46.670589.5.0.3": "Philips Surface Storage",
    "1.3.46.670589.5.0.3.1": "Philips Surface 2 Storage",
    "1.3.46.670589.5.0.4": "Philips Composite Object Storage",
    "1.3.46.670589.5.0.7": "Philips MR Cardio Profile Storage",
    "1.3.46.670589.5.0.8": "Philips MR Cardio Storage",
    "1.3.46.670589.5.0.8.1": "Philips MR Cardio 2 Storage",
    "1.3.46.670589.5.0.9": "Philips CT Synthetic Image Storage",
    "1.3.46.670589.5.0.10": "Philips MR Synthetic Image Storage",
    "1.3.46.670589.5.0.11": "Philips MR Cardio Analysis Storage",
    "1.3.46.670589.5.0.11.1": "Philips MR Cardio Analysis 2 Storage",
    "1.3.46.670589.5.0.12": "Philips CX Synthetic Image Storage",
    "1.3.46.670589.5.0.13": "Philips Perfusion Storage",
    "1.3.46.670589.5.0.14": "Philips Perfusion Image Storage",
    "1.3.46.670589.7.8.1618510091": "Philips X-Ray Multi-frame Storage",
    "1.3.46.670589.7.8.1618510092": "Philips Live Run Storage",
    "1.3.46.670589.7.8.16185100129": "Philips Run Storage",
    "1.3.46.670589.7.8.16185100130": "Philips Reconstruction Storage",
    "1.3.46.670589.11.0.0.12.1": "Philips MR Spectrum Storage",
    "1.3.46.670589.11.0.0.12.2": "Philips MR Series Data Storage",
    "1.3.46.670589.11.0.0.12.3": "Philips MR Color Image Storage",
    "1.3.46.670589.11.0.0.12.4": "Philips MR Examcard Storage",
    "1.2.840.113543.6.6.1.3.10001": "Philips Live 3D 01 Storage",
    "1.2.840.113543.6.6.1.3.10002": "Philips Live 3D 02 Storage",
    "1.2.392.200036.9116.7.8.1.1.1": "Toshiba US Image Storage",
    "2.16.840.1.114033.5.1.4.1.1.130": "PMOD Multi-frame Image Storage",
}

STANDARD_ROOT = "1.2.840.10008."


class AnyPrivate(dict[str, frozenset[str]]):
    """Supported contexts where every class outside the standard's root is taken as well."""

    def get(self, key: str, default: object = None) -> frozenset[str] | None:  # type: ignore[override]
        found = super().get(key)
        if found is None and not key.startswith(STANDARD_ROOT):
            return TRANSFER_SYNTAXES
        return found


def supported_contexts(*, accept_private: str = "known", store: bool = True) -> Mapping[str, frozenset[str]]:
    """Abstract syntax → transfer syntaxes a listener accepts.

    Verification in the uncompressed syntaxes; the storage classes, with `store`, in all.
    `accept_private`: `known` vendors' classes, or `all`.
    """
    contexts = AnyPrivate() if accept_private == "all" and store else dict[str, frozenset[str]]()
    contexts[VERIFICATION] = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE})
    if store:
        for uid in (*STANDARD, *KNOWN_PRIVATE):
            contexts[uid] = TRANSFER_SYNTAXES
    return contexts


def name_of(uid: str) -> str:
    """The name of a SOP class, or the UID itself."""
    entry = UID_dictionary.get(uid)
    return entry[0] if entry else KNOWN_PRIVATE.get(uid, uid)
