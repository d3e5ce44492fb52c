"""What `upbench sweep` says at its end: what its files hold, where that was measured, and how to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upbench.records.record import Record
    from upbench.sweeping.expand import Cell
    from upbench.sweeping.runner import Outcome

FAILURES = 3
"""Failed cells whose reason is said one by one."""


def sentences(
    outcome: Outcome, records: Sequence[Record], cells: Sequence[Cell], path: Path, beside: Sequence[str], fresh: bool
) -> list[str]:
    """Return what is said at the end of a sweep.

    Args:
        outcome: What came of it.
        records: Of its cells, as the results file has them now.
        cells: All of its cells.
        path: The results file.
        beside: The endings of the files with its table.
        fresh: Whether everything was to be measured again.
    """
    on = "; run the same command to go on" if outcome.interrupted else ""
    if not records:
        passes = path.with_suffix(".passes.jsonl")
        kept = f"; what was counted is in {passes}" if passes.is_file() else ""
        return [f"0 of {len(cells)} cells are measured, and {path} has no record of them{kept}{on}"]
    listed = " and ".join(beside).replace(" and ", ", ", len(beside) - 2)
    held = f"{path} and its {listed} hold {len(records)} of {len(cells)} cells{_by_status(outcome)}{on}"
    timed = [record for record in records if record.status != "impossible"]
    if outcome.measured or outcome.interrupted or fresh or not timed:
        return [held]
    days = sorted({record.started[:10] for record in timed})
    devices = ", ".join(dict.fromkeys(record.environment.device or "cpu" for record in timed))
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    known = (
        f"nothing was measured: {len(timed)} of {len(cells)} cells are in {path}, measured on {when} on {devices}; "
        "--fresh measures them here"
    )
    return [held, known]


def failures(records: Sequence[Record]) -> list[str]:
    """Return why cells failed, a sentence for each of the first, where no table with footnotes says it.

    Args:
        records: Of the cells of a sweep.
    """
    from upbench.report.tables import failures as told

    failed = [record for record in records if record.status not in ("ok", "impossible")]
    named = [", ".join(f"{axis}={value}" for axis, value in r.axes.items()) or r.label for r in failed]
    found = [f"{name}: {told.reason(r)}" for name, r in zip(named[:FAILURES], failed, strict=False)]
    more = len(failed) - len(found)
    return [*found, f"and {more} more cells failed; the table has why, without -q"] if more else found


def _by_status(outcome: Outcome) -> str:
    """Return ": 195 ok, 2 oom, 3 impossible", and how to measure again what had failed before."""
    ordered = sorted(outcome.status.items(), key=lambda one: (one[1] != "impossible", one[0]))
    counts = Counter(status for _, status in ordered)
    listed = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    before = sorted({s for s in outcome.plan.status.values() if s not in ("ok", "impossible")})
    again = f"; --retry {','.join(before)} measures those again that had failed before" if before else ""
    return f": {listed}{again}" if listed else ""
