"""Send instances to a peer: which contexts to ask for, and each as it is stored where the peer takes it.

What the peer does not take as stored is re-encoded without compression (Explicit, else Implicit VR Little
Endian); where that can't be done the instance has failed, with the reason, and the others go on.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

from pacskit.certificates import Handshakes
from pacskit.dimse.client import MOST_CONTEXTS, ClientAssociation, Context, Response
from pacskit.dimse.storage_classes import EXPLICIT_LE, IMPLICIT_LE, name_of
from pacskit.errors import AssociationError, PacskitError, PixelError
from pacskit.peers import PeerAddress

UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE)


class Outgoing(Protocol):
    """An instance to send."""

    @property
    def label(self) -> str: ...
    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def transfer_syntax_uid(self) -> str: ...
    @property
    def length(self) -> int:
        """Bytes of the data set as stored."""

    def pieces(self) -> Iterator[memoryview]:
        """The data set as stored, in pieces."""

    def dataset(self) -> Dataset:
        """For re-encoding."""


@dataclass(slots=True, repr=False)
class SendReport:
    """What became of each instance."""

    sent: int = 0
    warnings: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(what, why)"""
    bytes: int = 0
    seconds: float = 0.0

    def __repr__(self) -> str:
        return f"<SendReport: {self}>"

    def __str__(self) -> str:
        rate = self.sent / self.seconds if self.seconds else 0.0
        text = f"{self.sent} sent in {self.seconds:.1f} s ({rate:.0f}/s, {self.bytes / 1e6:.1f} MB)"
        return text + (f", {len(self.failed)} failed" if self.failed else "")


@dataclass(frozen=True, slots=True)
class InMemory:
    """A data set that is in memory, encoded in its own transfer syntax."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    content: bytes
    source: Dataset

    @classmethod
    def of(cls, dataset: Dataset) -> InMemory:
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        content = encode(dataset, syntax)
        return cls(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), str(syntax), content, dataset)

    @property
    def label(self) -> str:
        return self.sop_instance_uid

    @property
    def length(self) -> int:
        return len(self.content)

    def pieces(self) -> Iterator[memoryview]:
        yield memoryview(self.content)

    def dataset(self) -> Dataset:
        return self.source


def encode(dataset: Dataset, syntax: UID) -> bytes:
    """The data set's bytes, without file meta, in an uncompressed or its own transfer syntax."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax.is_little_endian, syntax.is_implicit_VR
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def associations(instances: Iterable[Outgoing]) -> Iterator[tuple[list[Context], Iterable[Outgoing]]]:
    """Instances in groups whose presentation contexts fit into one association, in their order.

    What is not a sequence is taken one by one while it is sent, an association for each run of one class
    and syntax: so a scanner sends while it acquires, and nothing piles up in memory.
    """
    if not isinstance(instances, Sequence):
        for _, run in itertools.groupby(instances, key=lambda i: (i.sop_class_uid, i.transfer_syntax_uid)):
            first = next(run)
            yield _contexts(first), itertools.chain([first], run)  # noqa: B031 - the one use of it
        return
    contexts: dict[Context, None] = {}
    group: list[Outgoing] = []
    for instance in instances:
        wanted = _contexts(instance)
        if len(contexts.keys() | set(wanted)) > MOST_CONTEXTS:
            yield list(contexts), group
            contexts, group = {}, []
        contexts.update(dict.fromkeys(wanted))
        group.append(instance)
    if group:
        yield list(contexts), group


def _contexts(instance: Outgoing) -> list[Context]:
    """One for the syntax as stored, and one for each we can re-encode to."""
    syntaxes = dict.fromkeys((instance.transfer_syntax_uid, *UNCOMPRESSED))
    return [(instance.sop_class_uid, (syntax,)) for syntax in syntaxes]


def send_one(association: ClientAssociation, instance: Outgoing) -> Response:
    """C-STORE one instance, as stored where accepted. Raises PixelError or AssociationError."""
    sop_class, syntax = instance.sop_class_uid, instance.transfer_syntax_uid
    if (sop_class, syntax) in association.accepted:
        return association.store(
            sop_class, instance.sop_instance_uid, syntax, instance.pieces(), instance.length
        )
    for other in UNCOMPRESSED:
        if (sop_class, other) in association.accepted:
            content = _reencoded(instance, other)
            return association.store(
                sop_class, instance.sop_instance_uid, other, iter([memoryview(content)]), len(content)
            )
    what = f"{name_of(sop_class)}, neither in {UID(syntax).name} nor uncompressed"
    raise PixelError(f"{association.peer} does not accept {what}")


def _reencoded(instance: Outgoing, syntax: str) -> bytes:
    try:
        dataset = instance.dataset()
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        return encode(dataset, UID(syntax))
    except Exception as error:
        raise PixelError(f"cannot be re-encoded as {UID(syntax).name}: {error}") from error


def send(
    peer: PeerAddress,
    instances: Iterable[Outgoing],
    *,
    calling_ae: str = "PACSKIT",
    progress: Callable[[SendReport], None] | None = None,
    timeout: float = 60.0,
    tls: Handshakes | None = None,
) -> SendReport:
    """Send instances, one association after the other. Raises AssociationError when the peer can't be had.

    An association lost on the way fails the instances it still held; what was answered stays counted.
    """
    report = SendReport()
    began = time.monotonic()
    for contexts, group in associations(instances):
        with ClientAssociation(
            peer, contexts, calling_ae=calling_ae, timeout=timeout, tls=tls
        ) as association:
            _send_group(association, group, report, began, progress)
    report.seconds = time.monotonic() - began
    return report


def _send_group(
    association: ClientAssociation,
    group: Iterable[Outgoing],
    report: SendReport,
    began: float,
    progress: Callable[[SendReport], None] | None,
) -> None:
    left = iter(group)
    for instance in left:
        try:
            response = send_one(association, instance)
        except AssociationError as error:
            report.failed += [(unsent.label, str(error)) for unsent in itertools.chain([instance], left)]
            return
        except PacskitError as error:
            report.failed.append((instance.label, str(error)))
            continue
        if response.done:
            report.sent += 1
            report.bytes += instance.length
            if response.status:
                report.warnings.append((instance.label, f"status {response.status:04X}H {response.comment}"))
        else:
            reason = f"status {response.status:04X}H" + (f": {response.comment}" if response.comment else "")
            report.failed.append((instance.label, reason))
        report.seconds = time.monotonic() - began
        if progress is not None:
            progress(report)
