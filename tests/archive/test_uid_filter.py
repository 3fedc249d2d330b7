"""The filter in front of the index never says "not here" of what is here."""

from __future__ import annotations

import threading
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pacskit.archive import Archive, uid_filter
from pacskit.archive.uid_filter import UidFilter
from pacskit.events import EventBus
from tests.archive.conftest import make, send_to


@given(st.lists(st.text("0123456789.", min_size=1, max_size=64), max_size=200))
def test_what_was_added_is_never_lacking(uids: list[str]) -> None:
    known = UidFilter()
    known.add(uids)
    assert not any(known.lacks(uid) for uid in [*uids, "9.9"]), "before all are known, anything may be here"
    known.complete = True
    assert not any(known.lacks(uid) for uid in uids)


def test_it_grows_and_stays_right() -> None:
    known = UidFilter()
    many = 3 * uid_filter.SMALLEST
    threads = [
        threading.Thread(target=lambda n=n: known.add(f"1.2.{i}" for i in range(n, many, 4)))  # type: ignore[misc]
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known.complete = True
    assert not any(known.lacks(f"1.2.{i}") for i in range(many))
    wrong = sum(not known.lacks(f"1.3.{i}") for i in range(20_000))
    assert wrong < 400, "the index is asked for 1 of 50 at most"


def test_an_index_that_was_here_before_is_known(tmp_path: Path) -> None:
    """A duplicate under another study: only the index knows it, and the filter must send to it."""
    with Archive.create_or_open(tmp_path, EventBus()) as archive:
        send_to(archive, make("1.2.3.1"))
    with Archive.create_or_open(tmp_path, EventBus()) as archive:
        archive._owner.index._learning.join()  # type: ignore[union-attr]
        assert send_to(archive, make("1.2.3.1")).duplicate
        assert send_to(archive, make("1.2.3.1", StudyInstanceUID="1.2.77")).aside
        archive.rebuild()
        archive._owner.index._learning.join()  # type: ignore[union-attr]
        assert send_to(archive, make("1.2.3.1", StudyInstanceUID="1.2.78")).aside
        assert not send_to(archive, make("1.2.3.2")).duplicate
