"""The columns that a reader can ask for by name, alone or as a group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from upbench import conventions, metrics
from upbench.errors import UnknownName, UpbenchError, unknown
from upbench.records.record import Record
from upbench.report.tables import columns, facts
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
RATIOS = ("ratio", "ratio-interval")
"""The ratio of the latency to the reference: with its verdict, and with its interval."""
PAPER = ("params", "macs", "latency", "ratio", "memory-of-mode")
"""The columns of a paper, which tables have unless others are asked for."""
_MEMORY_OF_MODE = "memory-of-mode"
GROUPS: dict[str, tuple[str, ...]] = {
    "paper": PAPER,
    "flops": ("macs", "macs-conv", "macs-gather", "macs-norm", "macs-elementwise"),
    "memory": ("peak-memory", "training-peak-memory", "saved-memory", "workspace"),
    "time": (
        *("latency", "interval", "ratio-interval", "latency-min", "latency-p5", "latency-p95", "latency-p99", "iqr"),
        *("samples", "efficiency", "throughput"),
    ),
}
"""Name of a group -> its columns. `all` has those of all groups, and every other quantity of tables of costs."""
DEFAULT = "published,given,paper"
"""What a table of a sweep shows unless other columns are asked for."""


def _everything() -> tuple[str, ...]:
    known = ("params", *GROUPS["flops"], *GROUPS["time"], *GROUPS["memory"])
    return tuple(dict.fromkeys((*known, *(name for name, metric in metrics.METRICS.items() if metric.in_tables))))


def names() -> list[str]:
    """Return every name that --columns takes, but for given and published metrics.

    They are groups, the quantities of `upbench.metrics`, and the parts of a spec that a column can show.
    """
    return ["published", "given", *GROUPS, "all", *metrics.METRICS, *RATIOS, *_SETTINGS]


def single_names() -> list[str]:
    """Return every name of one column; see `names`."""
    return [*metrics.METRICS, *RATIOS, *_SETTINGS, "verdict", "fits"]


def meant(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is meant: the name as it is written, or today's of another spelling; None where none is."""
    if name in known:
        return name
    others = (m for m in metrics.METRICS.values() if name in (*m.also, *m.formerly) and m.name in known)
    return next((metrics.spelling(name, known) for _ in others), None)


def parse(text: str, more: Sequence[str] = ()) -> list[str]:
    """Return the names in a text as 'latency,params', each once and in the spelling of today, groups as their columns.

    Args:
        text: The names, separated by commas.
        more: Other names that are known: given and published metrics.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    known = list(dict.fromkeys([*names(), *more]))
    spelled: list[str] = []
    for name in filter(None, map(str.strip, text.split(","))):
        found = meant(name, known)
        if found is None:
            raise _unknown(name, known)
        spelled += _everything() if found == "all" else GROUPS.get(found, (found,))
    if not spelled:
        raise unknown("column", text, known)
    return list(dict.fromkeys(spelled))


def _unknown(name: str, known: Sequence[str]) -> UpbenchError:
    """The error for a name that is not known; it may be the head of a column, or another spelling."""
    if sentence := headed(name):
        group = f"; {name.lower()!r} is a group of columns" if name.lower() in GROUPS else ""
        return UnknownName(f"unknown column {name!r}: {sentence}{group}")
    if other := next((one for one in known if one.lower() == name.lower()), None):
        kind = "the group of columns" if other in (*GROUPS, "all", "given", "published") else "the column"
        return UnknownName(
            f"unknown column {name!r}: {kind} is {other!r}, as it is written here; a head of another name is given by "
            f"--heads latency={name}"
        )
    accuracy = (
        "accuracy is known of results with NAME.accuracy.yaml beside them, which is copied with them, or by --accuracy"
    )
    return UnknownName(f"{unknown('column', name, known)}; {accuracy}")


def headed(text: str) -> str | None:
    """Return which column has this head in our tables, as a sentence; None for no head of ours.

    Args:
        text: The head, in whatever case, with or without a convention behind it: "FLOPs (F3)".
    """
    wanted = text.partition(" (")[0].lower()
    if wanted == "memory":
        return "the column headed Memory is 'peak-memory', in training 'training-peak-memory'"
    heads = {metric.head: name for name, metric in metrics.METRICS.items()}
    heads |= {"Ratio": "ratio"} | {column.title: name for name, column in _SETTINGS.items()}
    return next(
        (f"the column headed {head} is {name!r}" for head, name in heads.items() if head.lower() == wanted), None
    )


def of_records(
    records: Sequence[Record], convention: str, ratios: Mapping[str, Sequence[Column]]
) -> dict[str, list[Column]]:
    """Return the columns of each name that `parse` returns, but for those of published tables.

    Args:
        records: The records that the columns are to show.
        convention: How parameters and MACs are counted.
        ratios: The columns of each of RATIOS.
    """
    known = {name: [columns.of(metric)] for name, metric in metrics.under(convention, records).items()}
    settings = {name: [column] for name, column in _SETTINGS.items()}
    named = {name: list(ratios.get(name, ())) for name in RATIOS}
    given = list(columns.accuracies(records))
    return {**known, **settings, **named, _MEMORY_OF_MODE: [columns.memory(records)], "published": [], "given": given}


def compared(
    text: str | None, records: Sequence[Record], reference: Record, convention: str = conventions.DEFAULT
) -> list[Column]:
    """Return the columns of a comparison.

    Args:
        text: The names, separated by commas; None for those of a paper.
        records: The records.
        reference: The record that latencies are divided by.
        convention: How parameters and MACs are counted.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    ratio, _, _, verdict = columns.ratio_to(reference)
    ratios = {"ratio": [columns.judged_ratio(reference)], "ratio-interval": [ratio, verdict]}
    known = of_records(records, convention, ratios)
    names = parse("given,paper" if text is None else text, list(metrics.accuracies(records)))
    return [column for name in names for column in known[name]]


def pick(text: str, results: ResultSet) -> list[Column]:
    """Return the columns named in a text as 'latency,params', in their order, each once.

    Args:
        text: The names, separated by commas; axes among them say which axes name a row, and in which order.
        results: The records that the columns are to show.

    Raises:
        UnknownName: A name is not known; the error lists all that are.
    """
    passed = any((timed := facts.timing(r)) and timed.in_passes for r in results.records)
    judged, interval = columns.passed_ratio()
    known = of_records(
        results.records, results.convention, {"ratio": [judged], "ratio-interval": [interval]} if passed else {}
    )
    printed = [c for table in results.published for c in table.columns]
    known["published"] = printed
    titled = {c.title: [c] for c in printed}
    picked: dict[str, Column] = {}
    titled |= {f"published:{title}": found for title, found in titled.items()}
    known |= {name: [columns.axis(name)] for name in results.axes if name not in metrics.METRICS}
    for name in parse(text, [*results.metrics, *titled, *results.axes]):
        picked.update({c.key: c for c in known.get(name, titled.get(name, ()))})
    return list(picked.values())
