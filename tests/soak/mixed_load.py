"""Rounds of what peers and people do to one station, several at once; bounded by their count, made from a seed."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

import pacskit
from pacskit.dimse.client import ClientAssociation, Context, echo
from pacskit.dimse.storage_classes import VERIFICATION
from pacskit.dimse.upper.pdu import AssociateRequest, ProposedContext
from pacskit.errors import AssociationRejected
from pacskit.peers import PeerAddress
from pacskit.simulator import phantoms
from tests.archive.conftest import encode, make
from tests.peers import find_peer

EXPLICIT = str(ExplicitVRLittleEndian)
CT, MR = str(CTImageStorage), str(MRImageStorage)
CONTEXTS: list[Context] = [(CT, (EXPLICIT,)), (MR, (EXPLICIT,)), (VERIFICATION, (EXPLICIT,))]
UNKNOWN_CLASS = "1.2.826.0.1.3680043.9.9999.1"
SIZES = {CT: (2_000, 526_000, 526_000, 5_000_000), MR: (400, 132_000, 132_000, 33_000)}
"""Bytes of one instance: some tiny, most as scanners send them, some large."""
LANES = 4
MOST_STUDIES = 60


class _Stop(Exception):
    """Our own, in the middle of a data set."""


class MixedLoad:
    """`round()` does each act once or more, in four threads; `acknowledged` is what must be there afterwards."""

    def __init__(self, peer: PeerAddress, archive: Path, work: Path, seed: int) -> None:
        self.peer, self.archive, self._work = peer, archive, work
        self._chance = random.Random(seed)
        self.acknowledged: dict[str, bytes] = {}
        self._study_of: dict[str, str] = {}
        self._classes: dict[str, str] = {}
        self._lock, self._notebook = threading.Lock(), threading.Lock()
        self._studies = 0
        self.rounds = 0
        self._phantoms = phantoms.write(work / "phantoms", ("ct", "mr"), slices=4, size=128)
        self._import = work / "import"
        self._import.mkdir()

    def round(self) -> None:
        """Raises what the first act raised that did not go as it should."""
        self.rounds += 1
        acts: list[Callable[[random.Random], None]] = [
            *[self.new_study] * 4, self.by_storescu, self.by_storescu, self.echo, self.again, self.again,
            self.other_content, self.aborted, self.lost, self.aborted_by_storescu, self.refused_class,
            self.no_study, self.noise, self.read, self.follow, self.settings, self.import_files,
        ]  # fmt: skip
        self._chance.shuffle(acts)
        lanes = [(acts[number::LANES], random.Random(self._chance.random())) for number in range(LANES)]

        def lane(given: tuple[Sequence[Callable[[random.Random], None]], random.Random]) -> None:
            mine, chance = given
            for act in mine:
                act(chance)

        with ExitStack() as silent:
            for said in (b"", b"", b"\1\0\0"):
                sock = silent.enter_context(socket.create_connection((self.peer.host, self.peer.port)))
                sock.sendall(said)
            with ThreadPoolExecutor(LANES) as pool:
                list(pool.map(lane, lanes))
        self.rename()
        self.make_room()

    # -- peers

    def _associate(self, calling: str = "SCANNER") -> ClientAssociation:
        return ClientAssociation(self.peer, CONTEXTS, calling_ae=calling, timeout=60)

    def _instances(self, chance: random.Random, most: int = 12) -> Iterator[tuple[str, str, bytes]]:
        """(SOP Class UID, SOP Instance UID, data set) of a new study."""
        with self._lock:
            self._studies += 1
            study = f"1.2.{self._studies}"
        kind = chance.choice((CT, MR))
        for number in range(1, chance.randint(2, most)):
            uid, content = f"{study}.1.{number}", bytes([number]) * chance.choice(SIZES[kind])
            made = make(uid, study, f"{study}.1", SOPClassUID=kind, Modality="CT" if kind == CT else "MR",
                        PatientID=study[-3:], InstanceNumber=number, EncapsulatedDocument=content)  # fmt: skip
            yield kind, uid, encode(made)

    def _keep(self, kind: str, uid: str, body: bytes) -> None:
        with self._lock:
            self.acknowledged[uid] = body
            self._study_of[uid], self._classes[uid] = uid.rsplit(".", 2)[0], kind

    def _one_known(self, chance: random.Random) -> tuple[str, str, bytes] | None:
        with self._lock:
            if not self.acknowledged:
                return None
            uid = chance.choice(list(self.acknowledged))
            return self._classes[uid], uid, self.acknowledged[uid]

    @staticmethod
    def _store(association: ClientAssociation, kind: str, uid: str, body: bytes) -> int:
        return association.store(kind, uid, EXPLICIT, iter([memoryview(body)]), len(body)).status

    def new_study(self, chance: random.Random) -> None:
        with self._associate() as association:
            for kind, uid, body in self._instances(chance):
                assert self._store(association, kind, uid, body) == 0
                self._keep(kind, uid, body)

    def again(self, chance: random.Random) -> None:
        if known := self._one_known(chance):
            with self._associate("AGAIN") as association:
                assert [self._store(association, *known) for _ in range(3)] == [0, 0, 0]

    def other_content(self, chance: random.Random) -> None:
        if known := self._one_known(chance):
            kind, uid, body = known
            with self._associate("OTHER") as association:
                assert self._store(association, kind, uid, body[:-1] + bytes([body[-1] ^ 1])) == 0

    def aborted(self, chance: random.Random) -> None:
        """By our A-ABORT, in the middle of a data set."""
        kind, uid, body = next(self._instances(chance))

        def half() -> Iterator[memoryview]:
            yield memoryview(body)[: len(body) // 4 * 2]
            raise _Stop

        with pytest.raises(_Stop), self._associate("ABORTS") as association:
            association.store(kind, uid, EXPLICIT, half(), len(body))

    def lost(self, chance: random.Random) -> None:
        """The connection goes, without a word, once the association stands."""
        request = AssociateRequest(
            called_ae_title=self.peer.ae_title,
            calling_ae_title="LOST",
            contexts=(ProposedContext(1, CT, (EXPLICIT,)),),
            implementation_class_uid="1.2",
            implementation_version_name="LOST",
        )
        with socket.create_connection((self.peer.host, self.peer.port), 60) as sock:
            sock.sendall(request.encode())
            assert sock.recv(1) == b"\2"

    def refused_class(self, chance: random.Random) -> None:
        contexts = [(UNKNOWN_CLASS, (EXPLICIT,)), CONTEXTS[2]]
        with ClientAssociation(self.peer, contexts, timeout=60) as association:
            assert association.accepted.keys() == {(VERIFICATION, EXPLICIT)}

    def no_study(self, chance: random.Random) -> None:
        body = encode(make("1.9.9", StudyInstanceUID=None))
        with self._associate("WRONG") as association:
            assert self._store(association, CT, "1.9.9", body) >> 12 in (0xA, 0xC)
            assert association.echo().done

    def noise(self, chance: random.Random) -> None:
        with socket.create_connection((self.peer.host, self.peer.port), 60) as sock:
            sock.sendall(chance.randbytes(300))
            while sock.recv(1000):
                pass

    def echo(self, chance: random.Random) -> None:
        for _ in range(5):
            assert echo(self.peer, timeout=60).done

    def _storescu(self, *options: str) -> None:
        command = [find_peer("storescu"), *options, "-xe", "-aec", self.peer.ae_title]
        command += [self.peer.host, str(self.peer.port), *map(str, self._phantoms)]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def by_storescu(self, chance: random.Random) -> None:
        """New ones, or duplicates where they were not deleted since."""
        self._storescu()

    def aborted_by_storescu(self, chance: random.Random) -> None:
        self._storescu("--abort")

    # -- people

    @contextmanager
    def _attach(self) -> Iterator[pacskit.Station]:
        """One at a time: in one process a new Station takes the place of the one before."""
        with self._notebook, pacskit.Station(self.archive) as station:
            assert station.background.attached
            yield station

    def read(self, chance: random.Random) -> None:
        with pacskit.open(self.archive) as archive:
            archive.studies(PatientName="D*")
            archive.table("instance", Modality="MR")

    def follow(self, chance: random.Random) -> None:
        with self._attach() as station:
            station.studies()
            station.listener.totals()
            station.metrics().prometheus()

    def settings(self, chance: random.Random) -> None:
        with self._attach() as station:
            station.apply({"listener": {"artim_timeout": chance.choice((20.0, 30.0, 40.0))}})
            station.apply({"listener": {"max_pdu": chance.choice((16384, 65536, 131072))}})
            station.apply({"archive": {"stable_after": chance.choice((1.0, 5.0))}})

    def import_files(self, chance: random.Random) -> None:
        found = list(self._instances(chance, 5))
        folder = self._import / found[0][1]
        folder.mkdir()
        for kind, uid, body in found:
            (folder / f"{uid}.dcm").write_bytes(_part10(kind, uid, body))
        with self._attach() as station:
            report = station.import_paths([folder, self._phantoms[0].parent])
        assert report.stored >= len(found), report
        for one in found:
            self._keep(*one)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    def rename(self) -> None:
        """Another AE title, at which the old one is refused; and back."""
        with self._attach() as station:
            station.apply({"listener": {"ae_title": "OTHER_NAME"}})
            with pytest.raises(AssociationRejected, match="called AE title"):
                echo(self.peer, timeout=60)
            station.apply({"listener": {"ae_title": self.peer.ae_title}})
            assert echo(self.peer, timeout=60).done

    def make_room(self) -> None:
        """One study is deleted and restored; where there are many, the older half goes for good."""
        with self._attach() as station:
            studies = list(station.studies().sort_values("received_at")["study_uid"])
            trashed = station.archive.delete(studies[0])
            assert not station.archive.restore(trashed.id).kept
            if len(studies) > MOST_STUDIES:
                self._delete(station, studies[: MOST_STUDIES // 2])

    def _delete(self, station: Any, studies: Sequence[str]) -> None:
        station.archive.delete(list(studies))
        station.archive.empty_trash()
        gone = set(studies)
        for uid in [uid for uid, study in self._study_of.items() if study in gone]:
            del self.acknowledged[uid], self._study_of[uid], self._classes[uid]


def _part10(kind: str, uid: str, body: bytes) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, uid
    meta.TransferSyntaxUID = EXPLICIT
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(128) + b"DICM" + buffer.getvalue() + body
