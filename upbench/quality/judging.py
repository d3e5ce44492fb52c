"""From rows to verdicts: every upsampler against the base, with the base's own A/A as the resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from upbench.analysis.paired import Better, Difference, difference, holm, judged
from upbench.quality.protocol import Candidate
from upbench.quality.rows import Row
from upbench.quality.study import Study

ADJUSTED_FROM = 12
"""Seeds from which p is adjusted for the number of rows; six seeds give p = .031 at best, which more than one row spoils."""
LEVEL, LEVEL_OF_TWO = 0.05, 0.03
"""What p must be below; and where a study of 6 seeds was read before it had 12, so that it is looked at twice."""


@dataclass(frozen=True)
class Judged:
    """One upsampler by one score.

    Args:
        label: The upsampler.
        mean: Mean of the score over seeds; None where no run has one.
        against: Its differences from the base by seed; None for the base, and without common seeds.
        p: The p that was judged, adjusted where that is due.
        verdict: What follows; None for the base and for an A/A.
        runs: Its runs that have a score.
        lost: How many runs diverged or failed, with the word: "2 diverged".
        cpu_s: Mean processor seconds of a run.
        is_again: Whether it is an A/A: the same upsampler with other weights, against itself.
        scores: The score of each seed.
    """

    label: str
    mean: float | None
    against: Difference | None
    p: float | None
    verdict: Better | None
    runs: int
    lost: str
    cpu_s: float | None
    is_again: bool = False
    scores: Mapping[int, float] | None = None


@dataclass(frozen=True)
class Judgement:
    """All upsamplers by one score.

    Args:
        score: Name of the score.
        rows: The base, its A/A, then the others.
        resolution: The bound of the base's A/A interval that is further from 0; None without two seeds.
        adjusted: Whether p is adjusted for the number of rows.
        level: What p must be below.
    """

    score: str
    rows: tuple[Judged, ...]
    resolution: float | None
    adjusted: bool
    level: float

    def of(self, label: str) -> Judged:
        """Return the row of an upsampler."""
        return next(row for row in self.rows if row.label == label and not row.is_again)


def judge(study: Study, rows: Sequence[Row], score: str) -> Judgement:
    """Judge the upsamplers of a study by one score.

    Args:
        study: The study.
        rows: Its rows.
        score: Name of the score.
    """
    base, level = study.base, LEVEL
    if study.protocol.seeds > 6 and any(row.planned == 6 for row in rows):
        level = LEVEL_OF_TWO
    again = _again(base, rows, score)
    resolution = again.against.bound if again.against is not None else None
    reference = _mean_by_seed(base, rows, score)
    others = [_against(one, rows, score, reference) for one in study.candidates[1:]]
    adjusted = study.protocol.seeds >= ADJUSTED_FROM
    with_p = [row.against.p for row in others if row.against is not None]
    corrected = iter(holm(with_p) if adjusted else with_p)
    found = []
    for row in others:
        if row.against is None:
            found.append(replace(row, verdict=Better.unsure))
            continue
        p = next(corrected)
        whole = row.against.pairs == study.protocol.seeds
        verdict = judged(row.against, resolution, p, level) if whole else Better.unsure
        found.append(replace(row, p=p, verdict=verdict))
    repeated = [_again(one, rows, score) for one in study.again if one != base]
    first = (_plain(base, rows, score), again)
    return Judgement(score, (*first, *found, *repeated), resolution, adjusted, level)


def _scores(one: Candidate, rows: Sequence[Row], score: str, repeat: int) -> dict[int, float]:
    return {
        row.seed: row.scores[score]
        for row in rows
        if row.key == one.key and row.repeat == repeat and row.status == "ok" and score in row.scores
    }


def _mean_by_seed(one: Candidate, rows: Sequence[Row], score: str) -> dict[int, float]:
    """The mean over repeats, where there are two: one run's luck moves every row that is compared with it."""
    first, second = (_scores(one, rows, score, repeat) for repeat in (0, 1))
    if not second:
        return first
    return {seed: (first[seed] + second[seed]) / 2 for seed in sorted(first.keys() & second.keys())}


def _plain(one: Candidate, rows: Sequence[Row], score: str) -> Judged:
    scores = _mean_by_seed(one, rows, score)
    mine = [row for row in rows if row.key == one.key]
    times = [row.cpu_s for row in mine if row.status != "error"]
    lost = [
        f"{n} {word}" for word, status in (("diverged", "diverged"), ("failed", "error")) if (n := _count(mine, status))
    ]
    return Judged(
        one.label,
        sum(scores.values()) / len(scores) if scores else None,
        None,
        None,
        None,
        len(scores),
        ", ".join(lost),
        sum(times) / len(times) if times else None,
        scores=scores,
    )


def _count(rows: Sequence[Row], status: str) -> int:
    return sum(row.status == status for row in rows)


def _against(one: Candidate, rows: Sequence[Row], score: str, reference: Mapping[int, float]) -> Judged:
    plain = _plain(one, rows, score)
    return replace(plain, against=_paired(plain.scores or {}, reference))


def _again(one: Candidate, rows: Sequence[Row], score: str) -> Judged:
    """The A/A of an upsampler: its second runs against its first."""
    first, second = (_scores(one, rows, score, repeat) for repeat in (0, 1))
    paired = _paired(second, first)
    mean = sum(second.values()) / len(second) if second else None
    p = None if paired is None else paired.p
    return Judged(f"{one.label} again", mean, paired, p, None, len(second), "", None, is_again=True, scores=second)


def _paired(values: Mapping[int, float], others: Mapping[int, float]) -> Difference | None:
    seeds = sorted(values.keys() & others.keys())
    return difference([values[s] for s in seeds], [others[s] for s in seeds]) if seeds else None
