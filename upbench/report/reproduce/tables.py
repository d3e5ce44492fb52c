"""Tables of the audit: a paper's table with our counts, one sum term by term, all columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from upbench import units
from upbench.papers.hosts import Stage
from upbench.papers.published import Published
from upbench.report.formats.table import Table
from upbench.report.reproduce import phrases
from upbench.reproduce.audit import NOT_VERDICT, VERDICTS, Audit, Finding, Search
from upbench.reproduce.claims import QUANTITIES, Claim
from upbench.reproduce.explanations import Counting
from upbench.reproduce.formulas import FORMULAS, METRICS, Checked
from upbench.reproduce.rounding import NEAREST, agrees, odd
from upbench.reproduce.verdicts import by_verdict, distinct

TITLES = {"params": "Params", "flops": "FLOPs"}
"""The heads of the quantities."""


def sum_of(finding: Finding) -> int | None:
    """Return our sum for a figure: the sum of its explanation, or without one the sum under what is stated."""
    return finding.best.candidate.value if finding.best and finding.verdict != NOT_VERDICT else finding.value


def rows(findings: Sequence[Finding], search: Search) -> list[dict[str, Any]]:
    """Return the findings as plain data, one mapping for each figure, for JSON and CSV."""
    return [
        {
            "table": f.claim.table,
            "row": f.claim.number,
            "label": f.claim.label,
            "upsampler": f.claim.row.upsampler,
            "backbone": f.claim.row.backbone,
            "section": f.claim.row.section,
            "subtask": f.claim.row.subtask,
            "host": f.claim.host.name,
            "stated": f.claim.stated,
            "quantity": f.claim.quantity,
            "printed": f.claim.printed,
            "published": f.claim.delta,
            "step": f.claim.step,
            "ours_as_stated": f.value,
            "ours": sum_of(f),
            "counted": phrases.counting(f, search),
            "verdict": f.verdict,
            "departures": phrases.departures(f.claim, f.best, f.usual) if f.best else None,
            "by_chance": f.by_chance,
            "tried": f.tried,
            "sums": f.values,
            "neighbours_explained": f.near,
            "neighbours": f.of,
            "command": phrases.command(f, search),
            "accuracy": f.claim.row.values,
        }
        for f in findings
    ]


def overview(audit: Audit, title: str = "Published complexity figures") -> Table:
    """Return every figure as a row, with notes on how many distinct ones have each verdict."""
    figures = distinct(audit.findings)
    notes = []
    for quantity in QUANTITIES:
        counted = by_verdict(figures, quantity)
        if sum(counted.values()):
            verdicts = ", ".join(f"{counted[v]} {v}" for v in VERDICTS)
            notes.append(f"{TITLES[quantity]}: {sum(counted.values())} distinct figures: {verdicts}.")
    shown = [
        [
            f.claim.table,
            f.claim.label,
            f.claim.host.name,
            TITLES[f.claim.quantity],
            f.claim.printed,
            units.count(sum_of(f)),
            phrases.counting(f, audit.search),
            phrases.verdict(f),
        ]
        for f in audit.findings
    ]
    heads = ["Table", "Row", "Host", "Figure", "Published", "Ours", "Counted", "Verdict"]
    return _table(title, heads, shown, (4, 5), rows(audit.findings, audit.search), [*notes, *_legend(audit.findings)])


def published_table(table: Published, audit: Audit) -> Table:
    """Return the rows and columns of a paper's table, with our count next to each complexity figure.

    Accuracy is as published.

    Args:
        table: The published table.
        audit: The audit of this table alone.
    """
    of_row: dict[tuple[int, str], Finding] = {(f.claim.number, f.claim.quantity): f for f in audit.findings}
    unjudged_by_cell = {(a.number, a.quantity): a for a in audit.unjudged}
    figures = [q for q in QUANTITIES if any(q == quantity for _, quantity in (*of_row, *unjudged_by_cell))]
    metrics = [name for name in table.metrics if any(name in row.values for row in table.rows)]
    leading = [k for k in ("section", "backbone", "subtask") if len({getattr(r, k) for r in table.rows}) > 1]
    shown = []
    for number, row in enumerate(table.rows, 1):
        line = [str(number), row.label or row.upsampler, *(getattr(row, k) or units.DASH for k in leading)]
        line += [_accuracy(table, name, row.values.get(name)) for name in metrics]
        for quantity in figures:
            finding, unjudged = of_row.get((number, quantity)), unjudged_by_cell.get((number, quantity))
            if finding is not None:
                line += [finding.claim.printed, units.count(sum_of(finding)), _short(finding, audit.search)]
            else:
                line += [
                    unjudged.figure.printed if unjudged else units.DASH,
                    units.DASH,
                    _unjudged(unjudged.base if unjudged else None),
                ]
        shown.append(line)
    heads = ["#", "Upsampler", *(k.capitalize() for k in leading), *metrics]
    for quantity in figures:
        heads += [TITLES[quantity], "ours", "verdict"]
    first = 2 + len(leading)
    numeric = (0, *range(first, first + len(metrics)))
    numeric += tuple(
        n for k in range(len(figures)) for n in (first + len(metrics) + 3 * k, first + len(metrics) + 3 * k + 1)
    )
    notes = ["Accuracy is as published."] if metrics else []
    notes += [f"{text}." for text in phrases.about(table.rows)]
    whys = dict.fromkeys(unjudged.why for unjudged in audit.unjudged if not unjudged.base)
    notes += [f"Not judged: {why}." for why in whys]
    notes += [f"{text}." for text in table.notes] if not table.rows else []
    raw = rows(audit.findings, audit.search) or _as_published(table)
    return _table(_title(table), heads, shown, numeric, raw, [*notes, *_legend(audit.findings)])


def formulas(table: Published, checked: Sequence[Checked]) -> Table:
    """Return a table of printed formulas: the value of each, and what the built module counts."""
    shown, raw = [], []
    for c in checked:
        metric = METRICS.get(c.metric, c.metric)
        ours = units.DASH if c.ours is None else f"{c.ours:,}"
        shown.append([c.label, c.step, metric, c.printed, f"{c.value:,}", ours, c.difference])
        raw.append({**vars(c)})
    heads = ["Row", "Step", "Counts", "Formula", "Its value", "Ours", "Difference"]
    return _table(_title(table), heads, shown, (4, 5, 6), raw, [FORMULAS])


def _title(table: Published) -> str:
    source = table.source
    return f"{table.id}: {table.title} ({source.paper}, {source.venue}, {source.table})"


def _as_published(table: Published) -> list[dict[str, Any]]:
    """The rows of a table that has nothing to be counted again."""
    keys = ("label", "upsampler", "backbone", "section", "subtask", "host", "settings")
    return [
        {"table": table.id, "row": n, **{key: getattr(row, key) for key in keys}, "accuracy": row.values}
        for n, row in enumerate(table.rows, 1)
    ]


def terms(claim: Claim, rule: Counting, stages: Sequence[tuple[Stage, int]], departures: str) -> Table:
    """Return one sum stage by stage, with a note on whether it is printed as the figure.

    Args:
        claim: The printed figure.
        rule: How the sum counts.
        stages: Each stage with its count.
        departures: What the sum changes of what is stated, in words.
    """
    total = sum(n for _, n in stages)
    shown = [
        [s.name, str(s.channels), str(s.guide_channels), f"{s.height}x{s.width}", str(s.batch), f"{n:,}"]
        for s, n in stages
    ]
    shown.append(["sum", "", "", "", "", f"{total:,}"])
    if agrees(total, claim.delta, claim.step, NEAREST):
        outcome = "which rounds to nearest as printed"
    elif rounding := odd(total, claim.delta, claim.step):
        outcome = f"which is as printed only when {rounding}"
    else:
        outcome = "which is not the printed figure"
    raw = [
        {
            "stage": s.name,
            "channels": s.channels,
            "guide_channels": s.guide_channels,
            "height": s.height,
            "width": s.width,
            "batch": s.batch,
            "count": n,
        }
        for s, n in stages
    ]
    notes = [
        f"Sum: {total}; printed: {claim.printed}, known to half of {claim.step:,}: {outcome}.",
        f"{rule.convention}: {phrases.convention(rule.convention)}." + (f" {rule.way}." if rule.way else ""),
    ]
    heads = ["Stage", "Channels", "Guide", "Low resolution", "Batch", TITLES[claim.quantity]]
    return _table(f"{claim.table}, {claim.label}: {departures}", heads, shown, (1, 2, 4, 5), raw, notes)


def _table(
    title: str,
    heads: list[str],
    shown: list[list[str]],
    numeric: Sequence[int],
    raw: Sequence[dict[str, Any]],
    notes: list[str],
) -> Table:
    keys = list(raw[0]) if raw else ["table"]
    marked = [n in numeric for n in range(len(heads))]
    return Table(title, heads, shown, marked, keys, [[r[k] for k in keys] for r in raw], notes)


def _short(finding: Finding, search: Search) -> str:
    """'as stated (P0)': the convention is named where the verdict does not name it."""
    text, rule = phrases.verdict(finding), phrases.counting(finding, search)
    named = finding.verdict == NOT_VERDICT or f"count {rule}" in text
    return text if named else f"{text} ({rule})"


def _unjudged(base: bool | None) -> str:
    return units.DASH if base is None else "base" if base else "not judged"


def _accuracy(table: Published, metric: str, value: float | None) -> str:
    if value is None:
        return units.DASH
    decimals = table.metrics[metric].decimals
    return f"{value:g}" if decimals is None else f"{value:.{decimals}f}"


def _legend(findings: Sequence[Finding]) -> list[str]:
    """What the conventions that occur add up."""
    names = dict.fromkeys(
        rule.convention
        for f in findings
        for rule in (f.usual, *([f.best.candidate.counting] if f.best and f.verdict != NOT_VERDICT else []))
    )
    return [f"{name}: {phrases.convention(name)}." for name in sorted(names)]
