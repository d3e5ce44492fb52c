"""The columns that a reader can ask for by name."""

from __future__ import annotations

from upbench import metrics
from upbench.errors import unknown
from upbench.report.tables import columns
from upbench.report.tables.columns import Column
from upbench.report.tables.result_set import ResultSet

_SETTINGS = {
    "label": columns.LABEL,
    "shape": columns.SHAPE,
    "scale": columns.SCALE,
    "batch": columns.BATCH,
    "dtype": columns.DTYPE,
    "mode": columns.MODE,
    "status": columns.STATUS,
}
"""Columns that are no measured quantity."""


def names() -> list[str]:
    """All names but those of published metrics: the quantities of `upbench.metrics`, and what a cell is of."""
    return ["published", *metrics.METRICS, *_SETTINGS]


def parse(text: str, results: ResultSet) -> list[str]:
    """The names in 'latency,params', each judged. Raises UnknownName with all that are known."""
    known = [*names(), *(c.title for table in results.published for c in table.columns)]
    found = []
    for name in filter(None, map(str.strip, text.split(","))):
        found.append(name if name in known else metrics.spelling(name, known))
        if found[-1] not in known:
            raise unknown("column", name, known)
    if not found:
        raise unknown("column", text, known)
    return list(dict.fromkeys(found))


def pick(text: str, results: ResultSet) -> list[Column]:
    """The columns named in 'latency,params', in their order, each once. Raises UnknownName with all that are known."""
    known = {name: columns.of(metric) for name, metric in metrics.under(results.convention).items()} | _SETTINGS
    printed = [c for table in results.published for c in table.columns]
    found: dict[str, Column] = {}
    for name in parse(text, results):
        if name == "published":
            hits = printed
        elif name in known:
            hits = [known[name]]
        else:
            hits = [c for c in printed if c.title == name]
        found.update({c.key: c for c in hits})
    return list(found.values())
