"""The layers of a station, and how they change: a plan is made and checked first, then carried out.

default < JupyterHub < user file < site file (shared sections) < environment < command line < code.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pacskit.errors import NotAdministrator, SettingError
from pacskit.settings import values
from pacskit.settings.files import Content, SettingsFile, site_path, user_path
from pacskit.settings.layers import (
    CODE,
    ENVIRONMENT,
    FIXED,
    SITE,
    USER,
    Layer,
    Problem,
    Source,
    environment_layer,
    hub_layer,
)
from pacskit.settings.models import Section
from pacskit.settings.settings import Settings

Fields = dict[str, dict[str, Any]]
"""section → field → value."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change leads to: the settings then, and what each place is to hold."""

    settings: Settings
    code: Fields = field(repr=False)  # each may hold a password or its hash
    user: Fields = field(default_factory=dict, repr=False)
    site: Fields = field(default_factory=dict, repr=False)


class SettingsStack:
    """Reads the layers, and changes those that a program or a person may change."""

    def __init__(
        self,
        code: Mapping[str, Mapping[str, Any]] | None = None,
        layers: Sequence[Layer] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Raises SettingError for what is wrong in `code` or in a strict layer."""
        environ = os.environ if environ is None else environ
        self._hub, self._environment, self._layers = hub_layer(environ), environment_layer(environ), layers
        self._code: Fields = {section: dict(fields) for section, fields in (code or {}).items()}
        self.user = SettingsFile(user_path(), USER)
        self.site = SettingsFile(site_path(), SITE)
        if os.path.realpath(self.user.path) == os.path.realpath(self.site.path):
            raise SettingError("PACSKIT_SITE", f"{self.site.path} is your own settings file too", ENVIRONMENT)
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._user: Content | None = None
        self._site: Content | None = None
        self.load()

    def load(self) -> Settings:
        """Read the files again. Raises SettingError where code and files now contradict each other."""
        self._user = _unless_gone(self.user.read(), self._user)
        self._site = _unless_gone(self.site.read(), self._site)
        self.settings = self._resolved(self._user, self._site, self._code)
        return self.settings

    def changed_outside(self) -> bool:
        """Whether a file is another than was read."""
        assert self._user is not None
        assert self._site is not None
        return (self.user.stamp(), self.site.stamp()) != (self._user.stamp, self._site.stamp)

    def settled_outside(self) -> bool:
        """As `changed_outside`, once two looks see the same: a file may be half-written at the first."""
        before, self._seen = self._seen, (self.user.stamp(), self.site.stamp())
        return before == self._seen and self.changed_outside()

    def is_administrator(self) -> bool:
        """Whether this user may change what all users share: tried, not guessed."""
        return self.site.writable()

    def plan(
        self,
        changes: Mapping[str, Mapping[str, Any]],
        *,
        save: bool,
        shared: bool = False,
        whole: bool = True,
    ) -> Plan:
        """Check a change and say what it leads to; nothing is changed yet.

        `shared` puts the sections into the site file: as they stand here now (what the box in a panel means),
        or, where not `whole`, the changes only. Raises SettingError, NotAdministrator, NotSaved.
        """
        code: Fields = {section: dict(fields) for section, fields in self._code.items()}
        user, site, now = self._fresh()
        plan = Plan(now, code)
        for section, fields in changes.items():
            kind = type(self.settings.section(section))
            checked = {name: _checked(kind, name, value, save) for name, value in fields.items()}
            share = checked.pop("shared", None)
            if shared and "shared" not in kind.model_fields:
                raise SettingError(section, "cannot be shared: each user has its own", "you")
            share = True if shared else share
            if save:
                self._save(plan, kind, checked, share, whole, user, site)
            elif share is not None and share != now.section(section).shared:
                raise SettingError(f"{section}.shared", "is kept in a file: change it with save=True", "you")
            for name, value in checked.items():
                if not save or name in code.get(section, ()):
                    code.setdefault(section, {})[name] = value
        self.user.check(plan.user)
        self.site.check(plan.site)
        settings = self._resolved(_with(self.user, user, plan.user), _with(self.site, site, plan.site), code)
        self._raise_new_problem(settings, changes)
        return replace(plan, settings=settings)

    def carry_out(self, plan: Plan) -> Settings:
        """Write the files and read them again. Raises NotSaved; what was written before stays."""
        self.user.change(plan.user)
        self.site.change(plan.site)
        self._code = plan.code
        return self.load()

    def _resolved(self, user: Content, site: Content, code: Fields) -> Settings:
        shown = [self._hub, user.layer, site.layer, self._environment, *self._layers, Layer(CODE, code)]
        return Settings.resolve(shown, (*user.problems, *site.problems))

    def _fresh(self) -> tuple[Content, Content, Settings]:
        """The files as they are now: another process may have saved since they were read."""
        assert self._user is not None
        assert self._site is not None
        if not self.changed_outside():
            return self._user, self._site, self.settings
        user, site = _unless_gone(self.user.read(), self._user), _unless_gone(self.site.read(), self._site)
        try:
            return user, site, self._resolved(user, site, self._code)
        except SettingError:  # code and files contradict each other; maybe this change ends that
            return user, site, self.settings

    def _save(
        self,
        plan: Plan,
        kind: type[Section],
        changes: dict[str, Any],
        share: bool | None,
        whole: bool,
        user: Content,
        site: Content,
    ) -> None:
        section, settings = kind.section, plan.settings
        now = settings.section(section)
        for name in [n for n in changes if settings.source(section, n).layer in FIXED]:
            if changes[name] != getattr(now, name):
                source = settings.source(section, name)
                raise SettingError(f"{section}.{name}", f"is fixed by the {source}; change it there", "you")
            del changes[name]
        was_shared = bool(getattr(now, "shared", False))
        share = was_shared if share is None else share
        everything = {name: getattr(now, name) for name in _free(kind, settings)} | changes
        if share:
            default = {name: kind.model_fields[name].default for name in kind.model_fields}
            chosen = everything if whole and not was_shared else changes
            plan.site[section] = _differing(site, section, chosen, default)
            if not was_shared:
                plan.site[section]["shared"] = True
        else:
            below = {n: kind.model_fields[n].default for n in kind.model_fields}
            below |= self._hub.values.get(section, {})
            chosen = everything if was_shared else changes
            plan.user[section] = _differing(user, section, chosen, below)
            if was_shared:
                plan.site[section] = {"shared": False}
        if plan.site.get(section) and not self.is_administrator():
            raise NotAdministrator(f"{section}.shared")

    def _raise_new_problem(self, settings: Settings, changes: Mapping[str, Mapping[str, Any]]) -> None:
        before = set(self.settings.problems)
        for problem in settings.problems:
            section, _, name = problem.key.partition(".")
            if problem not in before and problem.effect == "blocks" and name in changes.get(section, ()):
                raise SettingError(problem.key, problem.sentence, "you")
        for section in changes:
            if "port" in changes[section]:
                try:
                    settings.check_port(section, settings.section(section).port)
                except ValueError as error:
                    raise SettingError(f"{section}.port", str(error), "you") from None


def _unless_gone(now: Content, before: Content | None) -> Content:
    """A file that vanished (a network home that is not there) must not stop what runs by it."""
    if now.stamp or before is None or not (before.stamp or before.gone):
        return now
    source = Source(before.layer.source, before.layer.file)
    told = Problem("", "it is gone: what it said counts until this station is closed", source, "ignored")
    problems = (*(p for p in before.problems if p != told), told)
    return replace(before, problems=problems, stamp=(), gone=True)


def _checked(kind: type[Section], name: str, value: Any, save: bool) -> Any:
    key = f"{kind.section}.{name}"
    try:
        values.known(key)
    except KeyError as error:
        raise SettingError(key, str(error.args[0]), "you") from None
    try:
        checked = values.validated(kind, name, value)
        if save:
            values.storable(kind, name, checked)
    except ValueError as error:
        raise SettingError(key, str(error), "you") from None
    return checked


def _free(kind: type[Section], settings: Settings) -> list[str]:
    """The fields that can be kept in a file and that nothing fixes."""
    return [
        name
        for name in kind.model_fields
        if name != "shared"
        and settings.source(kind.section, name).layer not in FIXED
        and _can_be_stored(kind, name, getattr(settings.section(kind.section), name))
    ]


def _differing(
    content: Content, section: str, chosen: Mapping[str, Any], below: Mapping[str, Any]
) -> dict[str, Any]:
    """What is to be written so that the file holds only what differs from the layer below."""
    found = content.stored.get(section, {})
    found = found if isinstance(found, Mapping) else {}
    result: dict[str, Any] = {}
    for name, value in chosen.items():
        text = values.plain(value)
        if value != below[name]:
            if found.get(name) != text or type(found.get(name)) is not type(text):
                result[name] = text
        elif name in found and found[name] != text:
            result[name] = None
    return result


def _can_be_stored(kind: type[Section], name: str, value: Any) -> bool:
    try:
        values.storable(kind, name, value)
    except ValueError:
        return False
    return True


def _with(file: SettingsFile, content: Content, changes: Fields) -> Content:
    """The content as it will be after these changes."""
    stored = {n: dict(v) if isinstance(v, Mapping) else v for n, v in content.stored.items()}
    for section, fields in changes.items():
        if not isinstance(target := stored.setdefault(section, {}), dict):
            continue
        for name, value in fields.items():
            if value is None:
                target.pop(name, None)
            else:
                target[name] = value
    return replace(content, layer=replace(content.layer, values=file.counting(stored)))
