"""Accuracy against cost, as LDA-AQU's Fig. 1: the area of a circle is the number of FLOPs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.offsetbox import DrawingArea, HPacker, TextArea, VPacker
from matplotlib.patches import Circle

from upbench.report.plots import style
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Point, Quantity

_LARGEST_PT2 = 900.0
_DOT_PT = 3.0


@dataclass(frozen=True)
class Bubble:
    """One upsampler of the picture: its cost, its accuracy, its FLOPs, which give the area of its circle; `own`: the user's."""

    name: str
    x: Point
    y: Point
    flops: float
    own: bool = False


def draw(
    bubbles: Sequence[Bubble], x: Quantity, y: Quantity, size: Quantity, title: str, small: Sequence[str], width_in: float,
    zoom: bool,
) -> tuple[Page, list[str]]:  # fmt: skip
    """Draw accuracy against cost, with circles for the FLOPs.

    Args:
        bubbles: The upsamplers.
        x: The cost.
        y: The accuracy.
        size: The quantity of the areas.
        title: The heading of the page.
        small: The small print.
        width_in: The width of the page in inches.
        zoom: Let axes begin where the values do, and not at 0.

    Returns:
        The page, and the names for which there was no room.
    """
    page = Page(width_in, width_in * 0.72 * style.CURRENT.get().height)
    axes = page.axes
    largest = max(b.flops for b in bubbles) or 1.0
    areas = [_LARGEST_PT2 * b.flops / largest for b in bubbles]
    order = sorted(range(len(bubbles)), key=lambda n: -areas[n])
    for n in order:  # small ones on top of large ones
        b, colour = bubbles[n], style.COLOURS[n % len(style.COLOURS)]
        axes.scatter(
            [b.x.value], [b.y.value], s=[areas[n]], color=colour, alpha=0.3, linewidth=0, gid="bubble", zorder=2
        )
        axes.scatter(
            [b.x.value], [b.y.value], s=[areas[n]], facecolors="none", edgecolors=colour, linewidth=1, zorder=3
        )
        mark = style.OWN if b.own else {"marker": "o", "markersize": _DOT_PT, "color": colour, "gid": "dot"}
        axes.plot([b.x.value], [b.y.value], zorder=5 if b.own else 4, **mark)
        for point, bars in ((b.x, axes.hlines), (b.y, axes.vlines)):
            if point.low != point.high:
                bars([b.y.value if point is b.x else b.x.value], [point.low], [point.high], colors=colour, linewidth=1)
    style.dress(axes.xaxis, x, [v for b in bubbles for v in (b.x.value, b.x.low, b.x.high)], zoom)
    axes.margins(y=0.14)
    style.dress(axes.yaxis, y, [v for b in bubbles for v in (b.y.value, b.y.low, b.y.high)], zoom)
    _room(page, bubbles, areas)
    below: list[Artist] = [_sizes(largest, size) if any(areas) else _text_area(f"{size.title}: all 0")]
    if any(b.own for b in bubbles):
        below.append(_own_key())
    page.finish(title, small, box=VPacker(children=below, align="left", pad=0, sep=3))
    radii = [math.sqrt(area) / 2 for area in areas]
    strokes = [((b.x.low, b.y.value), (b.x.high, b.y.value)) for b in bubbles if b.x.low != b.x.high]
    strokes += [((b.x.value, b.y.low), (b.x.value, b.y.high)) for b in bubbles if b.y.low != b.y.high]
    missed = page.label(
        [b.name for b in bubbles],
        [(b.x.value, b.y.value) for b in bubbles],
        [style.OWN_PT / 2 + 0.5 if b.own else _DOT_PT / 2 + 0.5 for b in bubbles],
        radii,
        strokes,
    )
    return page, missed


def _room(page: Page, bubbles: Sequence[Bubble], areas: Sequence[float]) -> None:
    """Widen the x axis so that the circles at its ends are whole."""
    axes = page.axes
    share = math.sqrt(max(areas)) / 2 / 72 / page.width_in * 1.5
    low, high = axes.get_xlim()
    if axes.get_xscale() == "log":
        more = (high / low) ** share
        axes.set_xlim(low / more, high * more)
    else:
        more = (high - low) * share
        free = low == 0 and min(b.x.value for b in bubbles) > more
        axes.set_xlim(low if free else low - more, high + more)


def _sizes(largest: float, quantity: Quantity) -> HPacker:
    """Three circles to compare with: round numbers, the largest about that of the largest bubble."""
    top = _round(largest)
    children: list[Artist] = [_text_area(f"Area, {quantity.title}:")]
    for value in (top, top / 4, top / 16):
        across = math.sqrt(_LARGEST_PT2 * value / largest)
        box = DrawingArea(across + 1, across + 1)
        middle = (across + 1) / 2
        circle = Circle((middle, middle), across / 2, fill=False, edgecolor=style.GREY, linewidth=1, gid="size")
        box.add_artist(circle)
        children += [box, _text_area(quantity.text(value))]
    return HPacker(children=children, align="center", pad=0, sep=5)


def _own_key() -> HPacker:
    """The mark of the user's own method."""
    box = DrawingArea(style.OWN_PT + 2, style.OWN_PT + 2)
    middle = style.OWN_PT / 2 + 1
    box.add_artist(Line2D([middle], [middle], linestyle="none", **style.OWN))
    return HPacker(children=[box, _text_area("own method")], align="center", pad=0, sep=5)


def _text_area(text: str) -> TextArea:
    return TextArea(text, textprops={"size": style.LETTERS_PT})


def _round(value: float) -> float:
    """The largest of 1, 2, 4, 8 times a power of ten that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 4, 8) if step * power <= value * (1 + 1e-9))
