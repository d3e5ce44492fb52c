"""Runs the study of a sweep, whose rows stand beside the sweep's results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upbench.accuracy.proxies import Proxy
from upbench.quality import conduct, of_sweep, study
from upbench.quality.conduct import Say
from upbench.quality.of_sweep import OfSweep
from upbench.session.calls import Progress
from upbench.sweeping.expand import Cell, SweepSpec


def asked(plan: SweepSpec, cells: Sequence[Cell]) -> OfSweep | None:
    """Return the study that a sweep asks for; None where it asks for none.

    Raises:
        SpecError: If its section `quality` has mistakes.
    """
    if "quality" not in plan.model_fields_set:
        return None
    return of_sweep.read(plan.quality, [cell.spec for cell in cells if cell.spec is not None], plan.source)


def path_of(results: Path) -> Path:
    """Return the path of the rows beside a results file: results/theta.quality.jsonl."""
    return results.with_suffix(".quality.jsonl")


def note(asked: OfSweep, results: Path, say: Say) -> str:
    """Return what a dry run says of a study: how many runs are left, and what they cost. Nothing is written.

    Args:
        asked: The study.
        results: The results file of the sweep.
        say: Called with each sentence on what has no place in it.
    """
    path = path_of(results)
    for sentence in asked.left_out:
        say(sentence)
    with conduct.planned(asked.study, path, say) as (place, _, _, planned):
        costs = study.costs(asked.study, place, planned)
    minutes, left = sum(cost.cpu_s for cost in costs) / 60, sum(cost.runs for cost in costs)
    runs = sum(cost.all_runs for cost in costs)
    return f"Quality: {left} of {runs} runs, about {minutes:.1f} processor minutes; their rows go to {path}."


def measured(asked: OfSweep, results: Path, fresh: bool, progress: Progress, say: Say) -> tuple[Proxy, ...]:
    """Run what is left of a study, and return the proxy scores of the cells.

    Args:
        asked: The study.
        results: The results file of the sweep.
        fresh: Whether everything is run again; the old rows are kept beside.
        progress: Called with what is being done, and the part of the whole that is done.
        say: Called with each sentence on what has no place in it, or failed.
    """
    for sentence in asked.left_out:
        say(sentence)
    done = conduct.run(asked.study, path_of(results), fresh, progress, say)
    for label, error in done.failed.items():
        say(f"quality: {label} failed: {error}")
    return of_sweep.proxies(asked, done.rows, done.setting.about)
