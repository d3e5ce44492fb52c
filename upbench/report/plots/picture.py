"""Drawing what a request has planned: the module that knows every kind of picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.plots import axis, bubble, footer, growth, pareto, quantities, resolution, series
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Quantity
from upbench.report.plots.request import Kind, Plan
from upbench.report.tables.pass_levels import passes_of

NAMED = 10
"""The most cells without a published row that are named on the page itself; stderr names all of them."""


@dataclass(frozen=True)
class Picture:
    """A picture as it was drawn.

    Args:
        page: The page.
        messages: Sentences on what is not on it.
        tables: Tables that belong to it.
    """

    page: Page
    messages: list[str]
    tables: list[Table]


def draw(plan: Plan) -> Picture:
    """Draw a picture.

    Raises:
        UpbenchError: No cell has what the picture is to show.
    """
    makers: dict[Kind, Callable[[Plan], Picture]] = {
        Kind.axis: _axis, Kind.bubble: _bubble, Kind.pareto: _pareto, Kind.resolution: _resolution,
    }  # fmt: skip
    picture = makers[plan.kind](plan)
    failed = plan.results.failed
    messages = [f"failed, not drawn: {'; '.join(failed)}"] if failed else []
    return Picture(picture.page, [*plan.messages, *messages, *picture.messages], picture.tables)


def _axis(plan: Plan) -> Picture:
    lines, without = series.lines(plan.results.measured, plan.axis, plan.metric)
    left_out = _left_out(without, [plan.metric])
    small = footer.lines(plan.results, [plan.metric], left_out)
    page = axis.draw(lines, plan.axis, plan.metric, plan.title, small, plan.options.width_in, plan.options.zoom)
    return Picture(page, left_out, [])


def _bubble(plan: Plan) -> Picture:
    assert plan.accuracy is not None
    flops = quantities.measured(plan.results.convention)["macs"]
    bubbles, without, names = [], [], series.names(plan.results.measured)
    for n, record in enumerate(plan.results.measured.records):
        matched = plan.accuracy.matches.get(n)
        x, y, size = plan.x.read(record), plan.y.read(record), flops.read(record)
        if x is None or y is None or size is None:
            if matched is not None:
                without.append(names[n])
            continue
        name = names[n] + (" ?" if matched is not None and matched.remark else "")
        bubbles.append(bubble.Bubble(name, x, y, size.value))
    left_out = _left_out(without, [plan.x, plan.y, flops])
    brief = [*_unmatched(plan, NAMED), *left_out]
    small = footer.lines(plan.results, [plan.x, plan.y, flops], brief, plan.accuracy)
    width, zoom = plan.options.width_in, plan.options.zoom
    page, missed = bubble.draw(bubbles, plan.x, plan.y, flops, plan.title, small, width, zoom)
    return Picture(page, [*_unmatched(plan), *left_out, *_nameless(missed)], [])


def _pareto(plan: Plan) -> Picture:
    cells, drawn, without, published = [], list[Record](), [], {plan.x.name, plan.y.name} - set(quantities.measured())
    used = plan.accuracy if published else None
    names = series.names(plan.results.measured)
    for n, record in enumerate(plan.results.measured.records):
        x, y = plan.x.read(record), plan.y.read(record)
        if x is None or y is None:
            if used is None or n in used.matches:
                without.append(names[n])
            continue
        matched = used.matches.get(n) if used else None
        drawn.append(record)
        cells.append(pareto.Cell(names[n] + (" ?" if matched and matched.remark else ""), x, y))
    left_out = _left_out(without, [plan.x, plan.y])
    brief = [*(_unmatched(plan, NAMED) if used else []), *left_out]
    small = footer.lines(plan.results, [plan.x, plan.y], brief, used)
    by_passes = any(map(passes_of, drawn))
    judge = (lambda a, b: plan.results.verdict(drawn[a], drawn[b])) if by_passes else None
    best = pareto.front(cells, plan.x, plan.y, judge)
    width, zoom = plan.options.width_in, plan.options.zoom
    page, missed = pareto.draw(cells, plan.x, plan.y, best, plan.title, small, width, zoom)
    left_out = [*(_unmatched(plan) if used else []), *left_out]
    return Picture(page, [*left_out, f"on the front: {'; '.join(cells[n].name for n in best)}", *_nameless(missed)], [])


def _resolution(plan: Plan) -> Picture:
    lines, without = series.by_size(plan.results.measured, plan.metric)
    left_out = _left_out(without, [plan.metric])
    growths = growth.fit(lines)
    crossed = growth.crossovers(growths)
    small = footer.lines(plan.results, [plan.metric], left_out)
    page = resolution.draw(growths, crossed, plan.metric, plan.title, small, plan.options.width_in)
    laws = growth.laws_table(growths, plan.title)
    if not crossed:
        return Picture(page, [*left_out, growth.NO_CROSSING], [laws])
    return Picture(page, left_out, [laws, growth.crossings_table(crossed)])


def _left_out(names: list[str], wanted: list[Quantity]) -> list[str]:
    what = ", ".join(quantity.title for quantity in wanted)
    return [f"Not drawn, without a value of {what}: {'; '.join(names)}."] if names else []


def _unmatched(plan: Plan, most: int | None = None) -> list[str]:
    """Records to which no published row belongs; only how many, when they are more than `most`."""
    if plan.accuracy is None or not plan.accuracy.missing:
        return []
    many = sum(map(len, plan.accuracy.missing.values()))
    if most is not None and many > most:
        return [f"Not drawn, without published accuracy: {many} of {len(plan.results.measured.records)} cells."]
    listed = "; ".join(f"{reason}: {', '.join(names)}" for reason, names in plan.accuracy.missing.items())
    return [f"Not drawn, without published accuracy. {listed}."]


def _nameless(names: list[str]) -> list[str]:
    return [f"there was no room for the names of {'; '.join(names)}; a larger --width has it"] if names else []
