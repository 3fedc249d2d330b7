"""Buttons of a private panel, as HTML: what is clicked comes back as a message with their key."""

from __future__ import annotations

from pacskit.widgets import words


def button(
    key: str, label: str, *, look: str = "", off: bool = False, focus: str = "", more: str = ""
) -> str:
    """`label` is text. One that is `off` keeps the focus, so that a keyboard is not thrown out of the panel.

    Where another one takes its place, the same `focus` passes the focus on to it. `more`: other attributes.
    """
    key, focus = words.text(key), words.text(focus or key)
    disabled = ' aria-disabled="true"' if off else ""
    return (
        f'<button type="button" class="{f"pk-button {look}".strip()}" data-key="{key}" data-focus="{focus}"'
        f"{disabled} {more}>{words.text(label)}</button>"
    )


def toggle(key: str, label: str, is_open: bool) -> str:
    """Opens and closes something."""
    return button(key, label, more=f'aria-expanded="{str(is_open).lower()}"')
