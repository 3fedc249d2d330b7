"""What index-schema-1.sql, an index of schema 1, was made of; run with that version's code it makes it again.

PYTHONPATH=<tree of bf78161> python tests/archive/schema_1.py > tests/archive/index-schema-1.sql
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from pacskit.archive.header import KEYWORDS, VR_OF, Header
from pacskit.archive.rows import Row

PATIENTS = (
    {"PatientID": "001", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101", "PatientSex": "F"},
    {"PatientID": "001", "PatientName": "DOE^JANE", "PatientBirthDate": "19700101", "PatientSex": ""},
    {"PatientID": "001", "PatientName": "Roe^Richard", "PatientBirthDate": "", "PatientSex": "M"},
    {"PatientID": "", "PatientName": "Яков^Müller=山田", "PatientBirthDate": "", "PatientSex": ""},
)


def rows(**more: Any) -> list[Row]:
    """Instances of three studies, with conflicts and ties; `more` attributes for all of them."""
    nothing = {keyword: None if VR_OF[keyword] in ("IS", "US") else "" for keyword in KEYWORDS}
    made = []
    for number, (study, series, who) in enumerate(itertools.product("123", "12", PATIENTS), 1):
        found = nothing | who | {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.{series}"}
        found |= {"SOPInstanceUID": f"9.{number}", "SOPClassUID": "1.2", "InstanceNumber": number}
        found |= {
            "Modality": "CT" if series == "1" else "",
            "StudyDate": "20260131",
            "StudyDescription": f"{number % 5}",
        }
        sender = "CT99" if number % 3 else "MR1"
        header = Header(found | more, "1.2.840.10008.1.2", 1_700_000_000_000 + number // 4, sender)
        made.append(Row(header, f"studies/{number}.dcm", number))
    return made


if __name__ == "__main__":
    from pacskit.archive.index import IndexWriter

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "index.sqlite"
        index = IndexWriter(path, lambda rows, conflicts: None, lambda reason: None)
        for row in reversed(rows()):
            index.put(row)
        index.close()
        connection = sqlite3.connect(path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        sys.stdout.write("\n".join((*connection.iterdump(), f"PRAGMA user_version={version};", "")))
        connection.close()
