"""What findings add up to: distinct figures, how often chance would have done, columns that count in several ways."""

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
    """One distinct figure: host model, upsampler and printed value, in every table that prints it.

    verdict: that of most of its rows; of two that are equally many, the weaker.
    """

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        counted = Counter(f.verdict for f in self.findings)
        return max(VERDICTS, key=lambda v: (counted[v], VERDICTS.index(v)))

    @property
    def first(self) -> Finding:
        """The first of its rows that has the figure's verdict."""
        return next(f for f in self.findings if f.verdict == self.verdict)

    @property
    def agreed(self) -> bool:
        return len({f.verdict for f in self.findings}) == 1


def distinct(findings: Sequence[Finding]) -> list[Figure]:
    """The distinct figures of findings, in the order in which they first appear."""
    found: dict[object, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.claim.distinct, []).append(finding)
    return [Figure(tuple(same)) for same in found.values()]


def by_verdict(figures: Sequence[Figure], quantity: Quantity) -> dict[str, int]:
    """How many figures of a quantity have each verdict."""
    counted = Counter(f.verdict for f in figures if f.first.claim.quantity == quantity)
    return {verdict: counted[verdict] for verdict in VERDICTS}


@dataclass(frozen=True)
class Chance:
    """Figures that nobody printed, judged like printed ones. by_verdict: how many of `tested` had each verdict."""

    tested: int
    by_verdict: dict[str, int]

    def share(self, verdict: str) -> float | None:
        return self.by_verdict[verdict] / self.tested if self.tested else None


def chance(audit: Audit, figures: Sequence[Figure], quantity: Quantity) -> Chance:
    """Each figure shifted by one, two and three units of its last place either way, where that is positive.

    A shifted figure that is printed elsewhere for the same upsampler in the same host is left out: it is not bogus.
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
    """A column of a table that counts in more than one way. usual: as most of it; others: figures that do not."""

    table: str
    section: str | None
    quantity: Quantity
    usual: Counting
    size: int
    others: tuple[Finding, ...]


def mixed(findings: Sequence[Finding]) -> list[Column]:
    """Columns of which some figures come out only under another convention or way of counting."""
    columns: dict[tuple[str, str | None, Quantity], list[Finding]] = {}
    for finding in findings:
        columns.setdefault(finding.claim.column, []).append(finding)
    found = []
    for (table, section, quantity), members in columns.items():
        others = [f for f in members if f.verdict != NOT_VERDICT and f.best and f.best.tried.counting != f.usual]
        if others:
            found.append(Column(table, section, quantity, members[0].usual, len(members), tuple(others)))
    return found


MULTIPLES = ((2, 1, "twice"), (1, 2, "half"), (4, 1, "four times"), (1, 4, "a quarter of"))


def coincidences(finding: Finding, audit: Audit) -> list[str]:
    """What else has the value of a figure that is not reproduced: leads for its explanation, not explanations.

    Tried: a plain multiple of our count, the count of another row of the column, the same upsampler in another host.
    """
    claim, sums = finding.claim, audit.search.sums
    found = []
    if finding.value:
        for up, down, words in MULTIPLES:
            if agrees(finding.value * up // down, claim.delta, claim.step, NEAREST):
                found.append(f"it is {words} our count of {finding.value:,}")
    for other in audit.search.claims:
        if other is claim or other.quantity != claim.quantity:
            continue
        same_column = other.column == claim.column and other.host.title == claim.host.title
        same_upsampler = other.row.upsampler == claim.row.upsampler and other.paper == claim.paper
        if other.row.upsampler != claim.row.upsampler and same_column:
            words = f"it is our count of {other.label} in the same host"
        elif same_upsampler and other.host.title != claim.host.title:
            other = replace(other, stated=claim.stated)
            words = f"it is our count of {claim.label} in {other.host.name}"
        else:
            continue
        value = sums.value(other, STATED, finding.usual)
        if value and agrees(value, claim.delta, claim.step, NEAREST):
            found.append(f"{words}, {value:,}")
    return list(dict.fromkeys(found))
