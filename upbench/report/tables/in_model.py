"""The table of a whole model: as it is, and with upsamplers in the place of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from upbench import metrics, units
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.tables import columns, notes
from upbench.report.tables.columns import Column

if TYPE_CHECKING:
    from upbench.models.job import InModel

SHARE = (
    "Share: the part of a forward's time that the chosen upsampling calls take. Params and FLOPs are of the whole model, "
    "+ what is added to it as it is; FLOPs are counted operator by operator as torch dispatches them."
)
"""The note on what stands in the columns."""
SHARED_METRICS = ("latency", "peak-memory", "training-peak-memory")


def comparison(found: Sequence[InModel], title: str, reference: int = 0) -> Table:
    """Return a row for the model with each upsampler; the first is the model as it is.

    Args:
        found: What was measured.
        title: The title.
        reference: Position of the row that latencies are divided by.
    """
    records = [one.record for one in found]
    shares = {id(one.record): one.share for one in found}
    base = records[0]

    def added(read: Column, key: str) -> Column:
        def more(record: Record) -> int | None:
            own, first = read.raw(record), read.raw(base)
            return None if own is None or first is None or record is base else own - first

        def shown(record: Record) -> str:
            value = more(record)
            return units.DASH if value is None else f"{'-' if value < 0 else '+'}{units.count(abs(value))}"

        return Column(key, "added", more, units.plain, shown=shown)

    under = metrics.under("F4")
    params = Column("params", "Params", lambda r: r.params, units.count)
    macs = Column("macs", "FLOPs", lambda r: r.macs.total if r.macs else None, units.count)
    costs = [columns.of(under[name]) for name in SHARED_METRICS]
    share = Column("upsampling_share", "Share", lambda r: shares[id(r)], _percent)
    ratio, low, high, verdict = columns.ratio_to(records[reference])
    shown = [
        columns.LABEL,
        params,
        added(params, "params_added"),
        macs,
        added(macs, "macs_added"),
        costs[0],
        ratio,
        verdict,
    ]
    shown += [share, *costs[1:]]
    raw = [*shown, low, high]
    return Table(
        title=title,
        heads=[column.title for column in shown],
        rows=[[column.cell(record) for column in shown] for record in records],
        numeric=[column.numeric for column in shown],
        raw_heads=[*(column.key for column in raw), "sites"],
        raw_rows=[[*(column.raw(one.record) for column in raw), " ".join(one.sites)] for one in found],
        notes=[
            f"Replaced: {notes.name_some(found[0].sites, len(found[0].sites), kind='calls')}.",
            SHARE,
            *(f"{text[0].upper()}{text[1:]}." for text in found[0].notes),
            *notes.machine(records),
            *notes.noise_floor(records, efficiency=False),
            *notes.warnings(records),
        ],
        lead=1,
        label="model",
    )


def _percent(value: float | None) -> str:
    return units.DASH if value is None else units.percent(value)
