"""The dialog "Trusted peer certificates" (seed 12.1.4, step 4): the list, ADD, REMOVE, REMOVE ALL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pacskit.certificates.contents import CERTIFICATE_SUFFIXES, read_file
from pacskit.certificates.naming import certificate_name, now_utc
from pacskit.certificates.trust import AlreadyTrusted, Doubtful, Trusted, TrustedList
from pacskit.errors import CertificateError
from pacskit.station import Station
from pacskit.widgets import uploads, words
from pacskit.widgets.buttons import button
from pacskit.widgets.dialog import Dialog
from pacskit.widgets.errand import Errand
from pacskit.widgets.file_field import FileField
from pacskit.widgets.form import Form

# Told apart by shape as well as by colour; the words say the same.
MARKS = {"ok": "●", "expires soon": "◆", "expired": "▲", "not yet valid": "◇", "not an authority": "■"}
NAMED = 3
"""Authorities that the row names."""


class TrustedDialog(Dialog):
    """Works on a list of its own until its OK."""

    title = "Trusted peer certificates"
    names = ("trusted",)

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        super().__init__(station, form, touched, ready)
        self.paths["add"] = FileField("add", "Certificate file", CERTIFICATE_SUFFIXES, "add:")
        self.list = TrustedList()
        self._selected = ""
        self._doubtful: tuple[bytes, str] | None = None
        """A file's content and name, which is added only knowingly."""
        self._done = ""
        self._read: tuple[str, bytes] | None = None
        self._errand = Errand(touched)
        self._parsed: tuple[object, TrustedList, str] = ((), TrustedList(), "")

    # -- what the row says

    def in_words(self, value: Any) -> str:
        """2 authorities: Hospital CA, Other CA."""
        found, wrong = self._of(value)
        if wrong:
            return wrong
        names = [certificate_name(entry.certificate) for entry in found]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        several = "authority" if len(names) == 1 else "authorities"
        return f"{len(names)} {several}: {', '.join(names[:NAMED])}{more}" if names else "none"

    def summary(self) -> str:
        value, now = self._form.fields["trusted"].raw, now_utc()
        states = [entry.state(now)[0] for entry in self._of(value)[0]]
        bad = [
            f"{states.count(state)} {state}"
            for state in ("expired", "expires soon", "not yet valid")
            if state in states
        ]
        warned = f' <span class="pk-remark">▲ {words.text(", ".join(bad))}</span>' if bad else ""
        return words.text(self.in_words(value)) + warned

    def _of(self, value: Any) -> tuple[TrustedList, str]:
        if self._parsed[0] is not value:
            try:
                self._parsed = (value, TrustedList.of(value or ()), "")
            except CertificateError as error:
                self._parsed = (value, TrustedList(), str(error))
        return self._parsed[1:]

    # -- what is done

    def cancel(self) -> None:
        super().cancel()
        self.list, self._selected, self._doubtful, self._done = TrustedList(), "", None, ""

    def close(self) -> None:
        super().close()
        self._errand.end()

    @property
    def pending(self) -> bool:
        return self.is_open and self.list.texts != self._of(self._form.fields["trusted"].raw)[0].texts

    def do(self) -> None:
        super().do()
        read, self._read = self._read, None
        if self._errand.failure:
            self._said, self._errand.failure = self._errand.failure, ""
        if read is not None and self.is_open:
            self._add(*read)

    def _opened(self) -> None:
        self.list, self._said = self._of(self._form.fields["trusted"].raw)
        self.paths["add"].put("")

    def _act(self, key: str) -> None:
        verb, _, what = key.partition(":")
        if verb not in ("select", "ok", "cancel"):
            self._said, self._done = "", ""
        if verb == "select":
            self._selected = what
        elif verb == "add":
            self._look(self.paths["add"].text.strip())
        elif verb == "knowingly" and self._doubtful is not None:
            content, name = self._doubtful
            self._add(name, content, knowingly=True)
        elif verb == "remove" and self._selected:
            self._remove()
        elif verb == "remove-all":
            self._done = f"{words.count(len(self.list), 'certificate')} removed." if len(self.list) else ""
            self.list, self._selected = TrustedList(), ""
        elif verb == "ok":
            self._form.fields["trusted"].put(self.list.texts)
            self.cancel()
        elif verb == "cancel":
            self.cancel()
        if verb not in ("knowingly", "select"):
            self._doubtful = None

    def _look(self, path: str) -> None:
        """Read it in a thread: a drive may hang."""
        if not path:
            self._said = "Enter the path of a certificate's file, or upload one by BROWSE"
            return
        file = Path(path)

        def read() -> None:
            self._read = (file.name, read_file(file, CERTIFICATE_SUFFIXES))

        self._errand.begin(read)

    def _uploaded(self, name: str, claim: str, data: bytes | None) -> None:
        self._said, self._done, self._doubtful = "", "", None
        try:
            name = uploads.judged(claim, data, CERTIFICATE_SUFFIXES)
        except CertificateError as error:
            self._said = str(error)
            return
        self._add(name, data or b"")

    def _add(self, name: str, content: bytes, *, knowingly: bool = False) -> None:
        before = {entry.fingerprint for entry in self.list}
        self._doubtful = None
        try:
            self.list = self.list.add(content, knowingly=knowingly, name=name)
        except AlreadyTrusted as error:
            self.list, self._said = error.rest, str(error)
        except Doubtful as error:
            self._doubtful, self._said = (content, name), str(error)
            return
        except CertificateError as error:
            self._said = str(error)
            return
        new = [entry for entry in self.list if entry.fingerprint not in before]
        if new:
            self._done = f"Added: {'; '.join(entry.subject for entry in new[:NAMED])}"
            self._done += f" and {len(new) - NAMED} more" if len(new) > NAMED else ""
            self._selected = new[-1].fingerprint
            if self.paths["add"].text:
                self.paths["add"].put("")

    def _remove(self) -> None:
        places = [entry.fingerprint for entry in self.list]
        if self._selected in places:
            place = places.index(self._selected)
            self._done = f"Removed: {self.list.entries[place].subject}"
            self.list = self.list.remove(self._selected)
            left = self.list.entries
            self._selected = left[min(place, len(left) - 1)].fingerprint if left else ""

    def _step(self, by: int) -> None:
        if places := [entry.fingerprint for entry in self.list]:
            now = places.index(self._selected) if self._selected in places else -1 if by > 0 else len(places)
            self._selected = places[min(max(now + by, 0), len(places) - 1)]

    # -- what is shown

    def _show(self) -> None:
        self.top.show(
            f'<h4>{self.title}</h4><p class="pk-quiet">Certificates of authorities (root certificates): '
            f"clients whose certificate one of them signed are accepted. Kept by content: the files may go "
            f"afterwards.</p>{self._rows()}"
        )
        self.middle.show(self.paths["add"].html())
        busy = self._errand.busy
        few = not len(self.list)
        tools = button("add:", "Reading …" if busy else "ADD", off=busy)
        tools += button("remove:", "REMOVE", off=not self._selected)
        tools += button("remove-all:", "REMOVE ALL", off=few)
        done = f'<div class="pk-done" role="status">{words.text(self._done)}</div>' if self._done else ""
        why = "This OK fills the form; the form's OK saves." if self.pending else ""
        self.foot.show(
            f'<div class="pk-line">{tools}</div>{self._alert()}{self._knowingly()}{done}'
            f"{self._buttons(why=why)}{self._offered()}"
        )

    def _knowingly(self) -> str:
        if self._doubtful is None:
            return ""
        return f'<div class="pk-line">{button("knowingly:", "Add all the same", look="pk-danger")}</div>'

    def _rows(self) -> str:
        if not len(self.list):
            return '<div class="pk-empty pk-list" role="status">The list is empty.</div>'
        now = now_utc()
        chosen = next((n for n, e in enumerate(self.list) if e.fingerprint == self._selected), -1)
        active = f' aria-activedescendant="pk-trusted-{chosen}"' if chosen >= 0 else ""
        rows = "".join(
            _row(entry, f"pk-trusted-{number}", number == chosen, *entry.state(now))
            for number, entry in enumerate(self.list)
        )
        return (
            f'<div class="pk-list" role="listbox" tabindex="0" aria-label="{self.title}" data-steps="list" '
            f'data-focus="list" data-scroll{active}>{rows}</div>'
        )


def _row(entry: Trusted, name: str, chosen: bool, state: str, said: str) -> str:
    weak = f'<div class="pk-remark">▲ {words.text("; ".join(entry.weak))}</div>' if entry.weak else ""
    mark = f'<span class="pk-mark" aria-hidden="true">{MARKS[state]}</span>'
    print_ = f'<span class="pk-quiet">SHA-256</span> <code>{entry.fingerprint}</code>'
    facts = (
        f"issued by {entry.issuer}",
        f"valid {entry.valid_from:%Y-%m-%d} to {entry.valid_to:%Y-%m-%d}",
        entry.key_type,
    )
    told = "".join(f"<span>{words.text(fact)}</span>" for fact in facts)
    return (
        f'<div class="pk-trusted" role="option" id="{name}" data-key="select:{entry.fingerprint}" '
        f'aria-selected="{str(chosen).lower()}"><div class="pk-two"><b>{words.text(entry.subject)}</b>'
        f'<span class="pk-cert pk-cert-{state.replace(" ", "-")}">{mark} {words.text(said)}</span></div>'
        f'<div class="pk-facts">{told}</div>{weak}<div class="pk-print">{print_}</div></div>'
    )
