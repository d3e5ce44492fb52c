"""Drawing what a request has planned: the module that knows every kind of picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.plots import accuracy, axis, bubble, footer, growth, pareto, quantities, resolution, series
from upbench.report.plots.page import Page
from upbench.report.plots.quantities import Quantity
from upbench.report.plots.request import Kind, Plan

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
    said = [*plan.messages, *messages, *picture.messages]
    missing = [sentence for sentence in picture.page.unprinted if sentence not in said]
    unprinted = [f"without room on the picture: {' '.join(missing)}"] if missing else []
    return Picture(picture.page, [*said, *unprinted], picture.tables)


def _axis(plan: Plan) -> Picture:
    lines, without = series.lines(plan.results.measured, plan.axis, plan.metric)
    left_out = _left_out(without, [plan.metric])
    names = series.names(plan.results.measured)
    shown = [plan.metric.name] if not plan.results.metrics[plan.metric.name].measured else []
    said = accuracy.sentences(plan.results.measured.records, shown, names, "")
    small = footer.lines(plan.results, [plan.metric], left_out, said)
    page = axis.draw(lines, plan.axis, plan.metric, plan.title, small, plan.options.page_in, plan.options.zoom)
    return Picture(page, left_out, [])


def _bubble(plan: Plan) -> Picture:
    flops = quantities.measured(plan.results.convention)["macs"]
    records, names = plan.results.measured.records, series.names(plan.results.measured)
    shown = _accuracies(plan)
    own = accuracy.own(records, shown)
    bubbles, without, drawn = [], [], []
    for n, record in enumerate(records):
        x, y, size = plan.x.read(record), plan.y.read(record), flops.read(record)
        if x is None or y is None or size is None:
            if not _lacks(record, shown):
                without.append(names[n])
            continue
        drawn.append(n)
        bubbles.append(bubble.Bubble(_marked(names[n], record, shown), x, y, size.value, n in own))
    left_out = _left_out(without, [plan.x, plan.y, flops])
    small = footer.lines(
        plan.results, [plan.x, plan.y, flops], [*_unmatched(plan, NAMED), *left_out], _said(plan, drawn, names)
    )
    width, zoom = plan.options.page_in, plan.options.zoom
    page, missed = bubble.draw(bubbles, plan.x, plan.y, flops, plan.title, small, width, zoom)
    return Picture(page, [*_unmatched(plan), *left_out, *_nameless(missed)], [])


def _pareto(plan: Plan) -> Picture:
    records, names = plan.results.measured.records, series.names(plan.results.measured)
    shown = _accuracies(plan)
    own = accuracy.own(records, shown)
    cells, drawn, without = [], list[int](), []
    for n, record in enumerate(records):
        x, y = plan.x.read(record), plan.y.read(record)
        if x is None or y is None:
            if not _lacks(record, shown):
                without.append(names[n])
            continue
        drawn.append(n)
        cells.append(pareto.Cell(_marked(names[n], record, shown), x, y, n in own))
    left_out = _left_out(without, [plan.x, plan.y])
    brief = [*(_unmatched(plan, NAMED) if shown else []), *left_out]
    small = footer.lines(plan.results, [plan.x, plan.y], brief, _said(plan, drawn, names))
    by_passes = any(records[n] in plan.results.passes for n in drawn)
    judge = (
        (lambda these, b: plan.results.verdicts([records[drawn[a]] for a in these], records[drawn[b]]))
        if by_passes
        else None
    )
    best = pareto.front(cells, plan.x, plan.y, judge)
    width, zoom = plan.options.page_in, plan.options.zoom
    page, missed = pareto.draw(cells, plan.x, plan.y, best, plan.title, small, width, zoom)
    left_out = [*(_unmatched(plan) if shown else []), *left_out]
    return Picture(page, [*left_out, f"on the front: {'; '.join(cells[n].name for n in best)}", *_nameless(missed)], [])


def _accuracies(plan: Plan) -> list[str]:
    """The names of the accuracies that the axes show."""
    return [
        q.name for q in (plan.x, plan.y) if q.name in plan.results.metrics and not plan.results.metrics[q.name].measured
    ]


def _lacks(record: Record, shown: Sequence[str]) -> bool:
    """Whether a record is left out since it has no accuracy, which is said once for all of them."""
    return any(name not in (record.accuracy or {}) for name in shown)


def _marked(name: str, record: Record, shown: Sequence[str]) -> str:
    return f"{name} ?" if accuracy.doubtful(record, shown) else name


def _said(plan: Plan, drawn: Sequence[int], names: Sequence[str]) -> list[str]:
    """The sentences on the accuracy that is drawn."""
    records = plan.results.measured.records
    part = plan.accuracy.host if plan.accuracy is not None else ""
    return accuracy.sentences([records[n] for n in drawn], _accuracies(plan), [names[n] for n in drawn], part)


def _resolution(plan: Plan) -> Picture:
    lines, without = series.by_size(plan.results.measured, plan.metric)
    left_out = _left_out(without, [plan.metric])
    growths = growth.fit(lines)
    crossed = growth.crossovers(growths)
    small = footer.lines(plan.results, [plan.metric], left_out)
    page = resolution.draw(growths, crossed, plan.metric, plan.title, small, plan.options.page_in)
    laws = growth.laws_table(growths, plan.title)
    if not crossed:
        return Picture(page, [*left_out, growth.NO_CROSSING], [laws])
    return Picture(page, left_out, [laws, growth.crossings_table(crossed)])


def _left_out(names: list[str], wanted: list[Quantity]) -> list[str]:
    what = ", ".join(quantity.title for quantity in wanted)
    return [f"Not drawn, without a value of {what}: {'; '.join(names)}."] if names else []


def _unmatched(plan: Plan, most: int | None = None) -> list[str]:
    """Records without the accuracy that is shown, with the reason where a published table was looked into.

    Args:
        plan: The picture.
        most: Say only how many, when they are more; None names all.
    """
    shown, records = _accuracies(plan), plan.results.measured.records
    lacking = [n for n, record in enumerate(records) if _lacks(record, shown)]
    if not lacking:
        return []
    what = "published accuracy" if plan.accuracy is not None else "accuracy"
    if most is not None and len(lacking) > most:
        return [f"Not drawn, without {what}: {len(lacking)} of {len(records)} cells."]
    if plan.accuracy is None:
        return [f"Not drawn, without {what}: {', '.join(dict.fromkeys(records[n].label for n in lacking))}."]
    labels = {records[n].label for n in lacking}
    reasons = {why: [one for one in names if one in labels] for why, names in plan.accuracy.missing.items()}
    listed = "; ".join(f"{reason}: {', '.join(names)}" for reason, names in reasons.items() if names)
    return [f"Not drawn, without {what}. {listed}."] if listed else []


def _nameless(names: list[str]) -> list[str]:
    return [f"there was no room for the names of {'; '.join(names)}; a larger --width has it"] if names else []
