"""What came of a click, below the buttons: said by shape, words and colour."""

from __future__ import annotations

from collections.abc import Iterable

from pacskit.widgets import words


def done(lines: Iterable[str]) -> str:
    told = "".join(f"<div>{words.text(line)}</div>" for line in lines)
    return f'<div class="pk-done" role="status">{told}</div>'


def alert(sentence: str) -> str:
    """The seed's message first and alone, then what helps."""
    head, message, rest = sentence.partition("The address is protected. ")
    first, then = (head + message.rstrip(". "), rest) if message else (sentence, "")
    more = f"<div>{words.text(then)}</div>" if then else ""
    return f'<div class="pk-alert" role="alert"><b>▲ {words.text(first)}</b>{more}</div>'
