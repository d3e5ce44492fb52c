"""What a picture is to show, checked against the records before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from upbench import papers
from upbench.errors import SpecError, UpbenchError, unknown
from upbench.records.record import Record
from upbench.report.plots import accuracy, quantities, series, style
from upbench.report.plots.accuracy import Accuracy
from upbench.report.plots.quantities import Quantity
from upbench.report.tables.grouping import LABEL
from upbench.report.tables.result_set import ResultSet

_T = TypeVar("_T")


class Kind(StrEnum):
    """The kinds of pictures."""

    axis = "axis"
    bubble = "bubble"
    pareto = "pareto"
    resolution = "resolution"


@dataclass(frozen=True)
class PlotOptions:
    """The options of `upbench plot` as they were given; None leaves the choice to upbench."""

    kind: Kind | None = None
    metric: str | None = None
    axis: str | None = None
    x: str | None = None
    y: str | None = None
    published: str | None = None
    host: str | None = None
    title: str | None = None
    width_in: float | None = None
    style: str = "paper"
    zoom: bool = False

    @property
    def page_in(self) -> float:
        """Return the width of the page in inches."""
        return style.STYLES[self.style].width_in if self.width_in is None else self.width_in


@dataclass(frozen=True)
class Plan:
    """A picture that can be drawn.

    Args:
        kind: The kind of picture.
        results: All cells, those that failed among them.
        title: The heading.
        axis: The axis of a line picture.
        metric: The quantity of line and resolution pictures.
        x: The quantity of the x axis of bubble and pareto pictures.
        y: The quantity of their y axis.
        accuracy: The published rows that were matched, None without any.
        options: The options as they were given.
        messages: Sentences about what was chosen and what cannot be drawn.
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
    messages: list[str]


def plan(results: ResultSet, options: PlotOptions) -> Plan:
    """Check the options against the records, and decide what they leave open.

    Args:
        results: The records.
        options: The options of the command.

    Raises:
        SpecError: Options cannot be had; the error lists all mistakes together.
        UpbenchError: There is nothing to draw.
    """
    if not (good := results.measured.records):
        what = "no cell was measured" if results.records else "there are no records"
        failed = results.failed
        raise UpbenchError(
            f"nothing to draw: {what}{': ' + ', '.join(failed) if failed else ''}; run the sweep, or give another file"
        )
    mistakes: list[str] = []

    def judged(find: Callable[[], _T], instead: _T) -> _T:
        try:
            return find()
        except UpbenchError as error:
            mistakes.append(str(error))
            return instead

    known = judged(lambda: quantities.measured(results.convention), quantities.measured())
    matched = judged(lambda: _accuracy(good, options), None)
    other = bool(results.accuracies)
    results = accuracy.beside(results, matched)
    good, both = results.measured.records, {**known, **_accuracies(results)}
    kind = options.kind or _kind(results.measured, matched, options)
    mistakes += _idle(kind, options)
    metric = judged(lambda: quantities.find(options.metric or "latency", both, "--metric"), known["latency"])
    axis = judged(lambda: series.choose_axis(results.measured, options.axis), LABEL)
    x = judged(lambda: quantities.find(options.x or "latency", both, "--x"), known["latency"])
    default_y = next((c.metric.name for c in results.accuracies if c.metric is not None), "peak-memory")
    y = judged(lambda: quantities.find(options.y or default_y, both, "--y"), known["peak-memory"])
    if kind is Kind.bubble and not results.accuracies and not mistakes:
        mistakes.append(
            "--kind bubble needs published accuracy, or your own: give yours with --accuracy FILE, or name a host with "
            "--with-published, as faster-rcnn-r50, or a table with --published, as lda-aqu/table1; "
            f"known: {', '.join(papers.names())}"
        )
    width_in = style.STYLES["paper"].width_in if options.width_in is None else options.width_in
    if not width_in >= 2.5 or width_in > 20:
        mistakes.append(f"--width {width_in:g} is not between 2.5 and 20 inches; a column has 3.5, a page 7")
    if mistakes:
        raise SpecError(mistakes)
    shown = (x, y) if kind in (Kind.bubble, Kind.pareto) else (metric,)
    if not any(all(quantity.read(r) is not None for quantity in shown) for r in good):
        raise SpecError([_empty(shown, matched)])
    messages = _messages(kind, options, axis, None if other else matched, shown)
    return Plan(kind, results, _title(results.records, options), axis, metric, x, y, matched, options, messages)


def _accuracies(results: ResultSet) -> dict[str, Quantity]:
    """The accuracy of the cells as quantities that can be drawn, labelled with whose it is."""
    good = results.measured.records
    return {
        name: replace(
            quantities.of(metric), title=accuracy.title(metric.title, good) if metric.title == name else metric.title
        )
        for name, metric in results.metrics.items()
        if not metric.measured
    }


def _accuracy(records: Sequence[Record], options: PlotOptions) -> Accuracy | None:
    """The published table that was asked for or that the sweep names."""
    name = options.published or next((r.sweep.published for r in records if r.sweep and r.sweep.published), None)
    if name is None:
        if options.host is not None:
            raise UpbenchError("--host is a part of a published table; name the table with --published")
        return None
    table = papers.find(name)
    if not accuracy.metrics(table):
        fitting = [n for n in papers.names() if accuracy.metrics(papers.table(n))]
        raise unknown("published table with accuracy", name, fitting)
    return accuracy.match(records, table, options.host)


def _kind(results: ResultSet, matched: Accuracy | None, options: PlotOptions) -> Kind:
    """The kind of picture that fits the records and the options given."""
    if options.metric is not None or options.axis is not None:
        return Kind.axis
    several = len({r.settings.upsampler for r in results.records if r.accuracy}) > 1
    if options.published is not None or several or (matched and "upsampler" in results.varying):
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


def _messages(
    kind: Kind, options: PlotOptions, axis: str, matched: Accuracy | None, shown: Sequence[Quantity]
) -> list[str]:
    messages = []
    if options.kind is None:
        messages.append(f"drawn as --kind {kind}; others: {', '.join(k for k in Kind if k is not kind)}")
    if kind is Kind.axis and options.axis is None:
        messages.append(f"drawn along --axis {axis}")
    if matched is not None and any(quantity.name in accuracy.metrics(matched.table) for quantity in shown):
        more = f"; --host takes also: {', '.join(matched.other_hosts)}" if matched.other_hosts else ""
        messages.append(f"accuracy is that of {matched.table.id}, {matched.host}{more}")
    return messages


def _empty(shown: Sequence[Quantity], matched: Accuracy | None) -> str:
    """Why no cell can be drawn."""
    names = " and ".join(quantity.name for quantity in shown)
    reasons = (
        [f"{reason.lower()}: {', '.join(labels)}" for reason, labels in matched.missing.items()] if matched else []
    )
    return f"nothing to draw: no cell has {names}; {'; '.join(reasons) or 'choose another quantity'}"


def _title(records: Sequence[Record], options: PlotOptions) -> str:
    if options.title is not None:
        return options.title
    titles = dict.fromkeys(r.sweep.title or r.sweep.name for r in records if r.sweep)
    return "; ".join(titles)
