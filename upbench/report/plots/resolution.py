"""Latency against the number of output pixels, both logarithmic, with fitted laws and the sizes where they cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from upbench import units
from upbench.report.plots import style
from upbench.report.plots.growth import Crossover, Growth
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Quantity

MARKED = 8
"""The most lines of which the crossings are marked and the legend has intervals; of more the tables have both."""


def draw(
    growths: Sequence[Growth], crossed: Sequence[Crossover], quantity: Quantity, title: str, small: Sequence[str],
    width_in: float,
) -> Page:  # fmt: skip
    """Draw latency against output pixels: points are measured, lines are fitted, diamonds mark where two laws meet.

    Args:
        growths: The lines with their laws.
        crossed: The sizes at which two laws meet; extrapolated ones are hollow.
        quantity: The quantity of the y axis.
        title: The heading of the page.
        small: The small print.
        width_in: The width of the page in inches.
    """
    page = Page(width_in, max(2.4, width_in * 0.62) * style.CURRENT.get().height)
    axes = page.axes
    sizes = [float(s.at) for g in growths for s in g.line.samples]
    values = [v for g in growths for s in g.line.samples for v in (s.point.value, s.point.low, s.point.high)]
    handles: list[Artist] = []
    for n, growth in enumerate(growths):
        look = style.look(n)
        x = [float(s.at) for s in growth.line.samples]
        axes.plot(x, [s.point.value for s in growth.line.samples], linestyle="none", **look.markers(), gid="measured")
        axes.vlines(
            x, [s.point.low for s in growth.line.samples], [s.point.high for s in growth.line.samples],
            colors=look.colour, linewidth=1,
        )  # fmt: skip
        if growth.law is not None:
            near = crossed if len(growths) <= MARKED else ()
            crossings = [c.at.x for c in near if growth.line.name in (c.below, c.above)]
            ends = [min([growth.law.first, *crossings]), max([growth.law.last, *crossings])]
            axes.plot(ends, [growth.law.at(x) for x in ends], look.dashes, color=look.colour, gid="fit", linewidth=0.9)
        name = growth.legend if len(growths) <= MARKED else growth.brief
        handles.append(Line2D([], [], linestyle=look.dashes, label=name, **look.markers()))
    crossed = crossed if len(growths) <= MARKED else []
    for c in crossed:
        axes.plot([c.at.x], [c.at.y], zorder=5, gid="crossover", **_crossover(c.at.inside))
    for inside, name in ((True, "two fits cross"), (False, "the same, extrapolated")):
        if any(c.at.inside is inside for c in crossed):
            handles.append(Line2D([], [], label=name, **_crossover(inside)))
    style.ticks(axes.xaxis, sizes + [c.at.x for c in crossed])
    axes.set_xlabel("Output pixels (log scale)")
    _pixels(page, sizes)
    factor, unit = quantity.scale_for(values)
    style.ticks(axes.yaxis, values + [c.at.y for c in crossed], factor)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / factor:g}")
    axes.set_ylabel(f"{quantity.title} ({unit}, log scale)")
    page.finish(title, small, handles)
    return page


def _pixels(page: Page, sizes: Sequence[float]) -> None:
    """Ticks at the measured sizes as long as they are few, elsewhere at round numbers."""
    ticks = sorted(set(sizes))
    if len(ticks) <= 8:
        from matplotlib.ticker import FixedLocator

        texts = [units.count(round(pixels)) for pixels in ticks]
        apart = style.apart([math.log(pixels) for pixels in ticks], texts, page.width_in)
        page.axes.xaxis.set_major_locator(FixedLocator([ticks[n] for n in apart]))
    page.axes.xaxis.set_major_formatter(lambda value, _: units.count(round(value)))


def _crossover(inside: bool) -> dict[str, Any]:
    """Filled within the measured sizes, hollow beyond them."""
    face = "black" if inside else "white"
    return {
        "marker": "d", "linestyle": "none", "markersize": 4.5, "markerfacecolor": face, "markeredgecolor": "black",
        "markeredgewidth": 0.7,
    }  # fmt: skip
