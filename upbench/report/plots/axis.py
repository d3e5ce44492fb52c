"""A metric against an axis of a sweep: a line for each value of the other axes, intervals at every point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from upbench.report.plots import series, style
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Quantity
from upbench.report.plots.series import Line
from upbench.report.tables.grouping import LABEL, level_text

_ROW_IN = 0.19
_OFFSET_PT = 2.5  # between the points of two lines, so that their intervals do not cover each other


def draw(
    lines: Sequence[Line], axis: str, quantity: Quantity, title: str, small: Sequence[str], width_in: float, zoom: bool
) -> Page:
    """Draw a metric against an axis, with a line for each value of the other axes.

    An axis of numbers runs along x and the metric upward; an axis of names runs downward and the metric to the right.

    Args:
        lines: The lines.
        axis: The name of the axis.
        quantity: The metric.
        title: The heading of the page.
        small: The small print.
        width_in: The width of the page in inches.
        zoom: Let the metric's axis begin where its values do, and not at 0.
    """
    values = [s.at for line in lines for s in line.samples]
    if series.is_numeric(values):
        page = Page(width_in, min(2.3, width_in * 0.62) * (1 if style.CURRENT.get().height == 1 else 0.9))
        _numbers(page, lines, axis, quantity, zoom)
    else:
        names = list(dict.fromkeys(level_text(v) for v in values))
        rows_in = _ROW_IN * max(1.0, 0.55 * len(lines)) * len(names)
        page = Page(width_in, min(rows_in, max(_ROW_IN * len(names), 1.3 * width_in)) + 0.15)
        _names(page, lines, names, axis, quantity, zoom)
    named_at_ends = _ends_are_apart(page, lines) if series.is_numeric(values) else False
    handles = _handles(lines) if len(lines) > 1 and not named_at_ends else []
    page.finish(title, small, handles)
    return page


def _numbers(page: Page, lines: Sequence[Line], axis: str, quantity: Quantity, zoom: bool) -> None:
    axes = page.axes
    for n, line in enumerate(lines):
        look = style.look(n)
        x = [float(s.at) for s in line.samples]
        y = [s.point.value for s in line.samples]
        offset = ScaledTranslation(_offset_pt(n, len(lines)) / 72, 0, page.figure.dpi_scale_trans)
        transform = axes.transData + offset
        axes.plot(x, y, **look.markers(), linestyle=look.dashes, label=line.name, transform=transform)
        _bars(page, line, x, look.colour, upward=True, transform=transform)
        axes.update_datalim(
            [(at, v) for at, s in zip(x, line.samples, strict=True) for v in (s.point.low, s.point.high)]
        )
    axes.autoscale_view()
    ticks = sorted({float(s.at) for line in lines for s in line.samples})
    if ticks[0] > 0 and ticks[-1] >= 16 * ticks[0]:
        axes.set_xscale("log")
    if len(ticks) <= 8:
        places = [math.log(v) if axes.get_xscale() == "log" else v for v in ticks]
        texts = [f"{v:g}" for v in ticks]
        kept = style.apart(places, texts, page.width_in)
        axes.set_xticks([ticks[n] for n in kept], [texts[n] for n in kept])
        axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.set_xlabel(axis)
    style.dress(axes.yaxis, quantity, _values(lines), zoom)


def _names(page: Page, lines: Sequence[Line], names: Sequence[str], axis: str, quantity: Quantity, zoom: bool) -> None:
    axes = page.axes
    for n, line in enumerate(lines):
        look = style.look(n)
        shift = (n - (len(lines) - 1) / 2) * 0.7 / len(lines)
        y = [names.index(level_text(s.at)) + shift for s in line.samples]
        axes.plot(
            [s.point.value for s in line.samples], y, **look.markers(), linestyle="none", label=line.name, clip_on=False
        )
        _bars(page, line, y, look.colour, upward=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel(axis if axis != LABEL else "")
    style.dress(axes.xaxis, quantity, _values(lines), zoom)


def _offset_pt(n: int, of: int) -> float:
    """How far to the right the n-th line stands of where it is."""
    return (n - (of - 1) / 2) * _OFFSET_PT


def _bars(page: Page, line: Line, positions: Sequence[float], colour: str, upward: bool, **more: Any) -> None:
    """The 95 % intervals."""
    points = [s.point for s in line.samples]
    if all(p.low == p.high for p in points):
        return
    draw_bars = page.axes.vlines if upward else page.axes.hlines
    draw_bars(
        positions,
        [p.low for p in points],
        [p.high for p in points],
        colors=colour,
        linewidth=1.0,
        gid="interval",
        **more,
    )


def _values(lines: Sequence[Line]) -> list[float]:
    return [v for line in lines for s in line.samples for v in (s.point.value, s.point.low, s.point.high)]


def _handles(lines: Sequence[Line]) -> list[Artist]:
    handles: list[Artist] = []
    for n, line in enumerate(lines):
        look = style.look(n)
        handles.append(Line2D([], [], linestyle=look.dashes, label=line.name, **look.markers()))
    return handles


def _ends_are_apart(page: Page, lines: Sequence[Line]) -> bool:
    """Write the name of each line after its last point if all of these are far enough apart; whether they were."""
    if not 1 < len(lines) <= 6 or any(len(line.samples) < 2 for line in lines):
        return False
    axes = page.axes
    ends = [(float(line.samples[-1].at), line.samples[-1].point.value) for line in lines]
    if len({x for x, _ in ends}) > 1:
        return False
    heights = sorted(float(axes.transData.transform(end)[1]) for end in ends)
    needed = 1.3 * style.LETTERS_PT * page.figure.dpi / 72 * (page.figure.get_figheight() * 0.7 / page.axes_in)
    if any(above - below < needed for below, above in pairwise(heights)):
        return False
    for n, (line, end) in enumerate(zip(lines, ends, strict=True)):
        axes.annotate(
            line.name, end, xytext=(6 + _offset_pt(n, len(lines)), 0), textcoords="offset points", va="center", gid="label",
            color=style.look(n).colour, annotation_clip=False,
        )  # fmt: skip
    return True
