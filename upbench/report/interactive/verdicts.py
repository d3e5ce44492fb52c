"""Which results of a section are told apart by their latency: every pair, or where there are many each against the fastest."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from upbench.analysis.stats import Verdict
from upbench.records.record import Record
from upbench.report.interactive.tables import box
from upbench.report.plots import series
from upbench.report.tables.result_set import Group, ResultSet

MOST = 24
"""Results of one machine of which every pair is shown."""
_WORDS = {Verdict.FASTER: "faster", Verdict.SLOWER: "slower", Verdict.SAME: "same", Verdict.UNSURE: "?"}


def table(results: ResultSet) -> str:
    """Return the tables of verdicts, one for each machine; nothing where nothing was timed twice.

    Args:
        results: The results.
    """
    # The caption of each table names its machine.
    names = {
        id(r): name.removesuffix(f", {r.environment.device}") or r.label
        for r, name in zip(results.records, series.names(results), strict=True)
    }
    made = [_of(results, group, names) for group in results.groups]
    if not any(made):
        return ""
    return (
        '<details class="verdicts" open><summary>What is told apart</summary>'
        f"{''.join(made)}"
        '<p class="notes">The row against the column, by latency: faster or slower where the 95 % interval of their ratio '
        "leaves no doubt beyond the noise of the machine, same where it leaves none that they are, ? where it says "
        "neither.</p></details>"
    )


def _of(results: ResultSet, group: Group, names: dict[int, str]) -> str:
    timed = [r for r in group.records if r.status == "ok" and r.latency is not None and r.latency.samples_s]
    if len(timed) < 2:
        return ""
    columns = timed if len(timed) <= MOST else [min(timed, key=_median)]
    # A letter stands for a column, whose name is at its row.
    heads = "".join(f'<th scope="col" title="{escape(names[id(c)])}">{_number(timed, c)}</th>' for c in columns)
    rows = "".join(
        f'<tr><th scope="row">{_number(timed, row)}</th><th scope="row" class="name">{escape(names[id(row)])}</th>'
        + "".join(_cell(results, row, column, names) for column in columns)
        + "</tr>"
        for row in timed
    )
    caption = f"<caption>{escape(group.heading)}</caption>" if len(results.groups) > 1 else ""
    head = f"<thead><tr><th></th><th></th>{heads}</tr></thead>"
    return f'<div class="{box(len(timed))}"><table class="pairs">{caption}{head}<tbody>{rows}</tbody></table></div>'


def _median(record: Record) -> float:
    samples = sorted(record.latency.samples_s) if record.latency else [float("inf")]
    return samples[len(samples) // 2]


def _number(timed: Sequence[Record], record: Record) -> int:
    return next(n for n, one in enumerate(timed, start=1) if one is record)


def _cell(results: ResultSet, row: Record, column: Record, names: dict[int, str]) -> str:
    if row is column:
        return '<td class="self"></td>'
    verdict = results.verdict(row, column)
    told = f"{names[id(row)]} against {names[id(column)]}: {verdict.name}"
    return f'<td class="{verdict.name.lower()}" title="{escape(told)}">{_WORDS[verdict]}</td>'
