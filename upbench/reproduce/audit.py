"""The search: which explanation of a printed figure departs least from what its paper states.

1. How a column counts: as its paper declares, else by the convention that gives most of its figures under the stated
   settings and stages.
2. For each figure, every explanation with at most `departures` changes. One that changes the model (a setting, the
   version, the stages) must also give the other figure of the row, parameters or FLOPs, where there is one.
3. Fewest departures first, an odd rounding being one; among equals those that count as the column does, then those
   whose departures explain most figures of the same paper, then those that round to nearest, then the order of the
   hypotheses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from upbench.papers.published import Published
from upbench.reproduce.claims import Claim, Unjudged, collect
from upbench.reproduce.explanations import STATED, Candidate, Counting, Counts, Space, Sums
from upbench.reproduce.hypotheses import Hypotheses
from upbench.reproduce.rounding import NEAREST, agrees, odd

STATED_VERDICT = "as stated"
"""The sum of what the paper states is the printed figure."""
OTHER_VERDICT = "with a departure"
"""The figure has an explanation that changes something of what is stated, and is rounded to nearest."""
ODD_VERDICT = "only by odd rounding"
"""The figure has an explanation only with a rounding other than to nearest."""
NOT_VERDICT = "not reproduced"
"""The figure has no explanation, or one that chance gives as well."""
VERDICTS = (STATED_VERDICT, OTHER_VERDICT, ODD_VERDICT, NOT_VERDICT)
"""The verdicts, the strongest first."""
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
"""The units of the last place by which a figure is moved to see how much of a verdict is chance."""


@dataclass(frozen=True)
class Explanation:
    """A candidate whose sum is printed as the figure by some rounding."""

    candidate: Candidate
    rounding: str

    @property
    def cost(self) -> int:
        """Return how many things the explanation changes; an odd rounding is one."""
        return self.candidate.departures + (self.rounding != NEAREST)

    @property
    def rank(self) -> tuple[int, bool]:
        """Return what explanations are sorted by, the best first: the cost, then whether it leaves its column's convention."""
        return (self.cost, self.candidate.recounts)


@dataclass(frozen=True)
class Finding:
    """One claim with its verdict.

    Args:
        claim: The printed figure.
        usual: How its column counts.
        value: Our sum under what is stated; None where it cannot be built.
        best: The explanation that departs least; None where there is none.
        tried: The number of candidates.
        values: The number of different sums that they gave.
        near: The number of neighbouring figures, up to three units of the last place away, with an explanation as good.
        of: The number of neighbouring figures.
        by_chance: Whether `near` is so many that `best` says nothing.
    """

    claim: Claim
    usual: Counting
    value: int | None
    best: Explanation | None
    tried: int
    values: int
    near: int
    of: int
    by_chance: bool

    @property
    def verdict(self) -> str:
        """Return one of VERDICTS."""
        if self.best is None or self.by_chance:
            return NOT_VERDICT
        if self.best.rounding != NEAREST:
            return ODD_VERDICT
        return OTHER_VERDICT if self.best.candidate.departures else STATED_VERDICT


@dataclass
class Audit:
    """All findings, the figures that were not judged, and the search, which can judge other figures."""

    findings: list[Finding]
    unjudged: list[Unjudged]
    search: Search = field(repr=False)


def audit(tables: Iterable[Published], counts: Counts, known: Hypotheses, context: Iterable[Published] = ()) -> Audit:
    """Judge every figure of some tables.

    Args:
        tables: The tables.
        counts: Counts a module at a stage.
        known: What may be tried.
        context: Other tables of the same papers, which are not judged. Most of a paper's figures decide some questions, so
            that a figure has the same verdict for one table as for all only where the other tables are here.
    """
    claims: list[Claim] = []
    unjudged: list[Unjudged] = []
    for table in tables:
        table_claims, table_unjudged = collect(table, known)
        claims += table_claims
        unjudged += table_unjudged
    context_claims = [claim for table in context for claim in collect(table, known)[0]]
    search = Search([*claims, *context_claims], Sums(counts, known), known)
    return Audit([search.judge(claim, claim.delta) for claim in claims], unjudged, search)


class Search:
    """The candidates of every claim with their sums, computed once, so that other figures in its place cost nothing.

    Args:
        claims: The claims.
        sums: Computes the sums.
        known: What may be tried.
    """

    def __init__(self, claims: Sequence[Claim], sums: Sums, known: Hypotheses) -> None:
        self.claims, self.sums, self.known = claims, sums, known
        self.usual = _usual(claims, sums, known)
        self._candidates: dict[Claim, list[Candidate]] = {}
        rows: dict[tuple[str, int], list[Claim]] = {}
        for claim in claims:
            rows.setdefault((claim.table, claim.number), []).append(claim)
        self._partner = {c: next((o for o in row if o is not c), None) for row in rows.values() for c in row}

    def candidates(self, claim: Claim) -> list[Candidate]:
        """Return every candidate for a claim."""
        if claim not in self._candidates:
            self._candidates[claim] = list(Space(claim, self.usual[claim.column], self.known).candidates(self.sums))
        return self._candidates[claim]

    def explanations(self, claim: Claim, delta: int) -> list[Explanation]:
        """Return every allowed explanation of a number that stands for the claim's figure, the best rank first.

        Args:
            claim: The printed figure.
            delta: The number, in the unit of the figure.
        """
        explanations = []
        for candidate in self.candidates(claim):
            rounding = (
                NEAREST
                if agrees(candidate.value, delta, claim.step, NEAREST)
                else odd(candidate.value, delta, claim.step)
            )
            if rounding is None:
                continue
            explanation = Explanation(candidate, rounding)
            if explanation.cost <= self.known.departures and self._fits_the_row(claim, candidate):
                explanations.append(explanation)
        return sorted(explanations, key=lambda e: (e.rank, e.rounding != NEAREST))

    def _fits_the_row(self, claim: Claim, candidate: Candidate) -> bool:
        """Whether a change of the model explains the other figure of its row as well."""
        partner = self._partner[claim]
        if candidate.model == STATED or partner is None:
            return True
        for same in (t for t in self.candidates(partner) if t.model == candidate.model):
            if agrees(same.value, partner.delta, partner.step, NEAREST):
                return True
            if same.departures < self.known.departures and odd(same.value, partner.delta, partner.step):
                return True
        return False

    @cached_property
    def votes(self) -> Counter[tuple[str, object]]:
        """Return how many figures of a paper each departure could explain, by (paper, departure)."""
        votes: Counter[tuple[str, object]] = Counter()
        for claim in self.claims:
            equals = _equals(self.explanations(claim, claim.delta))
            votes.update(
                {(claim.paper, mark) for e in equals for mark in departures_of(claim, e, self.usual[claim.column])}
            )
        return votes

    def judge(self, claim: Claim, delta: int) -> Finding:
        """Return the finding for a number that stands for the claim's figure.

        Args:
            claim: The printed figure.
            delta: The number, in the unit of the figure.
        """
        usual = self.usual[claim.column]
        equals = _equals(self.explanations(claim, delta))
        best = max(
            equals, key=lambda e: sum(self.votes[claim.paper, m] for m in departures_of(claim, e, usual)), default=None
        )
        around = [delta + n * claim.step for n in NEIGHBOURS if delta + n * claim.step >= 0]
        near = sum(self._explained(claim, neighbour, best) for neighbour in around)
        candidates = self.candidates(claim)
        return Finding(
            claim,
            usual,
            self.sums.value(claim, STATED, usual),
            best,
            len(candidates),
            len({t.value for t in candidates}),
            near,
            len(around),
            best is not None and best.cost > 0 and near >= self.known.chance * len(around),
        )

    def _explained(self, claim: Claim, delta: int, as_well_as: Explanation | None) -> bool:
        """Whether a figure has an explanation of the same rank; where there is none to compare with, any."""
        explanations = self.explanations(claim, delta)
        return bool(explanations) and (as_well_as is None or explanations[0].rank <= as_well_as.rank)


def _equals(explanations: Sequence[Explanation]) -> list[Explanation]:
    """The explanations of the best rank, which come first in the list."""
    return [e for e in explanations if e.rank == explanations[0].rank]


def departures_of(claim: Claim, explanation: Explanation, usual: Counting) -> set[object]:
    """Return the single departures of an explanation, to be counted over a paper.

    Args:
        claim: The printed figure that is explained.
        explanation: The settings, variant and way of counting that give it.
        usual: The way of counting that is no departure.
    """
    candidate = explanation.candidate
    departures: set[object] = {(claim.row.upsampler, *setting) for setting in candidate.model.settings}
    departures |= {("variant", candidate.model.variant)} if candidate.model.variant else set()
    departures |= {("version", candidate.model.version)} if candidate.model.version else set()
    departures |= {("convention", candidate.counting.convention)} if candidate.recounts else set()
    departures |= {("way", candidate.counting.way)} if candidate.counting.way != usual.way else set()
    return departures | ({("rounding", explanation.rounding)} if explanation.rounding != NEAREST else set())


def _usual(claims: Sequence[Claim], sums: Sums, known: Hypotheses) -> dict[object, Counting]:
    """How each column counts."""
    columns: dict[tuple[str, str | None, str], list[Claim]] = {}
    for claim in claims:
        columns.setdefault(claim.column, []).append(claim)
    return {column: _column(members, claims, sums, known) for column, members in columns.items()}


def _column(members: Sequence[Claim], claims: Sequence[Claim], sums: Sums, known: Hypotheses) -> Counting:
    """Declared; else what gives most of the column, then most of the paper's figures, then the first."""
    first = members[0]
    declared = known.declares(first.paper)
    if declared is not None:
        return Counting(getattr(declared, first.quantity), declared.way)
    options = [Counting(name) for name in getattr(known.conventions, first.quantity)]
    paper = [c for c in claims if (c.paper, c.quantity) == (first.paper, first.quantity)]

    def count_hits(counting: Counting, among: Sequence[Claim]) -> int:
        values = [(c, sums.value(c, STATED, counting)) for c in among]
        return sum(v is not None and agrees(v, c.delta, c.step, NEAREST) for c, v in values)

    return max(options, key=lambda counting: (count_hits(counting, members), count_hits(counting, paper)))
