"""What findings add up to: distinct figures, the share that chance would give, columns that count in several ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from upbench.reproduce.audit import NEIGHBOURS, NOT_VERDICT, VERDICTS, Audit, Finding
from upbench.reproduce.claims import Quantity
from upbench.reproduce.explanations import STATED, Counting
from upbench.reproduce.rounding import NEAREST, agrees


@dataclass(frozen=True)
class Figure:
    """One distinct figure: host model, upsampler and printed value, in every table that prints it."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """Return the verdict of most rows of the figure; of two that are equally many, the weaker."""
        counted = Counter(f.verdict for f in self.findings)
        return max(VERDICTS, key=lambda v: (counted[v], VERDICTS.index(v)))

    @property
    def first(self) -> Finding:
        """Return the first of its rows that has the figure's verdict."""
        return next(f for f in self.findings if f.verdict == self.verdict)

    @property
    def agreed(self) -> bool:
        """Return whether all its rows have the same verdict."""
        return len({f.verdict for f in self.findings}) == 1


def distinct(findings: Sequence[Finding]) -> list[Figure]:
    """Return the distinct figures of findings, in the order in which they first appear."""
    by_figure: dict[object, list[Finding]] = {}
    for finding in findings:
        by_figure.setdefault(finding.claim.distinct, []).append(finding)
    return [Figure(tuple(same)) for same in by_figure.values()]


def by_verdict(figures: Sequence[Figure], quantity: Quantity) -> dict[str, int]:
    """Return how many figures of a quantity have each verdict."""
    counted = Counter(f.verdict for f in figures if f.first.claim.quantity == quantity)
    return {verdict: counted[verdict] for verdict in VERDICTS}


@dataclass(frozen=True)
class Chance:
    """How many figures that nobody printed have each verdict, judged like printed ones."""

    tested: int
    by_verdict: dict[str, int]

    def share(self, verdict: str) -> float | None:
        """Return the share of a verdict, as a part of 1; None where none was tested."""
        return self.by_verdict[verdict] / self.tested if self.tested else None


def chance(audit: Audit, figures: Sequence[Figure], quantity: Quantity) -> Chance:
    """Judge each figure moved by one, two and three units of its last digit either way, where that is positive.

    A moved figure that is printed elsewhere for the same upsampler in the same host is left out: it is not bogus.

    Args:
        audit: Gives the search that judges.
        figures: The printed figures.
        quantity: The quantity whose figures are judged.

    Returns:
        How many were judged, and how many got each verdict.
    """
    printed = {f.claim.distinct for figure in figures for f in figure.findings}
    counted: Counter[str] = Counter()
    for figure in figures:
        claim = figure.first.claim
        if claim.quantity != quantity:
            continue
        for n in NEIGHBOURS:
            delta = claim.delta + n * claim.step
            if delta > 0 and (*claim.distinct[:3], delta, claim.step) not in printed:
                counted[audit.search.judge(claim, delta).verdict] += 1
    return Chance(counted.total(), {verdict: counted[verdict] for verdict in VERDICTS})


@dataclass(frozen=True)
class Column:
    """A column of a table that counts in more than one way.

    Args:
        table: The id of the table.
        section: The section of the table.
        quantity: What the column counts.
        usual: How most of it counts.
        size: The number of its figures.
        others: The figures that count in another way.
    """

    table: str
    section: str | None
    quantity: Quantity
    usual: Counting
    size: int
    others: tuple[Finding, ...]


def mixed(findings: Sequence[Finding]) -> list[Column]:
    """Return the columns of which some figures come out only under another convention or way of counting."""
    columns: dict[tuple[str, str | None, Quantity], list[Finding]] = {}
    for finding in findings:
        columns.setdefault(finding.claim.column, []).append(finding)
    mixed_columns = []
    for (table, section, quantity), members in columns.items():
        exceptions = [
            f for f in members if f.verdict != NOT_VERDICT and f.best and f.best.candidate.counting != f.usual
        ]
        if exceptions:
            mixed_columns.append(Column(table, section, quantity, members[0].usual, len(members), tuple(exceptions)))
    return mixed_columns


MULTIPLES = ((2, 1, "twice"), (1, 2, "half"), (4, 1, "four times"), (1, 4, "a quarter of"))
"""Plain multiples of a count that papers are known to print, as (times, over, words)."""


def coincidences(finding: Finding, audit: Audit) -> list[str]:
    """Return what else has the value of a figure that is not reproduced: leads for its explanation, not explanations.

    Tried are a plain multiple of our count, the count of another row of the column, and the same upsampler in another
    host.

    Args:
        finding: The figure and what came of it.
        audit: All figures, and the search that judges.
    """
    claim, sums = finding.claim, audit.search.sums
    leads = []
    if finding.value:
        for up, down, words in MULTIPLES:
            if agrees(finding.value * up // down, claim.delta, claim.step, NEAREST):
                leads.append(f"it is {words} our count of {finding.value:,}")
    for another in audit.search.claims:
        if another is claim or another.quantity != claim.quantity:
            continue
        same_column = another.column == claim.column and another.host.title == claim.host.title
        same_upsampler = another.row.upsampler == claim.row.upsampler and another.paper == claim.paper
        if another.row.upsampler != claim.row.upsampler and same_column:
            words = f"it is our count of {another.label} in the same host"
        elif same_upsampler and another.host.title != claim.host.title:
            another = replace(another, stated=claim.stated)
            words = f"it is our count of {claim.label} in {another.host.name}"
        else:
            continue
        value = sums.value(another, STATED, finding.usual)
        if value and agrees(value, claim.delta, claim.step, NEAREST):
            leads.append(f"{words}, {value:,}")
    return list(dict.fromkeys(leads))
