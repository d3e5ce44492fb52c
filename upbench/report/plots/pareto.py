"""Two quantities against each other, and the cells that no other cell beats in both: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.lines import Line2D

from upbench.analysis import dominance
from upbench.analysis.dominance import Better, Judge
from upbench.report.plots import style
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Point, Quantity


@dataclass(frozen=True)
class Cell:
    """One cell: its name and its two quantities; `own`: whether it is the user's own method."""

    name: str
    x: Point
    y: Point
    own: bool = False


LATENCY = "latency"
"""Name of the quantity that verdicts are about."""


def front(cells: Sequence[Cell], x: Quantity, y: Quantity, judge: Judge | None = None) -> list[int]:
    """Return the indices of the cells on the Pareto front, from the best x to the worst.

    A cell is dominated by another that is at least as good in both quantities, by their values, and better in one.

    Args:
        cells: The cells.
        x: The quantity of the x axis.
        y: The quantity of the y axis.
        judge: The verdicts on the latencies of some cells against another one, by their indices, which then decide in
            place of their values: what is not told apart does not dominate.
    """

    def good(cell: Cell) -> tuple[float, float]:
        return cell.x.value if x.higher else -cell.x.value, cell.y.value if y.higher else -cell.y.value

    indices = [
        n
        for n, cell in enumerate(cells)
        if judge is None
        and not any(
            good(o)[0] >= good(cell)[0] and good(o)[1] >= good(cell)[1] and good(o) != good(cell) for o in cells
        )
    ]
    if judge is not None:
        both = [((x, cell.x), (y, cell.y)) for cell in cells]
        exact = [{q.name: point.value for q, point in pair if q.name != LATENCY} for pair in both]
        better: dict[str, Better] = {q.name: "higher" if q.higher else "lower" for q in (x, y)}
        timed = {LATENCY: judge} if LATENCY in better else {}
        indices = [n for n, by in enumerate(dominance.dominated_by(exact, timed, better)) if not by]
    return sorted(indices, key=lambda n: (-good(cells[n])[0], -good(cells[n])[1], n))


def draw(
    cells: Sequence[Cell],
    x: Quantity,
    y: Quantity,
    best: Sequence[int],
    title: str,
    small: Sequence[str],
    width_in: float,
    zoom: bool,
) -> tuple[Page, list[str]]:
    """Draw two quantities against each other, with the Pareto front; cells off the front are hollow and grey.

    Args:
        cells: The cells.
        x: The quantity of the x axis.
        y: The quantity of the y axis.
        best: The indices of those on the front, see `front`.
        title: The heading of the page.
        small: The small print.
        width_in: The width of the page in inches.
        zoom: Let axes begin where the values do, and not at 0.

    Returns:
        The page, and the names for which there was no room.
    """
    page = Page(width_in, width_in * 0.72 * style.CURRENT.get().height)
    axes = page.axes
    for n, cell in enumerate(cells):
        on = n in best
        colour = style.COLOURS[0] if on else style.GREY
        axes.hlines([cell.y.value], [cell.x.low], [cell.x.high], colors=colour, linewidth=1)
        axes.vlines([cell.x.value], [cell.y.low], [cell.y.high], colors=colour, linewidth=1)
        face = colour if on else "white"
        axes.plot(
            [cell.x.value], [cell.y.value], "o" if on else "s", markersize=5 if on else 4, markerfacecolor=face,
            markeredgecolor=colour, clip_on=False, zorder=5 if on else 4, gid="front" if on else "dominated", label="_",
        )  # fmt: skip
        if cell.own:
            axes.plot([cell.x.value], [cell.y.value], zorder=6, clip_on=False, label="_", linestyle="none", **style.OWN)
    style.dress(axes.xaxis, x, [v for c in cells for v in (c.x.value, c.x.low, c.x.high)], zoom)
    style.dress(axes.yaxis, y, [v for c in cells for v in (c.y.value, c.y.low, c.y.high)], zoom)
    if not y.zero:
        axes.margins(y=0.12)
    (line,) = axes.step(
        [cells[n].x.value for n in best], [cells[n].y.value for n in best], where="post", color=style.COLOURS[0],
        linewidth=1, zorder=1, gid="front-line", label="Pareto front",
    )  # fmt: skip
    own = [Line2D([], [], linestyle="none", label="own method", **style.OWN)] if any(c.own for c in cells) else []
    page.finish(title, small, [line, *_keys(), *own])
    at = [(c.x.value, c.y.value) for c in cells]
    bars = [((c.x.low, c.y.value), (c.x.high, c.y.value)) for c in cells if c.x.low != c.x.high]
    bars += [((c.x.value, c.y.low), (c.x.value, c.y.high)) for c in cells if c.y.low != c.y.high]
    stairs = list(pairwise(_corners(cells, best)))
    radii = [style.OWN_PT / 2 if c.own else 3.0 for c in cells]
    missed = page.label([c.name for c in cells], at, radii, radii, stairs + bars)
    return page, missed


def _corners(cells: Sequence[Cell], best: Sequence[int]) -> list[tuple[float, float]]:
    """The stairs of the front: along x first, then along y."""
    corners: list[tuple[float, float]] = []
    for n in best:
        if corners:
            corners.append((cells[n].x.value, corners[-1][1]))
        corners.append((cells[n].x.value, cells[n].y.value))
    return corners


def _keys() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", linestyle="none", color=style.COLOURS[0], label="on the front"),
        Line2D(
            [], [], marker="s", linestyle="none", markerfacecolor="white", markeredgecolor=style.GREY, markersize=4,
            label="another is as good or better in both",
        ),
    ]  # fmt: skip
