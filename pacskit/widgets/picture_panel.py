"""The picture panel: the picture of the selected series, its slider and its window."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w
from pydicom.dataset import Dataset

from pacskit.imaging.display import Window
from pacskit.widgets import words
from pacskit.widgets.carrier import Carrier
from pacskit.widgets.picture import Picture, Slide

_OWN = "Own"


class PicturePanel:
    """`changed()` is called when a person moved something and the picture should be drawn again."""

    def __init__(
        self, changed: Callable[[], None], ready: Callable[[], None], *, mask: Callable[[], bool]
    ) -> None:
        self._changed, self._mask = changed, mask
        self._own = threading.local()
        self._series = ""
        self._chosen = False
        """Whether the person chose an image; until then a growing series is shown at its middle."""
        self._picture = Picture()
        self.slide: Slide | None = None
        self.box = Carrier(self._heard, ready)
        # None of these holds anything of a patient: they are numbers and fixed words.
        self.slider = w.IntSlider(value=1, min=1, max=1, description="Image", layout=w.Layout(width="auto"))
        self.preset = w.Dropdown(options=[], description="Window", layout=w.Layout(width="230px"))
        number = {"layout": w.Layout(width="130px"), "style": {"description_width": "50px"}}
        self.centre = w.FloatText(description="Centre", **number)
        self.width = w.FloatText(description="Width", **number)
        self.slider.add_class("pk-slice")
        self.slider.observe(self._moved, "value")
        self.preset.observe(self._preset_chosen, "value")
        self.centre.observe(self._window_typed, "value")
        self.width.observe(self._window_typed, "value")
        self.controls = w.Box([self.slider, self.preset, self.centre, self.width])
        self.controls.add_class("pk-controls")
        self.widget = w.VBox([self.box.widget, self.controls])
        self.widget.add_class("pk-right")
        self._presets: dict[str, Window] = {}

    @property
    def _drawing(self) -> bool:
        """Whether this very thread writes the controls: what a person moves meanwhile comes in another."""
        return getattr(self._own, "drawing", False)

    @_drawing.setter
    def _drawing(self, value: bool) -> None:
        self._own.drawing = value

    def draw(self, series_uid: str, paths: Sequence[Path]) -> None:
        """Show the series; called by the dashboard's thread, under its lock."""
        self._drawing = True
        try:
            self._picture.choose(paths)
            count = len(self._picture.images)
            self._show(self.controls, count > 0)
            if count == 0:
                self.slide = None
                self.box.show("")
                return
            self._show(self.slider, count > 1)
            self.slider.max = max(1, count)
            if series_uid != self._series:
                self._series, self._chosen = series_uid, False
                self.slider.value = (count + 1) // 2
                self._offer()
            elif not self._chosen:
                self.slider.value = (count + 1) // 2
            number = min(self.slider.value, count) - 1
            self.slide = self._picture.slide(number, self._window(number))
            self.box.show(self._html(self.slide, number + 1, count))
        finally:
            self._drawing = False

    def clear(self) -> None:
        self.slide = None
        self.box.show("")
        self._show(self.controls, False)

    def _offer(self) -> None:
        self._presets = self._picture.presets(self.slider.value - 1)
        for control in (self.preset, self.centre, self.width):
            self._show(control, bool(self._presets))
        if self._presets:
            self.preset.options = [*self._presets, _OWN]
            self.preset.value = next(iter(self._presets))
            self._put(self._presets[self.preset.value])

    def _window(self, number: int) -> Window | None:
        """The window to render with: None lets each image have its own."""
        if not self._presets or self.preset.value not in (*self._presets, _OWN):
            return None
        if self.preset.value == next(iter(self._presets)):
            if of_this := self._picture.presets(number):
                self._put(next(iter(of_this.values())))
            return None
        if self.preset.value != _OWN:
            return self._presets[self.preset.value]
        return Window(
            centre=self.centre.value, width=max(1e-6, self.width.value), function="LINEAR", explanation=""
        )

    def _put(self, window: Window) -> None:
        self.centre.value, self.width.value = float(window.centre), float(window.width)

    def _moved(self, _: object) -> None:
        if not self._drawing:
            self._chosen = True
            self._changed()

    def _preset_chosen(self, _: object) -> None:
        if self._drawing:
            return
        if self.preset.value in self._presets:
            self._drawing = True
            try:
                self._put(self._presets[self.preset.value])
            finally:
                self._drawing = False
        self._changed()

    def _window_typed(self, _: object) -> None:
        if self._drawing:
            return
        self._drawing = True
        try:
            self.preset.value = _OWN
        finally:
            self._drawing = False
        self._changed()

    def _heard(self, message: Mapping[str, Any]) -> None:
        if message.get("type") == "step":
            by = max(-1_000_000, min(1_000_000, int(message.get("by", 0))))
            self.slider.value = max(1, min(self.slider.max, self.slider.value + by))

    def _html(self, slide: Slide, number: int, count: int) -> str:
        caption = _caption(slide.dataset, number, count, mask=self._mask())
        if not slide.png:
            return f'<div class="pk-empty" role="status">{words.text(slide.reason)}</div>'
        data = base64.b64encode(slide.png).decode()
        return (
            f'<figure class="pk-picture" tabindex="0" data-steps="slice" data-focus="picture" '
            f'aria-label="Image {number} of {count}; arrow keys go through the series">'
            f'<img alt="Image {number} of {count}" src="data:image/png;base64,{data}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )

    def _show(self, widget: Any, visible: bool) -> None:
        (widget.remove_class if visible else widget.add_class)("pk-hidden")


def _caption(dataset: Dataset | None, number: int, count: int, *, mask: bool) -> str:
    if dataset is None:
        return f"{number} of {count}"
    who = words.MASK if mask else words.name(dataset.get("PatientName"))
    what = [words.text(dataset.get(key)) for key in ("Modality", "SeriesDescription")]
    return " · ".join([part for part in (who, *what) if part] + [f"image {number} of {count}"])
