"""What a file is that is no DICOM file, by its first bytes: so that a person knows what was left out."""

from __future__ import annotations

START = 1024
"""Bytes from the file's start that are needed."""

_FIRST = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"PK\x03\x04", "a zip archive (or an office document): unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"NRRD", "an NRRD file"),
    (b"\x89HDF", "an HDF5 file (as MINC)"),
    (b"CDF\x01", "a netCDF file (as MINC)"),
    (b"SQLite format 3", "an SQLite database"),
    (b"# === DATA DESCRIPTION FILE", "a Philips PAR file"),
    (b"ObjectType", "a MetaImage header"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"<?xml", "an XML file"),
    (b"{\\rtf", "a text document"),
)
_NIFTI = (b"n+1\0", b"ni1\0")


def foreign(start: bytes, name: str) -> str:
    """As in `a NIfTI file`; empty where nothing is known."""
    lower = name.lower()
    if start[344:348] in _NIFTI or start[4:8] in (b"n+2\0", b"ni2\0"):
        return "a NIfTI file"
    if start[:2] == b"\x1f\x8b":
        return "a NIfTI file (gzip)" if lower.endswith(".nii.gz") else "a gzip file: unpack it first"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if start[4:8] == b"ftyp":
        return "a video"
    for first, what in _FIRST:
        if start.startswith(first):
            return what
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:5].lower()
    if text in (b"<html", b"<!doc"):
        return "a web page"
    if start and not any(byte < 9 or 13 < byte < 32 for byte in start):
        return "a JSON file" if text[:1] in (b"{", b"[") else "a text file"
    return ""
