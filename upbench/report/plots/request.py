"""What a picture is to show, judged against the records before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from upbench import papers
from upbench.errors import SpecError, UpbenchError, unknown
from upbench.record import Record
from upbench.report.plots import accuracy, quantities, series
from upbench.report.plots.accuracy import Accuracy
from upbench.report.plots.quantities import Quantity
from upbench.report.tables.grouping import LABEL
from upbench.report.tables.result_set import ResultSet

_T = TypeVar("_T")


class Kind(StrEnum):
    axis = "axis"
    bubble = "bubble"
    pareto = "pareto"
    resolution = "resolution"


@dataclass(frozen=True)
class PlotOptions:
    """The options of `upbench plot` as they were given; None is a choice left to us."""

    kind: Kind | None = None
    metric: str | None = None
    axis: str | None = None
    x: str | None = None
    y: str | None = None
    published: str | None = None
    host: str | None = None
    title: str | None = None
    width_in: float = 3.5
    zoom: bool = False


@dataclass(frozen=True)
class Plan:
    """A picture that can be drawn. results: all cells, those that failed among them. x, y: of bubble and pareto.

    said: sentences about what was chosen and what cannot be drawn.
    """

    kind: Kind
    results: ResultSet
    title: str
    axis: str
    metric: Quantity
    x: Quantity
    y: Quantity
    accuracy: Accuracy | None
    options: PlotOptions
    said: list[str]


def plan(results: ResultSet, options: PlotOptions) -> Plan:
    """Judge what was asked for. Raises SpecError with all mistakes together."""
    good = results.measured.records
    if not good:
        what = "no cell was measured" if results.records else "there are no records"
        lost = results.failed
        raise UpbenchError(
            f"nothing to draw: {what}{': ' + ', '.join(lost) if lost else ''}; run the sweep, or give another file"
        )
    mistakes: list[str] = []

    def judged(find: Callable[[], _T], instead: _T) -> _T:
        try:
            return find()
        except UpbenchError as error:
            mistakes.append(str(error))
            return instead

    known = judged(lambda: quantities.measured(results.convention), quantities.measured())
    found = judged(lambda: _accuracy(good, options), None)
    kind = options.kind or _kind(results.measured, found, options)
    mistakes += _idle(kind, options)
    metric = judged(lambda: quantities.find(options.metric or "latency", known, "--metric"), known["latency"])
    axis = judged(lambda: series.choose_axis(results.measured, options.axis), LABEL)
    both = dict(known)
    if found is not None:
        both.update({name: accuracy.quantity(name, found, good) for name in accuracy.metrics(found.table)})
    x = judged(lambda: quantities.find(options.x or "latency", both, "--x"), known["latency"])
    default_y = next((name for name in both if name not in known), "peak-memory")
    y = judged(lambda: quantities.find(options.y or default_y, both, "--y"), known["peak-memory"])
    if kind is Kind.bubble and found is None and not mistakes:
        mistakes.append(
            "--kind bubble needs published accuracy: name a table with --published, as --published lda-aqu/table1; "
            f"known: {', '.join(papers.names())}"
        )
    if not options.width_in >= 2.5 or options.width_in > 20:
        mistakes.append(f"--width {options.width_in:g} is not between 2.5 and 20 inches; a column has 3.5, a page 7")
    if mistakes:
        raise SpecError(mistakes)
    shown = (x, y) if kind in (Kind.bubble, Kind.pareto) else (metric,)
    if not any(all(quantity.read(r) is not None for quantity in shown) for r in good):
        raise SpecError([_empty(shown, found)])
    said = _said(kind, options, axis, found, shown)
    return Plan(kind, results, _title(results.records, options), axis, metric, x, y, found, options, said)


def _accuracy(records: Sequence[Record], options: PlotOptions) -> Accuracy | None:
    """The published table that was asked for or that the sweep names."""
    name = options.published or next((r.sweep.published for r in records if r.sweep and r.sweep.published), None)
    if name is None:
        if options.host is not None:
            raise UpbenchError("--host is a part of a published table; name the table with --published")
        return None
    table = papers.table(name)
    if not accuracy.metrics(table):
        fitting = [n for n in papers.names() if accuracy.metrics(papers.table(n))]
        raise unknown("published table with accuracy", name, fitting)
    return accuracy.match(records, table, options.host)


def _kind(results: ResultSet, found: Accuracy | None, options: PlotOptions) -> Kind:
    """The kind of picture that fits the records and the options given."""
    if options.metric is not None or options.axis is not None:
        return Kind.axis
    if options.published is not None or (found and "upsampler" in results.varying):
        return Kind.bubble
    if options.x is not None or options.y is not None:
        return Kind.pareto
    sizes = {series.pixels(r) for r in results.records}
    return Kind.resolution if len(sizes) >= 2 and "shape" in results.varying else Kind.axis


_USES = {
    Kind.axis: ("metric", "axis", "zoom"),
    Kind.bubble: ("x", "y", "published", "host", "zoom"),
    Kind.pareto: ("x", "y", "published", "host", "zoom"),
    Kind.resolution: ("metric",),
}


def _idle(kind: Kind, options: PlotOptions) -> list[str]:
    """Options that this kind of picture would pass over in silence."""
    given = [name for name in ("metric", "axis", "x", "y", "published", "host", "zoom") if getattr(options, name)]
    idle = [f"--{name}" for name in given if name not in _USES[kind]]
    uses = ", ".join(f"--{name}" for name in _USES[kind])
    return [f"{', '.join(idle)}: not of --kind {kind}, which takes {uses}"] if idle else []


def _said(kind: Kind, options: PlotOptions, axis: str, found: Accuracy | None, shown: Sequence[Quantity]) -> list[str]:
    said = []
    if options.kind is None:
        said.append(f"drawn as --kind {kind}; others: {', '.join(k for k in Kind if k is not kind)}")
    if kind is Kind.axis and options.axis is None:
        said.append(f"drawn along --axis {axis}")
    if found is not None and any(quantity.name in accuracy.metrics(found.table) for quantity in shown):
        more = f"; --host takes also: {', '.join(found.other_hosts)}" if found.other_hosts else ""
        said.append(f"accuracy is that of {found.table.id}, {found.host}{more}")
    return said


def _empty(shown: Sequence[Quantity], found: Accuracy | None) -> str:
    """Why no cell can be drawn."""
    names = " and ".join(quantity.name for quantity in shown)
    lost = [f"{reason.lower()}: {', '.join(labels)}" for reason, labels in found.missing.items()] if found else []
    return f"nothing to draw: no cell has {names}; {'; '.join(lost) or 'choose another quantity'}"


def _title(records: Sequence[Record], options: PlotOptions) -> str:
    if options.title is not None:
        return options.title
    titles = dict.fromkeys(r.sweep.title or r.sweep.name for r in records if r.sweep)
    return "; ".join(titles)
