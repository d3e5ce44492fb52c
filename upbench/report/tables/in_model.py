"""The table of a whole model: as it is, and with upsamplers in the place of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from upbench import metrics, units
from upbench.analysis.stats import Verdict
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.tables import columns, facts, notes
from upbench.report.tables.columns import Column

if TYPE_CHECKING:
    from upbench.models.job import InModel

SHARE = (
    "Share: the part of a forward's time that the chosen upsampling calls take. Params and FLOPs are of the whole model, "
    "+ what is added to it as it is; FLOPs are counted operator by operator as torch dispatches them."
)
"""The note on what stands in the columns."""
SHARE_IN_SHORT = "Share: the part of a forward's time that these calls take."
FLOP = "1 FLOP: one multiply-accumulate, of the whole model."
WIDE = "the interval of the ratio is not within 5 % of 1, nor past it by more than the noise floor"
"""Why a verdict is UNSURE where nothing warns of the measurement."""
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
    if not any(record.latency for record in records):
        shown = [column for column in shown if column not in (costs[0], ratio, verdict, share)]
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
            *([SHARE] if share in shown else []),
            *(f"{text[0].upper()}{text[1:]}." for text in found[0].notes),
            *notes.machine(records),
            *notes.noise_floor(records, efficiency=False),
            *notes.warnings(records),
        ],
        brief=_brief(found, shown, verdict),
        lead=1,
        label="model",
    )


def _brief(found: Sequence[InModel], shown: Sequence[Column], verdict: Column) -> list[str]:
    """Return three lines: which calls were replaced, where and how finely it was measured, and why a verdict is UNSURE."""
    records = [one.record for one in found]
    replaced = f"Replaced: {notes.name_some(found[0].sites, len(found[0].sites), kind='calls')}."
    unsure = [record for record in records if verdict.cell(record) == Verdict.UNSURE]
    said = dict.fromkeys(warning for record in unsure for warning in facts.warnings(record))
    reasons = sorted(said, key=lambda warning: "rounds fitted" not in warning)[:1] or [WIDE]
    why = [f"UNSURE: {reasons[0]}"] if unsure else []
    *where, last = notes.brief(records, shown, urgent=why)
    more = [f"{text[0].upper()}{text[1:]}." for text in found[0].notes]
    where = [text.removeprefix(f"{notes.in_model(records)[0]}; ") for text in where]  # the title says it
    return [
        " ".join([replaced, *([SHARE_IN_SHORT] if any(one.share for one in found) else []), *more]),
        " ".join([*where, FLOP]),
        last,
    ]


def _percent(value: float | None) -> str:
    return units.DASH if value is None else units.percent(value)
