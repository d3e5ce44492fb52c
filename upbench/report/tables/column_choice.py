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
"""Columns of what a cell is, rather than of a measured quantity."""


def names() -> list[str]:
    """Return every name that --columns takes, but for given and published metrics.

    They are the quantities of `upbench.metrics`, and the parts of a spec that a column can show.
    """
    return ["given", "published", *metrics.METRICS, *_SETTINGS]


def parse(text: str, results: ResultSet) -> list[str]:
    """Return the names in a text as 'latency,params', each once and in the spelling of today.

    Args:
        text: The names, separated by commas.
        results: The records, which may hold accuracy, and whose sweeps may name published tables.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    printed = [c.title for table in results.published for c in table.columns]
    known = [*dict.fromkeys([*names(), *results.metrics, *printed, *(f"published:{title}" for title in printed)])]
    spelled = []
    for name in filter(None, map(str.strip, text.split(","))):
        spelled.append(name if name in known else metrics.spelling(name, known))
        if spelled[-1] not in known:
            raise unknown("column", name, known)
    if not spelled:
        raise unknown("column", text, known)
    return list(dict.fromkeys(spelled))


def pick(text: str, results: ResultSet) -> list[Column]:
    """Return the columns named in a text as 'latency,params', in their order, each once.

    Args:
        text: The names, separated by commas.
        results: The records that the columns are to show.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    known = {name: columns.of(metric) for name, metric in results.metrics.items()} | _SETTINGS
    printed = [c for table in results.published for c in table.columns]
    picked: dict[str, Column] = {}
    for name in parse(text, results):
        if name == "published":
            matching = printed
        elif name == "given":
            matching = results.accuracies
        elif name in known:
            matching = [known[name]]
        else:
            matching = [c for c in printed if c.title == name.removeprefix("published:")]
        picked.update({c.key: c for c in matching})
    return list(picked.values())
