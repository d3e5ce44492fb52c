"""The style of pictures: colours that colour-blind readers tell apart, a marker for each line, letters of 8 points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

from upbench.report.plots.quantities import Quantity

COLOURS = ("#0072B2", "#D55E00", "#000000", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""The palette of Okabe and Ito (2008), without the yellow, which is hard to see on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
"""The markers of lines, in order."""
Dashes = Literal["-", "--", "-.", ":"]
"""The dash patterns of matplotlib."""
LINES: tuple[Dashes, ...] = ("-", "--", "-.", ":")
"""The dash patterns of lines, in order."""
GREY = "#666666"
"""The colour of what stays in the background."""
LETTERS_PT = 8.0
"""The size of letters, in points."""
SMALL_PT = 6.5
"""The size of the small print, in points."""

OWN_PT = 9.0
"""The size of the mark of a user's own method, in points."""
OWN: dict[str, Any] = {
    "marker": "*",
    "markersize": OWN_PT,
    "markerfacecolor": "#F0E442",
    "markeredgecolor": "#000000",
    "markeredgewidth": 0.9,
    "gid": "own",
}
"""The mark of a user's own method."""

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": LETTERS_PT,
    "axes.titlesize": LETTERS_PT,
    "axes.labelsize": LETTERS_PT,
    "xtick.labelsize": LETTERS_PT,
    "ytick.labelsize": LETTERS_PT,
    "legend.fontsize": LETTERS_PT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,  # TrueType, so that letters stay letters
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "upbench",  # the same ids every time
}
"""The settings of matplotlib that every page is drawn with."""


@dataclass(frozen=True)
class Style:
    """What a picture is made for.

    Args:
        width_in: The width of the page where none is asked for, in inches.
        dpi: Dots an inch of a PNG.
        height: What heights of axes are multiplied by.
        notes: The most of the page's height that the small print takes, as a part of 1.
        settings: Settings of matplotlib besides SETTINGS.
    """

    width_in: float
    dpi: int
    height: float
    notes: float
    settings: Mapping[str, Any] = field(default_factory=dict)


STYLES = {
    "paper": Style(3.5, 300, 1.0, 0.2),
    "slides": Style(
        5.0,
        400,
        0.62,
        0.1,
        {"lines.linewidth": 1.8, "lines.markersize": 6.0, "axes.linewidth": 1.1, "grid.linewidth": 0.7},
    ),
}
"""Name -> style. A slide is wide, and its letters are 8 points of 5 inches: 21 points on a slide of 13.3 inches."""
CURRENT: ContextVar[Style] = ContextVar("style", default=STYLES["paper"])
"""The style of the page that is being drawn."""


@dataclass(frozen=True)
class Look:
    """What tells a line from the others even without colour: its marker, whether that is filled, its dashes."""

    colour: str
    marker: str
    filled: bool
    dashes: Dashes

    def markers(self) -> dict[str, Any]:
        """Return the keywords of Line2D for the markers."""
        face = self.colour if self.filled else "white"
        return {"marker": self.marker, "color": self.colour, "markerfacecolor": face, "markeredgecolor": self.colour}


def look(n: int) -> Look:
    """Return the look of the n-th line; the first 28 differ in marker or filling."""
    filled = (n // len(MARKERS)) % 2 == 0
    return Look(COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)], filled, LINES[n % len(LINES)])


def apart(places: Sequence[float], texts: Sequence[str], width_in: float) -> list[int]:
    """Return the indices of the ticks of an x axis whose labels do not touch: the last, then each that has room.

    Args:
        places: Where they stand on the axis, in any unit, ascending.
        texts: Their labels.
        width_in: The width of the page in inches.
    """
    if len(places) < 2:
        return list(range(len(places)))
    dots = 0.74 * width_in * 72 / (places[-1] - places[0])
    kept = [len(places) - 1]
    for n in range(len(places) - 2, -1, -1):
        needed = (len(texts[n]) + len(texts[kept[-1]])) / 2 * 0.64 * LETTERS_PT + 4
        if (places[kept[-1]] - places[n]) * dots >= needed:
            kept.append(n)
    return sorted(kept)


def dress(axis: Any, quantity: Quantity, values: Sequence[float], zoom: bool = False) -> None:
    """Set scale, ticks and label of an axis for the values drawn on it.

    The scale is logarithmic from a factor of 15 on; otherwise it begins at 0 where that has a meaning.

    Args:
        axis: The axis of matplotlib.
        quantity: What it shows.
        values: The values drawn, in SI base units.
        zoom: Let the axis begin where the values do, and not at 0.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    factor, unit = quantity.scale_for(values)
    above = [v for v in values if v > 0]
    logarithmic = quantity.zero and len(above) == len(values) and max(above) >= 15 * min(above)
    notes = [unit] if unit else []
    if logarithmic:
        ticks(axis, above, factor)
        notes.append("log scale")
    elif quantity.zero and not zoom:
        top = max(values, default=0) or 1.0
        _limits(axis)(0, 1.08 * top)
    elif quantity.zero:
        notes.append("not from 0")
    axis.set_minor_formatter(NullFormatter())
    if not logarithmic and factor != 1:
        low, high = _limits(axis)()
        if zoom or not quantity.zero:
            _limits(axis)(low, high)
        steps = MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]).tick_values(low / factor, high / factor)
        axis.set_major_locator(FixedLocator([p * factor for p in steps if low <= p * factor <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / factor:.6g}"))
    axis.set_label_text(f"{quantity.title} ({', '.join(notes)})" if notes else quantity.title)


def ticks(axis: Any, values: Sequence[float], factor: float = 1.0) -> None:
    """Make an axis logarithmic, with ticks at 1, 2, 5 as long as they are few, and at powers of ten from three decades on.

    Args:
        axis: The axis of matplotlib.
        values: The values drawn.
        factor: The unit in which the ticks are round.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(values), max(values)
    margin = (high / low) ** 0.06 if high > low else 2.0
    _scale(axis)("log")
    _limits(axis)(low / margin, high * margin)
    steps = (1, 2, 5) if high / low < 200 else (1, 3) if high / low < 2000 else (1,)
    positions = [factor * s * 10.0**e for e in range(-12, 18) for s in steps]
    axis.set_major_locator(FixedLocator([p for p in positions if low / margin <= p <= high * margin]))
    axis.set_minor_locator(NullLocator())


def _scale(axis: Any) -> Any:
    return axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale


def _limits(axis: Any) -> Any:
    return axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
