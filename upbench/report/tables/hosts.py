"""Tables of hosts: what upsamplers cost in one of them, and which hosts there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from upbench import conventions, metrics, units
from upbench.papers import BaseFigure, Host, Stage
from upbench.records.record import Record
from upbench.report.formats.table import Table
from upbench.report.tables import column_choice, columns, headline, notes, origins
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
    wanted: str | None = None,
) -> Table:
    """Return what each upsampler adds to a host: a row for all stages together, and one for each stage that is to be shown.

    Args:
        totals: One record of all stages for each upsampler.
        stages: For each upsampler the records of the stages to be shown, or none.
        host: The host.
        reference: The index of the upsampler that latencies are divided by.
        convention: How parameters and MACs are counted.
        wanted: The names of columns, separated by commas; None for those of a paper, without a latency the sums with the host.
    """
    params, flops = (columns.of(metrics.under(convention)[name]) for name in ("params", "macs"))
    base = {params.key: host.base.params.value, flops.key: host.base.flops.value}
    shown = [columns.LABEL, *([_STAGE] if any(stages) else [])]
    own = column_choice.compared(wanted, totals, totals[reference], convention)
    shown += _beside_base(own, base, totals[reference].latency is not None, wanted is not None)
    always = [
        one for c in columns.costs(convention) for one in (c, *([_of_base(c, base[c.key])] if c.key in base else []))
    ]
    latency = [*columns.ratio_to(totals[reference])]
    details = columns.accuracy_details(totals)
    more = columns.each_once(
        [c for c in (*shown, *details, *always, *columns.raw_only()) if c is not columns.ALL_PARAMS]
    )
    more = [c for c in more if c.key not in {one.key for one in latency}]
    rows, raw, shown_records = [], [], list[Record]()
    if base[params.key] is not None or base[flops.key] is not None:
        first = {columns.LABEL.key: "base", **{c.key: c.text(base[c.key]) for c in (params, flops)}}
        rows.append([first.get(c.key, units.DASH) for c in shown])
    first_row = len(rows)
    for n, total in enumerate(totals):
        for stage_index, record in enumerate((total, *stages[n])):
            base_record = (totals[reference], *stages[reference])[stage_index]
            shown_records.append(record)
            rows.append([_against(c, base_record).cell(record) for c in shown])
            pair = [c.raw(record) for c in columns.ratio_to(base_record)]
            of_host = [host.name, _input(host), _stage_name(record), *base.values()]
            raw.append([*pair, *of_host, *(c.raw(record) for c in more)])
    footnotes = Footnotes()
    for m, column_index, text in origins.footnotes(shown, shown_records):
        footnotes.add(m if m == origins.HEAD else m + first_row, column_index, text)
    heads = ["host", "host_input", "stage_name", "base_params", "base_flops"]
    return Table(
        title=_title(totals, host),
        heads=[origins.title(c, totals) for c in shown],
        rows=rows,
        numeric=[c.numeric for c in shown],
        raw_heads=[*(c.key for c in latency), *heads, *(c.key for c in more)],
        raw_rows=raw,
        notes=_notes(totals, host, convention),
        refs=footnotes.refs,
        footnotes=footnotes.texts,
        brief=_brief(totals, shown, host, convention),
        headline=headline.comparison(totals, totals[reference]),
        lead=2 if any(stages) else 1,
        names=[c.name for c in shown],
    )


def _beside_base(own: Sequence[Column], base: Mapping[str, int | None], timed: bool, named: bool) -> Iterator[Column]:
    """The columns of a comparison, with parts of the host's counts; where nothing was timed and none was named, its sums."""
    for column in own:
        known, sums = base.get(column.key), not timed and not named
        if sums and column.key in base:
            yield column if known is None else _with_base(column, known)
        elif not sums:
            yield column
            if column.key in base and (known is not None or named):
                yield _of_base(column, known)


def _against(column: Column, reference: Record) -> Column:
    """A column of ratios, with those of a stage taken to the reference in that stage."""
    ratio, _, _, verdict = columns.ratio_to(reference)
    if column.key == verdict.key:
        return verdict
    if column.key != ratio.key:
        return column
    return columns.judged_ratio(reference) if column.judged else ratio


def _with_base(column: Column, base: int) -> Column:
    """A count as a paper prints it: the host's, the upsampler's and their sum."""

    def shown(record: Record) -> str:
        value = column.raw(record)
        return units.DASH if value is None else units.sum_of(base, value)

    return replace(column, shown=shown)


def _brief(totals: Sequence[Record], shown: Sequence[Column], host: Host, convention: str) -> list[str]:
    """Three lines: what the base is, and what every comparison says."""
    known = [text for text in (host.base.params.printed, host.base.flops.printed) if text]
    words = f"Base: {host.title}" + (f", printed {', '.join(known)}" if known else "")
    where, *rest = notes.brief(totals, shown, convention)
    return [f"{words}.", where, rest[-1]] if rest else [f"{words}.", where]


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
        brief=[
            "Stages: channels x height x width, low resolution to result. Params, FLOPs: the whole host.",
            f"The same stages: {', '.join(host.name for host in aliases)}.",
            "`upbench compare ldaaqu dysample --host faster-rcnn-r50/three-stage` measures one.",
        ],
        lead=1,
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
