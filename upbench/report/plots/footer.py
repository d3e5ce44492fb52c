"""The small print of a picture: what failed, where and how it was measured, what was counted, what is published."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import conventions
from upbench.records.record import Record
from upbench.report.plots.accuracy import Accuracy
from upbench.report.plots.quantities import Quantity
from upbench.report.tables import notes
from upbench.report.tables.result_set import ResultSet

_COUNTED = ("params", "macs")


def lines(
    results: ResultSet,
    drawn: Sequence[Quantity],
    left_out: Sequence[str] = (),
    accuracy: Accuracy | None = None,
) -> list[str]:
    """Return the small print of a picture.

    Args:
        results: All cells, those that failed among them.
        drawn: The quantities that the picture shows.
        left_out: Sentences on what could not be drawn.
        accuracy: The published accuracy that it shows.
    """
    names = {quantity.name for quantity in drawn}
    failed, good = results.failed, results.measured.records
    under = [f"Failed, not drawn: {notes.name_some(failed, 0)}."] if failed else []
    under += left_out
    if accuracy is not None:
        under += _published(accuracy, good)
    if "latency" in names:
        under.append("Latency: median, with its 95 % bootstrap interval.")
    shared = notes.condition(good)
    under += [*([f"All cells: {shared}."] if shared else []), *notes.machine(good)]
    if names & {*_COUNTED}:
        under.append(conventions.describe(results.convention))
    return under


def _published(accuracy: Accuracy, records: Sequence[Record]) -> list[str]:
    source = accuracy.table.source
    source_text = f"{source.paper}, {source.venue}, {source.table}; {accuracy.host}"
    under = [f"Accuracy is published, not measured here: {source_text}. Cost is that of one upsampler, measured here."]
    by_remark: dict[str, list[str]] = {}
    for index, matched in accuracy.matches.items():
        if matched.remark:
            by_remark.setdefault(matched.remark, []).append(records[index].label)
    return under + [f"? {', '.join(names)}: {remark.rstrip('.')}." for remark, names in by_remark.items()]
