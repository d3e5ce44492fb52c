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
from upbench.reproduce.claims import Aside, Claim, collect
from upbench.reproduce.explanations import STATED, Counting, Counts, Space, Sums, Try
from upbench.reproduce.hypotheses import Hypotheses
from upbench.reproduce.rounding import NEAREST, agrees, odd

STATED_VERDICT = "as stated"
OTHER_VERDICT = "with a departure"
ODD_VERDICT = "only by odd rounding"
NOT_VERDICT = "not reproduced"
VERDICTS = (STATED_VERDICT, OTHER_VERDICT, ODD_VERDICT, NOT_VERDICT)
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)


@dataclass(frozen=True)
class Explanation:
    """A sum that is printed as the figure by a rounding."""

    tried: Try
    rounding: str

    @property
    def cost(self) -> int:
        return self.tried.departures + (self.rounding != NEAREST)

    @property
    def rank(self) -> tuple[int, bool]:
        return (self.cost, self.tried.recounts)


@dataclass(frozen=True)
class Finding:
    """One claim, judged. usual: how its column counts; value: our sum under what is stated.

    best: the explanation that departs least, None where there is none. tried: how many explanations there were to
    try, values: how many different sums they gave. near: how many of `of` neighbouring figures, up to three units of
    the last place away, would have had an explanation as good. by_chance: too many of them, so that `best` says
    nothing.
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
        if self.best is None or self.by_chance:
            return NOT_VERDICT
        if self.best.rounding != NEAREST:
            return ODD_VERDICT
        return OTHER_VERDICT if self.best.tried.departures else STATED_VERDICT


@dataclass
class Audit:
    """All findings, what was not judged, and the search itself, which can be asked about other figures."""

    findings: list[Finding]
    asides: list[Aside]
    search: Search = field(repr=False)


def audit(tables: Iterable[Published], counts: Counts, known: Hypotheses, beside: Iterable[Published] = ()) -> Audit:
    """Judge every figure of the tables. counts: what a module counts at a stage.

    beside: other tables of the same papers. They are not judged, but a figure has the same verdict whether its table
    is asked for alone or with all others only where they are there: most of a paper's figures decide some questions.
    """
    claims: list[Claim] = []
    asides: list[Aside] = []
    for table in tables:
        some, rest = collect(table, known)
        claims += some
        asides += rest
    others = [claim for table in beside for claim in collect(table, known)[0]]
    search = Search([*claims, *others], Sums(counts, known), known)
    return Audit([search.judge(claim, claim.delta) for claim in claims], asides, search)


class Search:
    """The space of every claim, computed once, so that other figures in its place cost nothing."""

    def __init__(self, claims: Sequence[Claim], sums: Sums, known: Hypotheses) -> None:
        self.claims, self.sums, self.known = claims, sums, known
        self.usual = _usual(claims, sums, known)
        self._tries: dict[Claim, list[Try]] = {}
        rows: dict[tuple[str, int], list[Claim]] = {}
        for claim in claims:
            rows.setdefault((claim.table, claim.number), []).append(claim)
        self._partner = {c: next((o for o in row if o is not c), None) for row in rows.values() for c in row}

    def tries(self, claim: Claim) -> list[Try]:
        if claim not in self._tries:
            self._tries[claim] = list(Space(claim, self.usual[claim.column], self.known).tries(self.sums))
        return self._tries[claim]

    def explanations(self, claim: Claim, delta: int) -> list[Explanation]:
        """Every allowed explanation of `delta` in the place of the claim's figure, the best rank first."""
        found = []
        for tried in self.tries(claim):
            rounding = (
                NEAREST if agrees(tried.value, delta, claim.step, NEAREST) else odd(tried.value, delta, claim.step)
            )
            if rounding is None:
                continue
            explanation = Explanation(tried, rounding)
            if explanation.cost <= self.known.departures and self._fits_the_row(claim, tried):
                found.append(explanation)
        return sorted(found, key=lambda e: (e.rank, e.rounding != NEAREST))

    def _fits_the_row(self, claim: Claim, tried: Try) -> bool:
        """Whether a change of the model explains the other figure of its row as well."""
        other = self._partner[claim]
        if tried.model == STATED or other is None:
            return True
        for same in (t for t in self.tries(other) if t.model == tried.model):
            if agrees(same.value, other.delta, other.step, NEAREST):
                return True
            if same.departures < self.known.departures and odd(same.value, other.delta, other.step):
                return True
        return False

    @cached_property
    def votes(self) -> Counter[tuple[str, object]]:
        """How many figures of a paper each departure could explain, as (paper, departure)."""
        found: Counter[tuple[str, object]] = Counter()
        for claim in self.claims:
            equals = _equals(self.explanations(claim, claim.delta))
            found.update({(claim.paper, mark) for e in equals for mark in marks(claim, e, self.usual[claim.column])})
        return found

    def judge(self, claim: Claim, delta: int) -> Finding:
        """The finding if `delta` were printed in the place of the claim's figure."""
        usual = self.usual[claim.column]
        equals = _equals(self.explanations(claim, delta))
        best = max(equals, key=lambda e: sum(self.votes[claim.paper, m] for m in marks(claim, e, usual)), default=None)
        around = [delta + n * claim.step for n in NEIGHBOURS if delta + n * claim.step >= 0]
        near = sum(self._explained(claim, other, best) for other in around)
        tries = self.tries(claim)
        return Finding(
            claim,
            usual,
            self.sums.value(claim, STATED, usual),
            best,
            len(tries),
            len({t.value for t in tries}),
            near,
            len(around),
            best is not None and best.cost > 0 and near >= self.known.chance * len(around),
        )

    def _explained(self, claim: Claim, delta: int, as_well_as: Explanation | None) -> bool:
        """Whether a figure has an explanation of the same rank; where there is none to compare with, any."""
        found = self.explanations(claim, delta)
        return bool(found) and (as_well_as is None or found[0].rank <= as_well_as.rank)


def _equals(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Those of the best rank, which come first."""
    return [e for e in explanations if e.rank == explanations[0].rank]


def marks(claim: Claim, explanation: Explanation, usual: Counting) -> set[object]:
    """The single departures of an explanation, to be counted over a table."""
    tried = explanation.tried
    found: set[object] = {(claim.row.upsampler, *setting) for setting in tried.model.settings}
    found |= {("variant", tried.model.variant)} if tried.model.variant else set()
    found |= {("version", tried.model.version)} if tried.model.version else set()
    found |= {("convention", tried.counting.convention)} if tried.recounts else set()
    found |= {("way", tried.counting.way)} if tried.counting.way != usual.way else set()
    return found | ({("rounding", explanation.rounding)} if explanation.rounding != NEAREST else set())


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

    def hits(counting: Counting, among: Sequence[Claim]) -> int:
        values = [(c, sums.value(c, STATED, counting)) for c in among]
        return sum(v is not None and agrees(v, c.delta, c.step, NEAREST) for c, v in values)

    return max(options, key=lambda counting: (hits(counting, members), hits(counting, paper)))
