"""The tables of a study: one for each score, with what each verdict rests on, and that of a dry run."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.analysis.paired import Difference
from upbench.quality import kinds, study
from upbench.quality.judging import Judged, Judgement
from upbench.quality.protocol import Setting
from upbench.quality.study import Cost, Study
from upbench.report.formats.table import Table

HEADS = ["Upsampler", "", "Diff.", "95 % interval", "Wins", "p", "Verdict"]
RAW_HEADS = [
    "upsampler", "score", "mean", "difference", "low", "high", "sd", "wins", "pairs", "p", "p_adjusted", "verdict",
    "resolution", "again", "cpu_s", "lost",
]  # fmt: skip
HONEST = (
    "A proxy: it ranks upsamplers in this tiny network on these data alone, and is no accuracy of COCO or ADE20K; other "
    "data, hosts and steps give other orders."
)


def tables(plan: Study, setting: Setting, judgements: Sequence[Judgement]) -> list[Table]:
    """Return a table for each score.

    Args:
        plan: The study.
        setting: Where it ran and on what.
        judgements: One for each score.
    """
    heads = kinds.load("task", plan.protocol.task).METRICS
    return [_table(plan, setting, one, heads[one.score]) for one in judgements]


def _table(plan: Study, setting: Setting, judgement: Judgement, head: str) -> Table:
    early = " (early learning)" if plan.protocol.early else ""
    notes = _notes(plan, setting, judgement, head)
    return Table(
        title=f"{head} against {plan.base.label}{early}",
        heads=[HEADS[0], head, *HEADS[2:]],
        rows=[_cells(row) for row in judgement.rows],
        numeric=[False, *[True] * 5, False],
        raw_heads=RAW_HEADS,
        raw_rows=[_raw(row, judgement) for row in judgement.rows],
        notes=notes,
        lead=1,
    )


def _cells(row: Judged) -> list[str]:
    found = row.against
    verdict = "A/A" if row.is_again else "base" if row.verdict is None else str(row.verdict)
    lost = f" ({row.lost})" if row.lost else ""
    if found is None:
        return [row.label, _number(row.mean), *[units.DASH] * 4, verdict + lost]
    return [
        row.label,
        _number(row.mean),
        f"{found.mean:+.2f}",
        _interval(found),
        f"{found.wins}/{found.pairs}",
        _p(row.p),
        verdict + lost,
    ]


def _number(value: float | None) -> str:
    return units.DASH if value is None else f"{value:.2f}"


def _interval(found: Difference) -> str:
    return units.DASH if found.low is None or found.high is None else f"{found.low:+.2f} to {found.high:+.2f}"


def _p(value: float | None) -> str:
    return units.DASH if value is None else f"{value:.3f}"


def _raw(row: Judged, judgement: Judgement) -> list[object]:
    found = row.against
    of_pairs = [found.mean, found.low, found.high, found.sd, found.wins, found.pairs, found.p] if found else [None] * 7
    verdict = None if row.verdict is None else str(row.verdict)
    adjusted = row.p if judgement.adjusted and not row.is_again else None
    return [
        row.label, judgement.score, row.mean, *of_pairs, adjusted, verdict, judgement.resolution, row.is_again,
        row.cpu_s, row.lost or None,
    ]  # fmt: skip


def _notes(plan: Study, setting: Setting, judgement: Judgement, head: str) -> list[str]:
    base, seeds = plan.base.label, plan.protocol.seeds
    resolution = "unknown" if judgement.resolution is None else f"{judgement.resolution:.2f}"
    how = (
        "p is adjusted for the number of rows (Holm)"
        if judgement.adjusted
        else "p is unadjusted for the number of rows: 12 seeds are needed for that"
    )
    notes = [
        f"{study.setting_text(plan, setting)} {HONEST}",
        f"Resolution {resolution}: what {base} run twice differs from itself. BETTER and WORSE need a 95 % interval (t, "
        f"paired by seed) without 0, p < {judgement.level:g} by sign flips, and a difference above the resolution; SAME an "
        f"interval within it; {how}.",
        f"The base is the mean of both runs of {base}. Head of the scores: {head}, in percent.",
    ]
    if judgement.level != 0.05:
        notes.append(
            f"These data were read with 6 seeds before {seeds}, so that each look has p < {judgement.level:g}."
        )
    if plan.protocol.early:
        steps = plan.protocol.steps
        notes.insert(
            0,
            f"EARLY LEARNING: after {steps} steps this shows how near {base} an upsampler starts and how fast it learns.",
        )
    costs = ", ".join(f"{row.label} {row.cpu_s:.0f}" for row in judgement.rows if row.cpu_s is not None)
    return [*notes, f"Processor seconds a run: {costs}."] if costs else notes


def dry_run(plan: Study, setting: Setting, costs: Sequence[Cost], path: str) -> Table:
    """Return what a study would run and what that costs.

    Args:
        plan: The study.
        setting: Where it runs and on what.
        costs: Of each upsampler.
        path: Its results file.
    """
    total = sum(cost.cpu_s for cost in costs)
    rows = [
        [c.label, f"{c.runs} of {c.all_runs}", "together" if c.batched else "one by one", f"{c.cpu_s:.0f}"]
        for c in costs
    ]
    return Table(
        title="Quality: dry run",
        heads=["Upsampler", "Runs left", "Seeds", "CPU s"],
        rows=[*rows, ["all", f"{sum(c.runs for c in costs)} of {sum(c.all_runs for c in costs)}", "", f"{total:.0f}"]],
        numeric=[False, True, False, True],
        raw_heads=["upsampler", "runs_left", "runs", "batched", "cpu_s"],
        raw_rows=[[c.label, c.runs, c.all_runs, c.batched, c.cpu_s] for c in costs],
        notes=[
            f"About {total / 60:.1f} processor minutes with one thread, from a few steps timed now; the test is not in it.",
            study.setting_text(plan, setting),
            f"The rows go to {path}.",
        ],
        lead=1,
    )
