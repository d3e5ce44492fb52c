"""The notes under a table: what was measured, where, how finely, and what to know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from upbench import conventions, units
from upbench.measure import MEASUREMENT_VERSION
from upbench.records.record import Passes, Record, RunSpecData
from upbench.report.formats.table import MORE
from upbench.report.tables import facts, grouping, noise_floors, percentiles
from upbench.report.tables.columns import Column
from upbench.report.tables.pass_levels import passes_of
from upbench.report.tables.result_set import ResultSet

FRESH = "`upbench sweep --fresh` measures all cells in one run."
"""How to have one table of cells that a later run added."""


def notes(results: ResultSet, shown: Sequence[Column], emphasised: bool, published: bool = True) -> list[str]:
    """Return the notes under a table of several cells, as far as they are about the columns that are shown.

    Args:
        results: The cells.
        shown: The columns of the table.
        emphasised: Whether the best values of a column are marked.
        published: Whether to say what of the published tables was left out.
    """
    rows, keys = results.rows, {c.key for c in shown}
    sentences = [*results.too_busy, *(f"{text}." for text in in_model(rows)), condition(rows)]
    if emphasised:
        sentences.append(marks(results, shown))
    if results.base is not None:
        sentences.append(f"{signed(results, shown)}.")
    if any(c.metric and c.metric.name.startswith(("params", "macs")) for c in shown):
        sentences.append(conventions.describe(results.convention))
    if any(key.endswith("peak_bytes") or key == "workspace_bytes" for key in keys):
        sentences += memory_note(rows)
    sentences += machine([r for r in rows if r.status != "impossible"] or rows)
    later = any(grouping.series(record) for record in rows)
    if (
        len({grouping.machine_key(r, results.axes)[:-1] for r in rows if r.status != "impossible"}) > 1
        and len(results.groups) > 1
    ):
        sentences.append(
            "Rows stand in groups because the machine, the versions or the allocator differ; times and ratios of two groups "
            "do not compare, what is counted does."
        )
    if later:
        sentences.append(
            "Rows that a later run added stand in a group of their own. Their ratios are to the same row, timed again beside "
            "them; but cells of the first group that it timed again had other ratios than before, by more than the "
            "resolution. So times and ratios of two groups do not compare, what is counted does; " + FRESH
        )
    if len(grouping.measurement_versions(rows)) > 1:
        sentences.append(
            "Their measurement versions differ: version 1 timed cells one after another by wall time; since 2, sweeps time "
            "them side by side in passes. There is no verdict across versions."
        )
    sentences += older_way(rows)
    if any(key.startswith("latency") or key in ("efficiency", "host_s", "graph_s") for key in keys):
        sentences += [f"{text}." for text in percentiles.note(rows, shown)]
        sentences += [*samples(rows), *close_calls(results), *noise_floor(rows, "efficiency" in keys), *timing(rows)]
    else:
        sentences += noise_floor(rows, efficiency=False)
    left_out = [note for table in results.published for note in table.notes] if published else []
    return [*sentences, *left_out, *warnings(rows)]


def marks(results: ResultSet, shown: Sequence[Column]) -> str:
    """Return what bold and underlined cells are, which are several where values are equal or are not told apart."""
    among = " among rows of equal work (shape, scale, batch, mode, offsets)" if len(results.works) > 1 else ""
    alike = "equal to it or, of times, not told from it" if any(c.timed for c in shown) else "equal to it"
    return f"Best of a column in bold, second best underlined{among}, each with what is {alike}."


def signed(results: ResultSet, shown: Sequence[Column]) -> str:
    """Return what a sign means in a table of differences, and what the ratios are to, where that is another row."""
    said = f"With a sign: the difference to the row with {results.base}"
    if any(c.key == "latency_ratio" for c in shown) and results.ratios_beside_base:
        said += "; ratios are to the row marked as reference, not to that one"
    return said


def urgent(results: ResultSet, shown: Sequence[Column]) -> list[str]:
    """Return what must be said even where little is: that the fastest is not the only one, or that groups do not compare."""
    found = [note for table in results.published for note in table.notes if note.startswith("Warning")]
    if len(results.groups) > 1:
        fresh = f"; {FRESH}" if any(grouping.series(record) for record in results.rows) else "."
        found.append(f"Times and ratios of two groups do not compare{fresh}")
    if any(c.timed for c in shown) and not found and len(calls := close_calls(results)) == 1:
        found += [call for call in calls if len(call) < 70]
    return [*(note.partition(":")[0] for note in older_way(results.rows)), *found]


def brief(
    records: Sequence[Record],
    shown: Sequence[Column],
    convention: str = conventions.DEFAULT,
    urgent: Sequence[str] = (),
    busy: Sequence[str] = (),
    signed: str = "",
) -> list[str]:
    """Return the three lines under a table that say least that one must know: where, what is counted, what to look at.

    Where the machine was too busy to decide anything, that comes first, and the first two of the others share a line.

    Args:
        records: The records of the table.
        shown: The columns of the table.
        convention: How parameters and MACs are counted.
        urgent: Sentences that take the place of the number of warnings.
        busy: The sentence that the machine was too busy, where it was.
        signed: What a sign means, in a table of differences; it stands before the others of its line.
    """
    measured = [r for r in records if r.status != "impossible"] or list(records)
    places = list(dict.fromkeys(_place(r) for r in measured if r.environment.device is not None))
    timed = any(map(facts.timing, records))
    noise = noise_floors.in_short(records) if timed else []
    one = "1 other machine or version"
    others = [one if len(places) == 2 else f"{len(places) - 1} other machines or versions"] if len(places) > 1 else []
    where = [f"{'; '.join([*in_model(records), *places[:1], *others, *noise])}."] if places or noise else []
    sentences = []
    flops, params = conventions.parse(convention)
    if any(c.metric and c.metric.name.startswith("macs") for c in shown):
        sentences.append(
            "1 FLOP: one multiply-accumulate" + (f" ({flops}, {params})" if convention != conventions.DEFAULT else "")
        )
    if any(c.metric and c.metric.name.endswith("peak-memory") for c in shown):
        sentences.append("memory: peak beyond inputs and weights")
    sentences += percentiles.note(measured, shown)
    meaning = "; ".join([*([signed] if signed else []), *sentences])
    said = {(warning, r.label) for r in records for warning in facts.warnings(r)}
    warned = {label for _, label in said}
    number = len({warning for warning, _ in said})
    found = (
        [f"{number} warnings ({name_some(sorted(warned), 0, 2)})" if number > 1 else f"1 warning ({min(warned)})"]
        if number
        else []
    )
    last = [sentence.rstrip(".") for sentence in urgent] or found
    first = [*where, *([f"{meaning[0].upper()}{meaning[1:]}."] if meaning else [])]
    if timed and busy:
        first = [*busy, *([" ".join(first)] if first else [])]
    return [*first, f"{'; '.join([*last, MORE])}."]


def in_model(records: Sequence[Record]) -> list[str]:
    """Return which whole models the records are of; nothing for records of upsamplers alone."""
    named = dict.fromkeys(model for r in records if (model := facts.model(r)) is not None)
    return [f"All of {', '.join(named)}"] if named else []


def _place(record: Record) -> str:
    env = record.environment
    threads = f", {units.number_of(env.threads, 'thread')}" if env.device_type == "cpu" else ""
    return f"{env.device}{threads}, torch {env.torch}, upbench {env.upbench}"


def older_way(records: Sequence[Record]) -> list[str]:
    """Return a note where all that was timed was timed in an older way than a sweep of this version does."""
    versions = {r.environment.measurement_version for r in records if r.status == "ok"}
    if len(versions) != 1 or (version := versions.pop()) is None or version >= MEASUREMENT_VERSION:
        return []
    if not any((timed := facts.timing(r)) and not timed.in_passes for r in records):
        return []
    return [
        f"Timed in an older way (measurement version {version}, now {MEASUREMENT_VERSION}): cell after cell, by wall time, with "
        "malloc as it came; `upbench sweep` measures the cells again."
    ]


def close_calls(results: ResultSet) -> list[str]:
    """Return which cells are not told apart from the fastest of their work: the order among them may be chance."""
    return [
        f"Latency: {grouping.cell_name(best)} is not told apart from {name_some([grouping.cell_name(r) for r in close], others)} "
        "(verdict SAME or UNSURE)."
        for best, close, others in results.fastest
        if close
    ]


def condition(records: Sequence[Record]) -> str:
    """Return what was measured, as far as all records agree, as 'shape 256x120x120, x2, batch 1'."""
    return _agreed(facts.condition(records[0]), map(facts.condition, records))


def size(records: Sequence[Record]) -> str:
    """Return at what size records were measured, as far as all agree, as 'shape 256x120x120, x2, batch 1'; '' of none."""
    named = [facts.condition(record)[:3] for record in records if record.status != "impossible"]
    return _agreed(named[0], named) if named else ""


def condition_of(spec: Mapping[str, Any]) -> str:
    """Return what a spec says of what is measured, as `condition` does for records."""
    return _agreed(facts.condition_of(RunSpecData.model_validate(dict(spec))), [])


def _agreed(first: Sequence[str | None], others: Iterable[Sequence[str | None]]) -> str:
    """Return those parts of a condition in which all others are as the first."""
    found = list(first)
    for other in others:
        found = [part if part == its else None for part, its in zip(found, other, strict=True)]
    return ", ".join(part for part in found if part is not None)


def memory_note(records: Sequence[Record]) -> list[str]:
    """Return a note for each method by which peak memory was measured."""
    methods = {method for r in records if (method := facts.memory_method(r)) is not None}
    return [f"Peak memory: beyond inputs and weights, output included; {method}." for method in sorted(methods)]


def machine(records: Sequence[Record]) -> list[str]:
    """Return a note for each machine and each set of versions."""
    sentences: dict[str, None] = {}
    for record in records:
        env = record.environment
        if env.device is None:  # a cell that is impossible on any machine
            continue
        threads = f", {units.number_of(env.threads, 'thread')}" if env.device_type == "cpu" else ""
        versions = f"upbench {env.upbench}{grouping.kernels_text(env.kernels)}"
        sentences[f"Measured on {env.device}{threads}; torch {env.torch}, {versions}."] = None
    return list(sentences)


def samples(records: Sequence[Record]) -> list[str]:
    """Return how many samples are behind each latency; nothing where none was timed."""
    timed = [found for r in records if (found := facts.timing(r))]
    numbers = [one.samples for one in timed]
    if not numbers:
        return []
    if first := next((p for r in records if facts.in_passes(r) and (p := passes_of(r))), None):
        return [_of_passes(timed, first)]
    many = f"{min(numbers)} to {max(numbers)}" if min(numbers) < max(numbers) else f"{min(numbers)}"
    if all(one.of_run for one in timed):
        return [f"Latency: over the passes of a run, {many} samples a cell; +-: half the 95 % interval within the run."]
    return [f"Latency: the median of {many} samples a cell; +-: half its 95 % bootstrap interval."]


def _of_passes(timed: Sequence[facts.Timing], first: Passes) -> str:
    """How the latencies of a sweep came about, and what the reference took from pass to pass."""
    passes = [one for one in timed if one.passes is not None]
    counts = [one.passes for one in passes if one.passes is not None]
    least = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{min(counts)}"
    unfinished = min(counts) < first.planned and any(one.interrupted for one in timed)
    many = f"{least} of {first.planned} passes, unfinished" if unfinished else f"{least} passes"
    middle, low, high = map(units.seconds, (first.reference_s, first.reference_low_s, first.reference_high_s))
    clock = "the thread's CPU time" if all(one.pass_clock == "cpu" for one in passes) else "wall time"
    return (
        f"Latency: ratio to the reference over {many}, times its median of {middle} ({low} to {high} "
        f"between passes); +-: half the 95 % interval of the ratio; {clock}, memory {first.allocator}."
    )


def timing(records: Sequence[Record]) -> list[str]:
    """Return what is unusual in how calls on a CPU were timed: wall time, and malloc that is not pinned."""
    known = ((r, facts.timing(r)) for r in records)
    timed = [one for r, one in known if one and not one.in_passes and r.environment.device_type == "cpu"]
    found = []
    if reasons := list(dict.fromkeys(one.clock_reason for one in timed if one.clock_reason)):
        found.append(f"Timed by wall time, in which the load of the machine is: {'; '.join(reasons)}.")
    if any(one.allocator == "unpinned" for one in timed):
        found.append(
            "Memory unpinned: times hold what earlier calls left in malloc, and are not compared with those of pinned memory."
        )
    return found


def noise_floor(records: Sequence[Record], efficiency: bool = True) -> list[str]:
    """Return what differences the machine could tell from none, and what its efficiency is measured against.

    Args:
        records: The records of the table.
        efficiency: Whether the table shows efficiency.
    """
    found = [r.noise_floor for r in records if r.noise_floor is not None]
    calibrate = "`upbench env --calibrate` measures it"
    if found:
        wide = f" {noise_floors.too_wide(max(found))}"
        notes = [
            f"Noise floor (A/A): {units.percent(max(found))}; an upsampler compared with itself showed as much.{wide.rstrip()}"
        ]
    else:
        notes = [f"Noise floor (A/A) of this machine: unknown; {calibrate}."]
    if not efficiency:
        return notes
    if any(map(facts.has_roofline, records)):
        notes.append("Effic.: least time at this machine's measured bandwidth and arithmetic / measured time.")
    elif all((timed := facts.timing(r)) is None or timed.mode == "inference" for r in records):
        notes.append(f"Efficiency: unknown without this machine's ceilings; {calibrate}.")
    return notes


def warnings(records: Sequence[Record]) -> list[str]:
    """Return the warnings of the records, each once with the cells that it is about."""
    by_text: dict[str, list[str]] = {}
    for record in records:
        for warning in facts.warnings(record):
            by_text.setdefault(warning, []).append(grouping.cell_name(record))
    measured = sum(r.status == "ok" for r in records)
    return [f"Warning ({name_some(cells, measured)}): {text}." for text, cells in by_text.items()]


def name_some(cells: Sequence[str], of: int, most: int = 6, kind: str = "cells") -> str:
    """Return the names of cells; where they are many, the first of them and how many more.

    Args:
        cells: The names.
        of: How many cells there are; all of them are named by their number.
        most: The most names to be written out.
        kind: What they are, in the plural.
    """
    if len(cells) == of and of > most:
        return f"all {of} {kind}"
    if len(cells) <= most:
        return "; ".join(cells)
    return f"{'; '.join(cells[: most - 1])} and {len(cells) - most + 1} others"
