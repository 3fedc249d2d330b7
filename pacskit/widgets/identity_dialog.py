"""The dialog "Certificate and private key" (seed 12.1.4, step 5): two files, and the status line, live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pacskit.certificates import Identity, IdentityState, TrustedList
from pacskit.certificates.contents import CERTIFICATE_SUFFIXES, KEY_SUFFIXES
from pacskit.certificates.identity import (
    INCORRECT_CERTIFICATE,
    INCORRECT_PRIVATE_KEY,
    NEEDS_PASSWORD,
    NO_CERTIFICATE,
)
from pacskit.certificates.trust import AlreadyTrusted
from pacskit.errors import CertificateError
from pacskit.settings.layers import variable
from pacskit.station import Station
from pacskit.widgets import teaching, uploads, words
from pacskit.widgets.buttons import button
from pacskit.widgets.dialog import Dialog
from pacskit.widgets.errand import Errand
from pacskit.widgets.file_field import FileField
from pacskit.widgets.form import Form
from pacskit.widgets.newest import Newest
from pacskit.widgets.teaching import Teaching

AGAIN = 2.0
"""Seconds after which files are looked at again: they may be renewed, or gone."""
WHERE_PASSWORD = (
    "A password is not typed here. Write it into a file of your own and set “Key password file” under More "
    f"settings, or start with {variable('secure_listener.key_password')} in the environment."
)


class IdentityDialog(Dialog):
    """One row for two settings."""

    title = "Certificate and private key"
    names = ("certificate", "private_key")

    def __init__(
        self, station: Station, form: Form, touched: Callable[[], None], ready: Callable[[], None]
    ) -> None:
        super().__init__(station, form, touched, ready)
        self.paths = {
            "certificate": FileField("certificate", "Certificate", CERTIFICATE_SUFFIXES, "ok:"),
            "private_key": FileField("private_key", "Private key", KEY_SUFFIXES, "ok:"),
        }
        self._chosen: Newest[Identity, IdentityState] = Newest(Identity.read, touched, AGAIN)
        self._set: Newest[Identity, IdentityState] = Newest(Identity.read, touched, AGAIN)
        """What the dialog has, and what the form has."""
        self._errand = Errand(touched)
        self._made: Teaching | None = None
        self._fill, self._trusts = False, False
        self._ok_for: Identity | None = None
        """OK was clicked for these, which are still being read."""

    # -- what the row says

    def in_words(self, value: Any) -> str:
        return str(value or "")

    def summary(self) -> str:
        paths = [self._form.fields[name].raw for name in self.names]
        state = self._set.ask(self._identity(*paths))
        files = " · ".join(Path(path).name for path in paths if path)
        told = f'<div class="pk-quiet">{words.text(files)}</div>' if files else ""
        return f"{_mark(state)}{told}{_notes(state)}"

    def remarks(self) -> Mapping[str, str]:
        """Enabled without what it needs: the service will say the same."""
        state = self._set.ask(self._identity(*(self._form.fields[name].raw for name in self.names)))
        if state is None or state.ok or not self._form.fields["enabled"].raw:
            return {}
        return {"certificate": f"The service cannot run without them. {_why(state)}"}

    # -- what is done

    def cancel(self) -> None:
        super().cancel()
        self._made, self._ok_for, self._fill = None, None, False

    def close(self) -> None:
        super().close()
        self._errand.end()
        for newest in (self._chosen, self._set):
            newest.end()

    @property
    def pending(self) -> bool:
        there = [str(self._form.fields[name].raw or "") for name in self.names]
        return self.is_open and [self.paths[name].text.strip() for name in self.names] != there

    def do(self) -> None:
        super().do()
        if self._errand.failure:
            self._said, self._errand.failure = self._errand.failure, ""
        if self._made is not None and self._fill and self.is_open:
            self._fill = False
            self.paths["certificate"].put(str(self._made.server.certificate))
            self.paths["private_key"].put(str(self._made.server.private_key))
        if self._ok_for is not None:
            self._take_over()

    def _opened(self) -> None:
        for name in self.names:
            self.paths[name].put(str(self._form.fields[name].raw or ""))
        self._trusts = False

    def _type(self, name: str, text: str) -> None:
        if text != self.paths[name].text and not self._form.fields[name].fixed:
            self._said, self._ok_for = "", None
            super()._type(name, text)

    def _act(self, key: str) -> None:
        if key == "ok:":
            self._ok_for = self._wanted
        elif key == "cancel:":
            self.cancel()
        elif key == "teach:":
            self._said = ""
            self._errand.begin(self._teach)
        elif key == "trust:" and self._made is not None:
            self._trust(self._made.authority.root)

    def _take_over(self) -> None:
        """OK, as soon as it is known what the files are. Only good ones (expiry and weakness only warn)."""
        wanted = self._ok_for
        if wanted is None or not self.is_open or (state := self._chosen.ask(wanted)) is None:
            return
        self._ok_for = None
        if state.ok:
            for name, path in (("certificate", wanted.certificate), ("private_key", wanted.private_key)):
                self._form.fields[name].put(Path(str(path)).expanduser().absolute())
            self.cancel()

    def _uploaded(self, name: str, claim: str, data: bytes | None) -> None:
        if self._form.fields[name].fixed:
            return
        self._said, self._ok_for = "", None
        try:
            path = uploads.keep(claim, data, self.paths[name].suffixes)
        except CertificateError as error:
            status = INCORRECT_CERTIFICATE if name == "certificate" else INCORRECT_PRIVATE_KEY
            self._said = f"{status}: {error}. Nothing was taken"
            return
        self.paths[name].put(str(path))

    def _teach(self) -> None:
        self._made, self._fill = teaching.make(), True

    def _trust(self, root: Path) -> None:
        """Put the teaching root on the form's trusted list."""
        trusted = self._form.fields["trusted"]
        if trusted.fixed:
            self._said = "The trusted list is fixed by the environment or the command line"
            return
        try:
            found = TrustedList.of(trusted.raw or ())
            found = found.add(root)
        except AlreadyTrusted as error:
            found = error.rest
        except CertificateError as error:
            self._said = str(error)
            return
        trusted.put(found.texts)
        self._trusts = True

    # -- what is shown

    @property
    def _wanted(self) -> Identity:
        return self._identity(*(self.paths[name].text.strip() or None for name in self.names))

    def _identity(self, certificate: Any, private_key: Any) -> Identity:
        """With what opens the key, as it stands in the form."""
        field = self._form.fields["key_password_file"]
        try:
            password_file = field.value()
        except ValueError:
            password_file = None
        password = self._station.settings.secure_listener.key_password
        return Identity(certificate, private_key, password, password_file)

    def _show(self) -> None:
        fixed = [
            path.html("fixed by the environment or the command line" if self._form.fields[name].fixed else "")
            for name, path in self.paths.items()
        ]
        kept = words.text(uploads.folder())
        self.top.show(
            f'<h4>{self.title}</h4><p class="pk-quiet">Files of the computer that this notebook runs on. '
            f"What BROWSE uploads is kept in {kept}, readable for you alone.</p>{''.join(fixed)}"
        )
        state = self._chosen.ask(self._wanted)
        more = [words.text(f"{state.reason}.")] if state and state.reason else []
        if state and state.status == NEEDS_PASSWORD:
            more.append(words.text(WHERE_PASSWORD))
        lines = "".join(f"<div>{line}</div>" for line in more)
        self.middle.show(f'<div class="pk-status" role="status">{_mark(state)}{lines}{_notes(state)}</div>')
        ready = state is not None and state.ok
        why = "This OK fills the form; the form's OK saves." if ready and self.pending else ""
        self.foot.show(f"{self._alert()}{self._teaching(state)}{self._buttons(ready, why)}{self._offered()}")

    def _teaching(self, state: IdentityState | None) -> str:
        if self._errand.busy:
            return '<div class="pk-box" role="status">Making certificates …</div>'
        if self._made is not None:
            return self._explained(self._made)
        if (
            state is None
            or state.status != NO_CERTIFICATE
            or any(self._form.fields[n].fixed for n in self.names)
        ):
            return ""
        return (
            '<div class="pk-box"><p>No certificate yet? '
            f"{button('teach:', 'Make certificates for teaching')}</p>"
            '<p class="pk-quiet">An authority and a certificate for this computer, for teaching and test '
            "networks only: their keys lie unguarded in a folder. In a hospital's network, take a "
            "certificate of the hospital's authority.</p></div>"
        )

    def _explained(self, made: Teaching) -> str:
        root = words.text(made.authority.root)
        command = words.text(f'pacskit certificate issue "{made.authority.folder}" NAME --client')
        trust = (
            "<p>✓ The root is on the trusted list of the form.</p>"
            if self._trusts
            else f"<p>To accept clients with certificates of this authority when they are verified: "
            f"{button('trust:', 'Trust the root')}</p>"
        )
        return (
            f'<div class="pk-box"><p><b>For teaching and test networks only.</b> Clients have to trust '
            f"<code>{root}</code>.</p><p>A certificate for a client: <code>{command}</code></p>{trust}</div>"
        )


def _mark(state: IdentityState | None) -> str:
    """The status line, by shape, colour and words."""
    if state is None:
        return '<b class="pk-quiet">Reading …</b>'
    if state.ok:
        mark = '<span class="pk-mark" aria-hidden="true">●</span>'
        return f'<b class="pk-cert pk-cert-ok">{mark} {words.text(state.status)}</b>'
    if state.status == NO_CERTIFICATE:
        return f'<b><span aria-hidden="true">○</span> {words.text(state.status)}</b>'
    return f'<b class="pk-error"><span aria-hidden="true">▲</span> {words.text(state.status)}</b>'


def _why(state: IdentityState) -> str:
    return f"{state.status}: {state.reason}" if state.reason else state.status


def _notes(state: IdentityState | None) -> str:
    """The second line: what should be mended, and how long it is good for."""
    if state is None or not state.ok:
        return ""
    warned = "".join(f'<div class="pk-remark">▲ {words.text(note)}</div>' for note in state.notes)
    left, own = state.days_left() or 0, state.certificate
    if own is None or any("expire" in note for note in state.notes):
        return warned
    good = f"valid until {own.not_valid_after_utc:%Y-%m-%d}, {words.count(left, 'day')} left"
    return f'{warned}<div class="pk-quiet">{good}</div>'
