"""Tables of hosts: what upsamplers cost in one of them, and which hosts there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from upbench import conventions, metrics, units
from upbench.papers import BaseFigure, Host, Stage
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.tables import columns, notes, origins
from upbench.report.tables.columns import Column
from upbench.report.tables.comparison import WHAT
from upbench.report.tables.sweep import Footnotes

MEMORY = (
    "Peaks of all stages: one after another, the output of each kept until the last has run, as a feature pyramid keeps "
    "its merged levels. A stage's own peak: that stage alone."
)
"""The note on what the peaks of a host are."""


def comparison(
    totals: Sequence[Record],
    stages: Sequence[Sequence[Record]],
    host: Host,
    reference: int,
    convention: str = conventions.DEFAULT,
) -> Table:
    """Return what each upsampler adds to a host: a row for all stages together, and one for each stage that is to be shown.

    Args:
        totals: One record of all stages for each upsampler.
        stages: For each upsampler the records of the stages to be shown, or none.
        host: The host.
        reference: The index of the upsampler that latencies are divided by.
        convention: How parameters and MACs are counted.
    """
    params, flops = (columns.of(metrics.under(convention)[name]) for name in ("params", "macs"))
    costs = columns.costs(convention)
    base = {params.key: host.base.params.value, flops.key: host.base.flops.value}
    shown = [columns.LABEL, *([_STAGE] if any(stages) else [])]
    shown += columns.accuracies(totals)
    for column in costs:
        shown.append(column)
        if column.key in base:
            shown.append(_of_base(column, base[column.key]))
    latency = [*columns.ratio_to(totals[reference])]
    more = [*columns.accuracy_details(totals)]
    more += [c for c in columns.raw_only() if c is not columns.ALL_PARAMS]
    rows, raw, shown_records = [], [], list[Record]()
    if base[params.key] is not None or base[flops.key] is not None:
        first = {columns.LABEL.key: "base", **{c.key: c.text(base[c.key]) for c in (params, flops)}}
        rows.append([first.get(c.key, units.DASH) for c in shown] + [units.DASH] * 2)
    first_row = len(rows)
    for n, total in enumerate(totals):
        for stage_index, record in enumerate((total, *stages[n])):
            base_record = (totals[reference], *stages[reference])[stage_index]
            ratio, low, high, verdict = columns.ratio_to(base_record)
            shown_records.append(record)
            rows.append([c.cell(record) for c in (*shown, ratio, verdict)])
            pair = [c.raw(record) for c in (ratio, low, high, verdict)]
            of_host = [host.name, _input(host), _stage_name(record), *base.values()]
            raw.append([*(c.raw(record) for c in shown), *pair, *of_host, *(c.raw(record) for c in more)])
    footnotes = Footnotes()
    for m, column_index, text in origins.footnotes(shown, shown_records):
        footnotes.add(m if m == origins.HEAD else m + first_row, column_index, text)
    heads = ["host", "host_input", "stage_name", "base_params", "base_flops"]
    return Table(
        title=_title(totals, host),
        heads=[*(origins.title(c, totals) for c in shown), latency[0].title, "Verdict"],
        rows=rows,
        numeric=[*(c.numeric for c in shown), True, False],
        raw_heads=[*(c.key for c in shown), *(c.key for c in latency), *heads, *(c.key for c in more)],
        raw_rows=raw,
        notes=_notes(totals, host, convention),
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        lead=2 if any(stages) else 1,
    )


def listing(hosts: Sequence[Host], aliases: Sequence[Host]) -> Table:
    """Return the table of the hosts with their stages.

    Args:
        hosts: The hosts.
        others: Hosts that have the stages of one of them and another backbone; a note names them.
    """
    rows, raw = [], []
    for host in hosts:
        stages = ", ".join(_stage_text(stage) for stage in host.stages)
        params, flops = host.base.params.value, host.base.flops.value
        variants = ", ".join(host.variants) or units.DASH
        backbone = host.backbone or units.DASH
        rows.append([host.name, backbone, _input(host), units.count(params), units.count(flops), stages, variants])
        raw.append(
            [host.name, host.title, host.backbone, host.task, host.dataset, _input(host), params, flops, host.lr_pixels]
        )
        raw[-1] += [stages, ", ".join(host.variants)]
    return Table(
        title="Hosts",
        heads=["Name", "Backbone", "Input", "Params", "FLOPs", "Stages", "Variants"],
        rows=rows,
        numeric=[False, False, False, True, True, False, False],
        raw_heads=[
            *("name", "title", "backbone", "task", "dataset", "input", "base_params", "base_flops"),
            *("low_resolution_pixels", "stages", "variants"),
        ],
        raw_rows=raw,
        notes=[
            "Stages: channels x height x width of the low-resolution input, and the size of the result. Input: height x "
            "width. Params, FLOPs: of the whole host with its own upsampling.",
            f"The same stages with another backbone: {', '.join(host.name for host in aliases)}.",
            "`upbench compare ldaaqu dysample --host faster-rcnn-r50` measures the sum over all stages; a variant is "
            "named as faster-rcnn-r50/three-stage, a host of your own by its YAML file.",
        ],
    )


def _stage_name(record: Record) -> str | None:
    name = record.axes.get("stage")
    return None if name is None else str(name)


def _stage_label(record: Record) -> str:
    name = _stage_name(record)
    if name is None:
        return "all"
    shape, batch = record.settings.input.shape, record.settings.input.batch
    return f"{name} ({shape})" if batch == 1 else f"{name} ({batch}x{shape})"


_STAGE = Column("stage", "Stage", _stage_label, units.plain, numeric=False)


def _of_base(column: Column, base: int | None) -> Column:
    """A count as a part of the host's."""

    def share(record: Record) -> float | None:
        value = column.raw(record)
        return None if value is None or base is None else value / base

    return Column(f"{column.key}_of_base", "of base", share, _percent)


def _percent(value: float | None) -> str:
    return units.DASH if value is None else f"+{units.percent(value)}"


def _input(host: Host) -> str:
    return f"{host.input.height}x{host.input.width}" if host.input else units.DASH


def _stage_text(stage: Stage) -> str:
    many = f"{stage.batch}x" if stage.batch > 1 else ""
    return f"{many}{stage.channels}x{stage.height}x{stage.width} to {stage.out_height}x{stage.out_width}"


def _title(totals: Sequence[Record], host: Host) -> str:
    specs = [record.settings for record in totals]
    parts: list[tuple[str, Any]] = [
        ("batch {}", [s.input.batch for s in specs]),
        ("{}", [s.input.dtype for s in specs]),
        ("{}", [s.input.memory_format for s in specs]),
        ("offsets {}", [s.input.offsets for s in specs]),
        ("{}", [WHAT[s.measure.mode] for s in specs]),
        ("compile {}", [s.measure.compile for s in specs]),
        ("runtime {}", [s.measure.runtime for s in specs]),
    ]
    same = [form.format(values[0]) for form, values in parts if len(set(values)) == 1 and values[0] is not None]
    size = f"input {_input(host)} (height x width)"
    if host.input and host.input.padded != (host.input.height, host.input.width):
        size += f", padded to {host.input.padded[0]}x{host.input.padded[1]}"
    many = f"{len(host.stages)} stages" if len(host.stages) > 1 else "1 stage"
    return ", ".join([f"{host.name}: {many}", size if host.input else "no input size given", *same])


def _notes(totals: Sequence[Record], host: Host, convention: str) -> list[str]:
    stages = "; ".join(f"{stage.name} {_stage_text(stage)}" for stage in host.stages)
    under = [f"Stages (channels x height x width): {stages}. One module each; only these are run."]
    base = [text for text in (_base("parameters", host.base.params), _base("FLOPs", host.base.flops)) if text]
    if base:
        known = f"Base, the whole host with its own upsampling: {'; '.join(base)}."
        under.append(f"{known} Percentages are of it, however its figures were counted.")
    if base and host.base.flops.value is None:
        under.append("The FLOPs of the base are not known for this input.")
    under += [f"{text[0].upper()}{text[1:]}." for text in host.notes]
    return [
        *under,
        conventions.describe(convention),
        MEMORY,
        *notes.memory_note(totals),
        *notes.machine(totals),
        *notes.noise_floor(totals),
        *notes.timing(totals),
        *notes.warnings(totals),
    ]


def _base(what: str, figure: BaseFigure) -> str:
    if figure.value is None:
        return ""
    about = [text for text in (figure.printed and f"printed {figure.printed}", figure.how) if text]
    return f"{units.count(figure.value)} {what}" + (f" ({'; '.join(about)})" if about else "")
