"""The channel's messages: one JSON object a line, UTF-8, of limited length.

client: {"hello": {...}}, then {"id": 1, "ask": "apply", "with": {...}}
        {"id": 2, "ask": "cancel", "with": {"id": 1}} ends soon what question 1 set going
owner:  {"welcome": {...}}, then {"id": 1, "answer": ...} or {"id": 1, "error": {...}}, and unasked
        {"state": {...}}, {"events": [...]}, {"dropped": 3}, {"ending": "why"}; before the answer of a work
        {"id": 1, "progress": ...}; a long answer is the message that several {"id": 1, "piece": "..."} make
        together, then {"id": 1, "pieces": 7}
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

PROTOCOL = 1
"""Raised when an older end would misunderstand; `status` and `stop` must go on working with every number."""
LONGEST_HELLO = 4096
LONGEST_REQUEST = 1 << 24
LONGEST_ANSWER = 1 << 26
"""Bytes of one line."""
PIECE = 1 << 20
"""Bytes of an answer that go in one line: a report may name a million files."""

Message = dict[str, Any]


class BadMessage(ValueError):
    """What came is no message; the channel cannot go on."""


def encode(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def answer(message: Message) -> bytes:
    """The lines of an answer, one or several."""
    line = encode(message)
    if len(line) <= PIECE:
        return line
    text, number = line.decode("ascii"), message["id"]
    pieces = [{"id": number, "piece": text[at : at + PIECE]} for at in range(0, len(text), PIECE)]
    return b"".join(map(encode, [*pieces, {"id": number, "pieces": len(pieces)}]))


def read(stream: BinaryIO, longest: int) -> Message | None:
    """The next message; None at the end. Raises BadMessage, OSError."""
    line = stream.readline(longest + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise BadMessage("a message was cut short" if len(line) <= longest else "a message is too long")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise BadMessage("a message is no JSON") from None
    if not isinstance(message, dict):
        raise BadMessage("a message is no object")
    return message
