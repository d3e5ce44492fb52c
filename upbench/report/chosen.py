"""The columns that a reader can ask for by name."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import conventions, metrics
from upbench.errors import unknown
from upbench.record import Record
from upbench.report import beside, columns
from upbench.report.beside import Beside
from upbench.report.columns import Column

DEFAULT = "published,params,macs,latency,interval,peak-memory,training-peak-memory"

OTHERS = {
    "published": "what the table that the sweep names printed (AP, mIoU, ...); one of them by its own name",
    "label": "the upsampler with its settings",
    "shape": "of the input",
    "scale": "output over input",
    "batch": "of the input",
    "dtype": "of the input",
    "mode": "inference, training, ...",
    "status": "ok, or why there is no measurement",
}
"""Columns that are no measured quantity: name -> what it is."""

_SETTINGS = {
    "label": columns.LABEL,
    "shape": columns.SHAPE,
    "scale": columns.SCALE,
    "batch": columns.BATCH,
    "dtype": columns.DTYPE,
    "mode": columns.MODE,
    "status": columns.STATUS,
}


def names() -> list[str]:
    """All names but those of published metrics: the quantities of `upbench.metrics`, and OTHERS."""
    return ["published", *metrics.METRICS, *_SETTINGS]


def parse(text: str, records: Sequence[Record], convention: str = conventions.DEFAULT) -> list[str]:
    """The names in 'latency,params', each judged. Raises UnknownName with all that are known."""
    known = [*names(), *(c.title for table in beside.find(records) for c in table.columns)]
    found = []
    for name in filter(None, map(str.strip, text.split(","))):
        found.append(name if name in known else metrics.spelling(name, known))
        if found[-1] not in known:
            raise unknown("column", name, known)
    if not found:
        raise unknown("column", text, known)
    return list(dict.fromkeys(found))


def pick(names: Sequence[str], published: Sequence[Beside], convention: str) -> list[Column]:
    """The columns of names that `parse` let pass, in their order, each once."""
    known = {name: columns.of(metric) for name, metric in metrics.under(convention).items()} | _SETTINGS
    printed = [c for table in published for c in table.columns]
    found: dict[str, Column] = {}
    for name in names:
        if name == "published":
            hits = printed
        elif name in known:
            hits = [known[name]]
        else:
            hits = [c for c in printed if c.title == name]
        found.update({c.key: c for c in hits})
    return list(found.values())
