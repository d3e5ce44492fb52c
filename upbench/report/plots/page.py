"""A picture's page: title, axes, legend and small print stacked so that nothing is cut off or covered."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnchoredOffsetbox, OffsetBox
from matplotlib.transforms import Bbox

from upbench.report.plots import style
from upbench.report.plots.labels import Anchor, Box, LabelPosition, Stroke, place_labels

_MARGIN_IN = 0.08
_SMALL_LINE_IN = style.SMALL_PT * 1.25 / 72
_LEGEND: dict[str, Any] = {
    "borderpad": 0.2, "borderaxespad": 0, "columnspacing": 1.0, "handlelength": 2.2, "handletextpad": 0.5,
    "labelspacing": 0.35, "alignment": "left",
}  # fmt: skip
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "upbench"},
    "svg": {"Date": None, "Creator": "upbench"},
    "pdf": {"CreationDate": None, "Creator": "upbench", "Producer": None},
}
SUFFIXES = tuple(_METADATA)
"""The formats that a page can be written in."""


class Page:
    """One figure with one Axes; its height follows from what is on it.

    Draw on `axes`, then call `finish`, then `label`.

    Args:
        width_in: The width of the page in inches.
        axes_in: The height of the axes in inches.
    """

    def __init__(self, width_in: float, axes_in: float) -> None:
        self.width_in, self.axes_in = width_in, axes_in
        self.unprinted: list[str] = []
        self.figure = Figure(figsize=(width_in, axes_in + 1))
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0.2, 0.2, 0.7, 0.7))
        self.axes.grid(visible=True)

    def finish(
        self, heading: str, small: Sequence[str], handles: Sequence[Artist] = (), box: OffsetBox | None = None
    ) -> None:
        """Arrange heading, axes, legend and small print from top to bottom.

        Args:
            heading: The heading.
            small: The sentences of the small print, the most important first; what finds no room is in `unprinted`.
            handles: The entries of the legend, with their labels.
            box: A box in the place of the legend.
        """
        head = self._wrap(heading, style.LETTERS_PT, bold=True)
        head_in = len(head) * style.LETTERS_PT * 1.25 / 72 + (0.06 if head else 0)
        legend = self._boxed(box) if box is not None else self._legend(handles)
        legend_in = self._inches(legend)[1] if legend else 0.0
        self._break_label()
        for _ in range(3):  # ticks depend on the size, and the size on the ticks
            left, right, below, above = self._overhang()
            rest = 2 * _MARGIN_IN + head_in + above + self.axes_in + below + legend_in + 0.06
            small_lines, self.unprinted = self._small_print(small, rest)
            small_in = len(small_lines) * _SMALL_LINE_IN
            height = rest + small_in
            self.figure.set_size_inches(self.width_in, height)
            bottom = _MARGIN_IN + small_in + 0.06 + legend_in + below
            width = self.width_in - 2 * _MARGIN_IN - left - right
            self.axes.set_position(
                (
                    (_MARGIN_IN + left) / self.width_in,
                    bottom / height,
                    width / self.width_in,
                    self.axes_in / height,
                )
            )
        x = _MARGIN_IN / self.width_in
        self._column(head, x, 1 - _MARGIN_IN / height, style.LETTERS_PT, weight="bold")
        self._column(small_lines, x, (_MARGIN_IN + small_in) / height, style.SMALL_PT, color=style.GREY)
        if legend:
            corner = (x, (_MARGIN_IN + small_in + 0.06) / height)
            legend.set_bbox_to_anchor(Bbox.from_bounds(*corner, 0, 0), self.figure.transFigure)

    def _small_print(self, small: Sequence[str], rest_in: float) -> tuple[list[str], list[str]]:
        """The lines of the sentences that fit in their part of the page's height, and the sentences that do not."""
        share = style.CURRENT.get().notes
        room = int(rest_in * share / (1 - share) / _SMALL_LINE_IN)
        lines: list[str] = []
        left: list[str] = []
        for sentence in small:
            wrapped = self._wrap(sentence, style.SMALL_PT)
            if len(lines) + len(wrapped) <= room:
                lines += wrapped
            else:
                left.append(sentence)
        return lines, left

    def label(
        self,
        texts: Sequence[str],
        at: Sequence[tuple[float, float]],
        radii_pt: Sequence[float],
        soft_pt: Sequence[float],
        strokes: Sequence[Stroke] = (),
    ) -> list[str]:
        """Write texts next to points and return those for which there was no room.

        Args:
            texts: The texts.
            at: The points, in data coordinates.
            radii_pt: The radius of the marker of each point, in points of 1/72 inch.
            soft_pt: The radius around each point that a text covers only where it must, in the same unit.
            strokes: Lines in data coordinates that no text may cover.
        """
        if not texts:
            return []
        dots = self.figure.dpi / 72
        anchors = []
        for text, point, radius, soft in zip(texts, at, radii_pt, soft_pt, strict=True):
            x, y = self.axes.transData.transform(point)
            width, height = self._size(text, style.LETTERS_PT)
            anchors.append(Anchor(x, y, width, height, radius * dots, soft * dots))
        frame = self.axes.get_window_extent(self.canvas.get_renderer())
        ends = self.axes.transData.transform
        taken: list[Stroke] = [(tuple(ends(first)), tuple(ends(last))) for first, last in strokes]
        area = Box(frame.x0 + 2, frame.y0 + 2, frame.x1, frame.y1)
        positions = place_labels(anchors, area, taken, step=6 * dots)
        for text, position in zip(texts, positions, strict=True):
            if position is not None:
                self._write(text, position)
        return [text for text, position in zip(texts, positions, strict=True) if position is None]

    def render(self, form: str) -> bytes:
        """Return the figure as PNG, SVG or PDF; the same bytes every time."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=form, dpi=style.CURRENT.get().dpi, metadata=_METADATA[form])
        return buffer.getvalue()

    def _write(self, text: str, position: LabelPosition) -> None:
        back = self.figure.dpi_scale_trans.inverted()
        x, y = back.transform((position.box.x0, (position.box.y0 + position.box.y1) / 2))
        self.axes.text(
            x, y, text, transform=self.figure.dpi_scale_trans, ha="left", va="center", gid="label", zorder=6,
            fontsize=style.LETTERS_PT,
        )  # fmt: skip
        if position.leader:
            (x0, y0), (x1, y1) = (back.transform(end) for end in position.leader)
            self.axes.plot(
                [x0, x1], [y0, y1], transform=self.figure.dpi_scale_trans, color=style.GREY, linewidth=0.5, zorder=5,
                gid="leader", scalex=False, scaley=False,
            )  # fmt: skip

    def _legend(self, handles: Sequence[Artist]) -> Any:
        """A legend with as many columns as fit in the width."""
        if not handles:
            return None
        legend = None
        for columns in range(min(len(handles), 4), 0, -1):
            if legend is not None:
                legend.remove()
            legend = self.figure.legend(handles=list(handles), ncols=columns, loc="lower left", **_LEGEND)
            if self._inches(legend)[0] <= self.width_in - 2 * _MARGIN_IN:
                break
        return legend

    def _break_label(self) -> None:
        """Two lines for a label of the y axis that is longer than the axis."""
        label = self.axes.yaxis.label
        if self._size(label.get_text(), style.LETTERS_PT)[0] > self.axes_in * self.figure.dpi:
            label.set_text(label.get_text().replace(" (", "\n(", 1))

    def _boxed(self, box: OffsetBox) -> AnchoredOffsetbox:
        """A box that stands where a legend would."""
        anchored = AnchoredOffsetbox("lower left", child=box, pad=0.2, borderpad=0, frameon=False)
        anchored.set_bbox_to_anchor(Bbox.from_bounds(0, 0, 0, 0), self.figure.transFigure)
        self.figure.add_artist(anchored)
        return anchored

    def _inches(self, artist: Artist) -> tuple[float, float]:
        box = artist.get_window_extent(self.canvas.get_renderer())
        return box.width / self.figure.dpi, box.height / self.figure.dpi

    def _overhang(self) -> tuple[float, float, float, float]:
        """What ticks and labels need outside the axes, in inches: left, right, below, above."""
        renderer = self.canvas.get_renderer()
        inner = self.axes.get_window_extent(renderer)
        outer = self.axes.get_tightbbox(renderer) or inner
        dpi = self.figure.dpi
        gaps = (inner.x0 - outer.x0, outer.x1 - inner.x1, inner.y0 - outer.y0, outer.y1 - inner.y1)
        left, right, below, above = (max(0.0, gap / dpi) for gap in gaps)
        return left, right, below + 0.06, above

    def _column(self, texts: Sequence[str], x: float, top: float, size_pt: float, **look: Any) -> None:
        if texts:
            self.figure.text(x, top, "\n".join(texts), fontsize=size_pt, va="top", ha="left", linespacing=1.2, **look)

    def _wrap(self, text: str, size_pt: float, bold: bool = False) -> list[str]:
        room = (self.width_in - 2 * _MARGIN_IN) * self.figure.dpi
        rows: list[str] = []
        for word in text.split():
            longer = f"{rows[-1]} {word}" if rows else word
            if rows and self._size(longer, size_pt, bold)[0] <= room:
                rows[-1] = longer
            else:
                rows.append(word)
        return rows

    def _size(self, text: str, size_pt: float, bold: bool = False) -> tuple[float, float]:
        """Width and height of a line of text in dots."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(family="DejaVu Sans", size=size_pt, weight="bold" if bold else "normal")
        width, height, _ = self.canvas.get_renderer().get_text_width_height_descent(text, font, False)
        return float(width), float(height)


@contextmanager
def settings(name: str = "paper") -> Iterator[None]:
    """Make the context in which a page is made, drawn and rendered: the settings of a style, whatever the user's are."""
    chosen = style.STYLES[name]
    ours: dict[Any, Any] = {**matplotlib.rcParamsDefault, **style.SETTINGS, **chosen.settings}
    token = style.CURRENT.set(chosen)
    try:
        with matplotlib.rc_context({key: value for key, value in ours.items() if key != "backend"}):
            yield
    finally:
        style.CURRENT.reset(token)
