"""Which rows a table has first: sorted by a quantity, and those that fit within bounds before those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from upbench import conventions, metrics, units
from upbench.errors import SpecError
from upbench.gate import Finding, Result, budgets
from upbench.gate.budgets import Budgets
from upbench.metrics import Metric
from upbench.records.record import Record
from upbench.report.tables.columns import Column

WORDS = {Result.failed: "no", Result.unsure: "unsure"}
"""The word of a row whose worst bound has this result; else it fits."""


@dataclass(frozen=True)
class Selection:
    """The order of rows, and the bounds that they are to keep.

    Args:
        by: The quantity that rows are sorted by, the best first; None for the order of the records.
        descending: Whether the order is turned round.
        text: The bounds as typed; empty for none.
        bounds: The bounds.
        convention: How parameters and MACs are counted.
    """

    by: Metric | None = None
    descending: bool = False
    text: str = ""
    bounds: Budgets = field(default_factory=Budgets)
    convention: str = conventions.DEFAULT

    @property
    def selects(self) -> bool:
        """Whether there is an order or a bound."""
        return self.by is not None or bool(self.bounds.bounds)

    def ordered(self, records: Sequence[Record]) -> list[Record]:
        """Return the records in their order: what fits first, then by the quantity, those without a value last."""
        found = list(records)
        if (by := self.by) is not None:
            sign = -1 if self.descending != (by.better == "higher") else 1
            found.sort(key=lambda r: (by.read(r) is None, sign * (by.read(r) or 0)))
        if self.bounds.bounds:
            found.sort(key=lambda r: ("yes", "unsure", "no").index(self.fits(r, records)[0]))
        return found

    def fits(self, record: Record, records: Sequence[Record]) -> tuple[str, list[str]]:
        """Return "yes", "unsure" or "no", and the names of the quantities that are the reason.

        Args:
            record: The record.
            records: All records of its comparison, which bounds may refer to.
        """
        if record.status != "ok":
            return "no", [record.status]
        findings = self._findings(record, records)
        for result, word in WORDS.items():
            if names := [f.gate.partition(" ")[2] for f in findings if f.result is result]:
                return word, names
        return "yes", []

    def _findings(self, record: Record, records: Sequence[Record]) -> list[Finding]:
        """Judge one record; a reference is judged along, and its own findings left out."""
        wanted = {bound.amount.reference for bound in self.bounds.bounds}
        others = [r for r in records if r is not record and r.label in wanted]
        found = budgets.judge(self.bounds, [record, *others], self.convention)
        return [f for f in found if f.upsampler == record.label]

    def column(self, records: Sequence[Record]) -> list[Column]:
        """Return the column that says which records fit; none without bounds."""
        if not self.bounds.bounds:
            return []

        def shown(record: Record) -> str:
            word, names = self.fits(record, records)
            return f"{word}: {', '.join(names)}" if names else word

        return [Column("fits", "Fits", lambda r: self.fits(r, records)[0], units.plain, numeric=False, shown=shown)]

    def sentence(self, records: Sequence[Record], names: Sequence[str]) -> str:
        """Return the sentence that says which records fit; empty without bounds.

        Args:
            records: The records.
            names: The name of each in the sentence.
        """
        if not self.bounds.bounds:
            return ""
        fitting = [name for name, r in zip(names, records, strict=True) if self.fits(r, records)[0] == "yes"]
        listed = f": {', '.join(fitting)}" if fitting else ""
        return f"{len(fitting)} of {len(records)} fit {self.text}{listed}."


def parse(
    sort: str | None,
    fit: str | None,
    convention: str = conventions.DEFAULT,
    typed: Sequence[str] = (),
    names: Sequence[str] = (),
    labels: Sequence[str] = (),
    known: Mapping[str, Metric] | None = None,
) -> Selection:
    """Read --sort and --fit.

    Args:
        sort: A quantity, as "latency", or "-latency" for the worst first; None for no order.
        fit: Bounds, as "latency=5ms,params=50k": the most of what is better lower, the least of what is better higher.
        convention: How parameters and MACs are counted.
        typed: What was typed for each upsampler, where bounds may refer to one.
        names: Their registered names.
        labels: Their labels.
        known: Every quantity that rows may be sorted by; None for those that upbench measures.

    Raises:
        SpecError: If a bound cannot be understood.
        UnknownName: If there is no such quantity.
    """
    by = None
    if sort is not None:
        numbers = metrics.numeric(metrics.under(convention) if known is None else known)
        wanted = sort.removeprefix("-")
        by = numbers[wanted] if wanted in numbers else metrics.find(wanted, numbers, "--sort")
    upper, lower = list[str](), list[str]()
    for part in filter(None, map(str.strip, (fit or "").split(","))):
        name = metrics.spelling(part.partition("=")[0].rpartition(".")[2], metrics.METRICS)
        higher = name in metrics.METRICS and metrics.METRICS[name].better == "higher"
        (lower if higher else upper).append(part)
    bounds, mistakes = budgets.parse(upper, lower, (), {}, "")
    if fit is not None and not (upper or lower):
        mistakes.append(f"--fit {fit!r} has no bound; write --fit latency=5ms,params=50k")
    if not mistakes and (labels or any(bound.amount.reference for bound in bounds.bounds)):
        bounds, mistakes = budgets.resolve(bounds, typed, names, labels)
    if mistakes:
        raise SpecError([m.replace("--max", "--fit").replace("--min", "--fit") for m in mistakes])
    return Selection(by, bool(sort and sort.startswith("-")), fit or "", bounds, convention)
