"""The page of all published complexity figures: what comes out again, what does not, and how much of it is chance."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.papers.published import Published
from upbench.report.reproduce import phrases
from upbench.report.reproduce.text_blocks import DEFINITIONS, HEAD, HOW_TO_READ, STAGES
from upbench.reproduce.audit import NOT_VERDICT, ODD_VERDICT, OTHER_VERDICT, VERDICTS, Audit, Finding
from upbench.reproduce.claims import QUANTITIES
from upbench.reproduce.formulas import FORMULAS, METRICS, PerPixel, check
from upbench.reproduce.hypotheses import Hypotheses
from upbench.reproduce.verdicts import Figure, by_verdict, chance, coincidences, distinct, mixed

NAMES = {"params": "Parameters", "flops": "FLOPs"}
"""The heads of the quantities."""
LEADS = 2
"""The most leads that are listed for a figure that is not reproduced."""


def page(audit: Audit, tables: Sequence[Published], per_pixel: PerPixel, latency: str) -> str:
    """Return the whole page as Markdown.

    Args:
        audit: The audit of the figures.
        tables: The tables that were audited.
        per_pixel: Counts what one low-resolution pixel costs in a built module.
        latency: The text of the section on latency.
    """
    figures, known = distinct(audit.findings), audit.search.known
    parts = [
        HEAD,
        _summary(audit, figures),
        DEFINITIONS.format(departures=known.departures, chance=f"{100 * known.chance:.0f} %"),
        STAGES,
        _chance(audit, figures),
        "## Not reproduced\n",
        _not(audit, figures, known),
        "## Reproduced only by odd rounding\n",
        _explained(audit, [f for f in figures if f.verdict == ODD_VERDICT]),
        "## Reproduced with another setting, variant, count or version\n",
        _explained(audit, [f for f in figures if f.verdict == OTHER_VERDICT]),
        _reasons(audit, known),
        "## Tables that count in more than one way\n",
        _mixed(audit),
        "## Printed formulas\n",
        _formulas(tables, per_pixel, known),
        "## Every figure\n",
        HOW_TO_READ,
        *[_table(audit, table) for table in tables],
        "## Latency\n",
        latency,
        "## Not judged\n",
        _unjudged(audit),
    ]
    return "\n".join(part for part in parts if part)


def _summary(audit: Audit, figures: Sequence[Figure]) -> str:
    counted = {q: by_verdict(figures, q) for q in QUANTITIES}
    lines = [[v, *(str(counted[q][v]) for q in QUANTITIES), str(sum(c[v] for c in counted.values()))] for v in VERDICTS]
    lines.append(["all", *(str(sum(c.values())) for c in counted.values()), str(len(figures))])
    tables = len({f.claim.table for f in audit.findings})
    return (
        f"{len(audit.findings)} printed figures in {tables} tables, {len(figures)} of them distinct (host model, "
        f"upsampler, printed value). By verdict, over distinct figures:\n\n"
        + _grid(["Verdict", "Parameters", "FLOPs", "Together"], lines, (1, 2, 3))
    )


def _chance(audit: Audit, figures: Sequence[Figure]) -> str:
    lines = []
    for quantity in QUANTITIES:
        moved = chance(audit, figures, quantity)
        shares = [f"{moved.by_verdict[v]} ({units.percent(moved.share(v))})" for v in VERDICTS]
        lines.append([NAMES[quantity], str(moved.tested), *shares])
    return (
        "## How much of this is chance\n\n"
        "A search over settings and conventions finds accidental matches. To know how many, every distinct figure was "
        "moved by one, two and three units of its last place, up and down, and the figures so made up were judged by "
        "the same rules:\n\n"
        + _grid(["Made-up figures", "tried", *VERDICTS], lines, (1, 2, 3, 4, 5))
        + "\nA made-up figure comes out *as stated* where the printed one differs from our count of what is stated. "
        "The lists below say for each figure how many explanations were tried, how many different sums they gave, and "
        "how many of its neighbours (up to three units away) have an explanation as good. One-digit figures such as "
        "+0.1M are weak evidence whatever the verdict.\n"
    )


def _not(audit: Audit, figures: Sequence[Figure], known: Hypotheses) -> str:
    lines = []
    for figure in (f for f in figures if f.verdict == NOT_VERDICT):
        first = figure.first
        remarks = [
            r.text
            for f in figure.findings
            for r in known.remarks
            if f.claim.table in r.tables and (r.row, r.quantity) == (f.claim.label, f.claim.quantity)
        ]
        leads = coincidences(first, audit)[:LEADS] if not remarks else []
        why = "; ".join(remarks[:1] or leads) or "nothing that was tried is near"
        lines.append([*_head(figure), units.count(first.value), why, _search_size(first)])
    heads = ["Row", "Host", "Figure", "Published", "Ours, as stated", "Most likely explanation", "Tried / sums / near"]
    return _grid(heads, lines, (3, 4)) if lines else "Every figure was reproduced.\n"


def _explained(audit: Audit, figures: Sequence[Figure]) -> str:
    lines = []
    for figure in figures:
        f = figure.first
        assert f.best is not None
        lines.append(
            [
                *_head(figure),
                units.count(f.value),
                units.count(f.best.candidate.value),
                phrases.verdict(f),
                str(f.best.cost),
                _search_size(f),
                _code(phrases.command(f, audit.search)),
            ]
        )
    heads = [
        "Row",
        "Host",
        "Figure",
        "Published",
        "Ours, as stated",
        "Ours, so",
        "How",
        "Departures",
        "Tried / sums / near",
        "Command",
    ]
    return _grid(heads, lines, (3, 4, 5, 7)) if lines else "None.\n"


def _reasons(audit: Audit, known: Hypotheses) -> str:
    """Why the hypotheses that were used are among those that may be tried."""
    used = [f for f in audit.findings if f.best and f.verdict != NOT_VERDICT]
    reasons: dict[str, None] = {}
    for f in used:
        assert f.best is not None
        explanation, upsampler = f.best.candidate, f.claim.row.upsampler
        for key, _ in explanation.model.settings:
            hypothesis = next(s for s in known.settings if (s.upsampler, s.param) == (upsampler, key))
            reasons[f"{key} of {upsampler}: {hypothesis.why}."] = None
        for name in (
            explanation.model.version,
            explanation.counting.way if explanation.counting.way != f.usual.way else None,
        ):
            if name is not None:
                change = known.change(name)
                reasons[f"{name}: {change.words}. {change.why}."] = None
        if explanation.model.variant is not None:
            variant = f.claim.host.variants[explanation.model.variant]
            about_variant = variant.why or variant.fits or variant.note
            reasons[
                f"host variant {explanation.model.variant} of {f.claim.host.title}"
                + (f": {about_variant}." if about_variant else ".")
            ] = None
    return "Why these may be tried:\n\n" + "".join(f"- {text}\n" for text in reasons) if reasons else ""


def _mixed(audit: Audit) -> str:
    lines = []
    for column in mixed(audit.findings):
        table_name = f"{column.table} ({column.section})" if column.section else column.table
        exceptions = "; ".join(f"{f.claim.label}: {phrases.counting(f, audit.search)}" for f in column.others)
        lines.append([table_name, NAMES[column.quantity], str(column.size), column.usual.convention, exceptions])
    return (
        "A column counts as its paper says; where the paper does not say, as most of its figures come out. A row that "
        "was taken over from an earlier table often keeps that table's way of counting.\n\n"
        + _grid(["Table", "Column", "Figures", "Counts", "Except"], lines, (2,))
    )


def _formulas(tables: Sequence[Published], per_pixel: PerPixel, known: Hypotheses) -> str:
    lines = []
    for c in check(tables, per_pixel, known):
        ours = units.DASH if c.ours is None else f"{c.ours:,}"
        metric = METRICS.get(c.metric, c.metric)
        lines.append([c.table, c.label, c.step, metric, c.printed, f"{c.value:,}", ours, c.difference])
    heads = ["Table", "Row", "Step", "Counts", "Formula", "Its value", "Ours", "Difference"]
    return f"{FORMULAS}\n\n" + _grid(heads, lines, (5, 6, 7))


def _table(audit: Audit, table: Published) -> str:
    findings = [f for f in audit.findings if f.claim.table == table.id]
    if not findings:
        return ""
    lines = []
    for f in findings:
        ours = f.best.candidate.value if f.best and f.verdict != NOT_VERDICT else f.value
        row_name = ", ".join(x for x in (f.claim.row.section, f.claim.row.backbone, f.claim.row.subtask) if x)
        lines.append(
            [
                f.claim.label,
                row_name or units.DASH,
                NAMES[f.claim.quantity],
                f.claim.printed,
                "none" if ours is None else f"{ours:,}",
                phrases.counting(f, audit.search),
                phrases.verdict(f),
                _code(phrases.command(f, audit.search)) if f.verdict != NOT_VERDICT else units.DASH,
            ]
        )
    source = f"{table.source.paper} ({table.source.venue}), {table.source.table}"
    repository = f", {table.source.repository} {(table.source.commit or '')[:7]}" if table.source.repository else ""
    usual = dict.fromkeys(
        f"{NAMES[f.claim.quantity]}{f' ({f.claim.row.section})' if f.claim.row.section else ''}: {f.usual.convention}"
        for f in findings
    )
    heads = ["Row", "Where", "Figure", "Published", "Ours", "Counted", "Verdict", "Command"]
    notes = "".join(f"- {text}.\n" for text in phrases.about([r for r in table.rows if r.params or r.flops]))
    return (
        f"### {table.id}: {table.title}\n\n{source}{repository}. Columns count {', '.join(usual)}.\n\n"
        + _grid(heads, lines, (3, 4))
        + (f"\n{notes}" if notes else "")
    )


def _unjudged(audit: Audit) -> str:
    lines = [
        [
            a.table,
            a.row.label or a.row.upsampler,
            a.row.backbone or units.DASH,
            NAMES[a.quantity],
            a.figure.printed,
            a.why,
        ]
        for a in audit.unjudged
    ]
    return (
        "Bases of the hosts are not counts of an upsampler, and some rows name what upbench does not have.\n\n"
        + _grid(["Table", "Row", "Backbone", "Figure", "Published", "Why"], lines, (4,))
    )


def _head(figure: Figure) -> list[str]:
    claim = figure.first.claim
    tables = dict.fromkeys(f.claim.table for f in figure.findings)
    same = "" if figure.agreed else " (judged otherwise in one)"
    return [f"{claim.label}: {', '.join(tables)}{same}", claim.host.name, NAMES[claim.quantity], claim.printed]


def _search_size(f: Finding) -> str:
    return f"{f.tried} / {f.values} / {f.near} of {f.of}"


def _code(text: str | None) -> str:
    return units.DASH if text is None else f"`{text}`"


def _grid(heads: list[str], lines: list[list[str]], numeric: Sequence[int]) -> str:
    from tabulate import tabulate

    align = ["right" if n in numeric else "left" for n in range(len(heads))]
    safe = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return tabulate(safe, heads, tablefmt="github", colalign=align if safe else None, disable_numparse=True) + "\n"
