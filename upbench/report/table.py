"""Tables of records: what is compared, what a sweep found, and one record in full."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.record import Record
from upbench.report import columns
from upbench.report.columns import Column
from upbench.report.sheet import Table

CONVENTION = (
    "One multiply-accumulate counts as one FLOP. Total = conv + gather + norm + element-wise; gather = sampling "
    "(4 per value), similarity and assembly."
)


def comparison(records: Sequence[Record], reference: Record) -> Table:
    """Upsamplers as rows, with the latency of each over that of the reference."""
    ratio, low, high = columns.ratio_to(reference)

    def shown(record: Record) -> str:
        if record is reference:
            return "1 (reference)"
        pair = columns.paired(record, reference)
        return f"{units.ratio(pair.value)} ({units.interval(pair.low, pair.high)})"

    shapes = columns.varying(records, (columns.SHAPE, columns.SCALE))
    table = _build(_condition(records), records, (columns.LABEL, *shapes, *columns.COSTS, ratio), (low, high))
    place = table.heads.index(ratio.title)
    for row, record in zip(table.rows, records, strict=True):
        row[place] = shown(record)
    ratio_note = f"{ratio.title}: median of ratios taken round by round, with its 95 % bootstrap interval."
    return Table(**{**vars(table), "notes": [ratio_note, *table.notes]})


def sweep(records: Sequence[Record], axes: Sequence[str], title: str) -> Table:
    """Grid values as rows, as in the papers' ablation tables."""
    heads = tuple(columns.axis(name) for name in axes)
    table = _build(title, records, (*heads, *columns.COSTS), ())
    notes = [_condition(records), *table.notes]
    notes += [f"{_cell(r)}: {r.error}" for r in records if r.status != "ok"]
    return Table(**{**vars(table), "notes": notes})


def single(record: Record) -> Table:
    """One record in full: quantities as rows. Its CSV form is one row."""
    flat = _build(_condition([record]), [record], (columns.LABEL, *columns.COSTS), ())
    pixels = _low_pixels(record)
    rows: list[list[str]] = [["Parameters", units.exact(record.params)]]
    if record.params != record.params_trainable:
        rows.append(["  trainable", units.exact(record.params_trainable)])
    if record.buffers:
        rows.append(["Buffers", units.exact(record.buffers)])
    if macs := record.macs:
        rows.append(["MACs", units.count(macs.total)])
        for kind in ("conv", "gather", "norm", "elementwise"):
            value = getattr(macs, kind)
            rows.append([f"  {kind}", f"{units.count(value)} ({value / pixels:,.0f} per low-resolution pixel)"])
    if (latency := record.latency) and (summary := columns.summary(record)):
        what = "forward + backward" if latency.mode == "training" else "forward"
        rows += [
            [f"Latency, {what}", units.seconds(summary.median)],
            ["  95 % interval of the median", f"{units.seconds(summary.low)} to {units.seconds(summary.high)}"],
            [
                "  quartiles",
                f"{units.seconds(summary.q1)} to {units.seconds(summary.q3)} (IQR {units.seconds(summary.iqr)})",
            ],
            ["  samples", f"{summary.n} of {latency.calls_per_sample} calls"],
            ["  first call", units.seconds(latency.first_call_s)],
        ]
    if memory := record.memory:
        rows += [
            ["Peak memory, forward", units.mebibytes(memory.forward_peak_bytes)],
            ["Peak memory, forward + backward", units.mebibytes(memory.training_peak_bytes)],
            ["  input", units.mebibytes(memory.input_bytes)],
            ["  weights", units.mebibytes(memory.weight_bytes)],
            ["  output", units.mebibytes(memory.output_bytes)],
        ]
    return Table(
        f"{record.label}: {flat.title}",
        ["Quantity", "Value"],
        rows,
        [False, False],
        flat.raw_heads,
        flat.raw_rows,
        flat.notes,
    )


def _build(title: str, records: Sequence[Record], shown: Sequence[Column], more: Sequence[Column]) -> Table:
    raw = [*shown, *more, *(c for c in (columns.SHAPE, columns.SCALE, *columns.RAW_ONLY) if c not in shown)]
    return Table(
        title=title,
        heads=[c.title for c in shown],
        rows=[[c.text(c.raw(r)) for c in shown] for r in records],
        numeric=[c.numeric for c in shown],
        raw_heads=[c.key for c in raw],
        raw_rows=[[c.raw(r) for c in raw] for r in records],
        notes=[CONVENTION, *_memory_note(records), *_machine(records), *_warnings(records)],
    )


def _condition(records: Sequence[Record]) -> str:
    """What was measured, as far as all records agree."""
    first = records[0].spec
    parts = [
        ("shape {}", lambda s: s["input"]["shape"]),
        ("x{:g}", lambda s: s["scale"]),
        ("batch {}", lambda s: s["input"]["batch"]),
        ("{}", lambda s: s["input"]["dtype"]),
        ("{}", lambda s: s["input"]["memory_format"]),
        ("{}", lambda s: s["measure"]["mode"]),
    ]
    texts = [form.format(get(first)) for form, get in parts if all(get(r.spec) == get(first) for r in records)]
    return ", ".join(texts)


def _memory_note(records: Sequence[Record]) -> list[str]:
    methods = {r.memory.method for r in records if r.memory}
    return [f"Peak memory: beyond inputs and weights, output included; {method}." for method in sorted(methods)]


def _machine(records: Sequence[Record]) -> list[str]:
    found: dict[str, None] = {}
    for record in records:
        env = record.environment
        threads = f", {env['threads']} threads" if env["device_type"] == "cpu" else ""
        found[f"Measured on {env['device']}{threads}; torch {env['torch']}, upbench {env['upbench']}."] = None
    return list(found)


def _warnings(records: Sequence[Record]) -> list[str]:
    by_text: dict[str, list[str]] = {}
    for record in records:
        for warning in record.warnings:
            by_text.setdefault(warning, []).append(_cell(record))
    return [f"Warning ({', '.join(cells)}): {text}." for text, cells in by_text.items()]


def _cell(record: Record) -> str:
    return ", ".join(f"{k}={v}" for k, v in record.axes.items()) or record.label


def _low_pixels(record: Record) -> int:
    _, height, width = (int(n) for n in record.spec["input"]["shape"].split("x"))
    return record.spec["input"]["batch"] * height * width
