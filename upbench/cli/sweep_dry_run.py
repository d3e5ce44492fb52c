"""What `upbench sweep --dry-run` shows: every cell, what would become of it, and how long all of it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from upbench.analysis import conclusions
from upbench.cli.progress import span
from upbench.records import store
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.sweeping import resume, time_estimate
from upbench.sweeping import runner as sweep
from upbench.sweeping.expand import Cell
from upbench.sweeping.resume import Environment, Plan
from upbench.sweeping.schedule import BLOCK_CELLS
from upbench.sweeping.time_estimate import Estimate

BUSY = 1.5
"""Times as long as on a quiet machine from which on it is said."""


def preview(
    cells: Sequence[Cell],
    axes: Sequence[str],
    title: str,
    path: Path,
    known: store.Index,
    options: sweep.Options,
    notice: Callable[[str], None],
) -> Table:
    """Return the cells of a sweep as a table, with what would be measured and how long it takes. Nothing is written."""
    with sweep.crew(cells, options, path if known.by_cell else None, notice) as crew:
        places, spread = crew.places, crew.spread
    work = resume.plan(cells, known, places, options.retry)
    leader = {n: first for first, others in work.followers.items() for n in others}
    states = [_state(n, cell, work, leader) for n, cell in enumerate(cells)]
    workers = max((len(every) for every in places.values()), default=1)
    due, on_cpu = [cells[n] for n in work.measure], {d for d, envs in places.items() if envs[0]["device_type"] == "cpu"}
    estimate = time_estimate.estimate(due, _made_here(path, cells, places), workers, on_cpu)
    many = f", on {workers} devices at a time" if workers > 1 else ""
    return Table(
        title=f"{title}: dry run",
        heads=["#", *axes, "State"],
        rows=[[str(n + 1), *(_text(cell.axes.get(axis)) for axis in axes), states[n]] for n, cell in enumerate(cells)],
        numeric=[True, *(False for _ in axes), False],
        raw_heads=["cell", *axes, "state"],
        raw_rows=[[n, *(cell.axes.get(axis) for axis in axes), states[n]] for n, cell in enumerate(cells)],
        notes=[
            f"{len(work.measure)} of {len(cells)} cells to measure in {estimate.about} "
            f"{span(estimate.total_s)}{many}. {estimate.describe()}",
            *(_busy(estimate, due) if places.keys() == on_cpu and options.engine.name == "local" else []),
            *_spread(spread, len(work.measure)),
            f"The records go to {path}.",
        ],
    )


def _busy(estimate: Estimate, cells: Sequence[Cell]) -> list[str]:
    """Return how long it takes while other programs compute as they do now; nothing on a quiet machine."""
    if not cells or not hasattr(os, "getloadavg"):
        return []
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    factor = time_estimate.busy_factor(
        load, max(cell.spec.measure.threads or cores for cell in cells if cell.spec), cores
    )
    if factor < BUSY:
        return []
    return [
        f"While other programs compute as they do now (load {load:.1f} on {cores} cores): {estimate.about} "
        f"{span(factor * estimate.total_s)}."
    ]


def _spread(sentences: Sequence[str], cells: int) -> list[str]:
    """Return how the blocks are spread over machines; nothing where there is only this one, or nothing to measure."""
    if not sentences or not cells:
        return []
    blocks = math.ceil(cells / BLOCK_CELLS)
    many = "1 block" if blocks == 1 else f"about {blocks} blocks"
    together = f"at most {BLOCK_CELLS} cells and their reference, on one node"
    return [f"{many} in each of {conclusions.PASSES} passes ({together}). {' '.join(sentences)}"]


def _state(n: int, cell: Cell, work: Plan, leader: Mapping[int, int]) -> str:
    if cell.spec is None:
        return f"impossible: {resume.broken_rules(cell)}"
    if n in leader:
        return f"measured with cell {leader[n] + 1}, which is the same"
    if (status := work.status.get(n)) is not None:
        return "measured already" if status == "ok" else f"failed already ({status}); --retry {status} measures it"
    return f"to measure: {work.edited[n]}" if n in work.edited else "to measure"


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _made_here(path: Path, cells: Sequence[Cell], places: Mapping[str, Sequence[Environment]]) -> Iterator[Record]:
    """Return records of the results file and its folder that were made on a device of these cells with as many threads."""

    here = {
        (env["device"], env["threads"])
        for cell in cells
        if cell.spec
        for env in (resume.conditions(cell, one) for one in places[cell.spec.measure.device])
    }
    for file in sorted(f for f in path.parent.glob("*.jsonl") if ".passes." not in f.name):
        found = (line.record for line in store.scan(file) if line.record)
        yield from (r for r in found if (r.environment.device, r.environment.threads) in here)
