"""What one side of a comparison knows of an upsampler: exact metrics, its output, its latency as a ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upbench import metrics
from upbench.analysis import rounds, stats
from upbench.metrics import MACHINE, SOFTWARE
from upbench.records.record import Record, RunSpecData

_WHERE = tuple(dict.fromkeys((*MACHINE, *SOFTWARE)))


@dataclass(frozen=True)
class Measured:
    """What one side of a comparison knows of one upsampler.

    Args:
        label: Label of the upsampler.
        spec: The spec that was measured.
        environment: Machine and software, as far as comparisons need them.
        exact: Counts and bytes by name of the metric; None when unknown.
        output: Digest and statistics of the output; None when they were not taken.
        reference: Identity of the upsampler that `ratio` was taken to in the same rounds; None where there is none.
        ratio: Latency over that of the reference; None where there is none.
        noise_floor: Smallest difference of latency, as a part of 1, that the machine could tell from none.
        latency_s: Median latency in seconds, known only from full records.
        sources: Path -> hash of the files of a user's module; None where they were not taken.
        incomplete: Why the MACs are not those of the whole call; None where they are.
        over_passes: Whether `ratio` is over the passes of a sweep, and not over the rounds of a comparison.
        allocator: What malloc did while it was timed; None where it is not known.
        clock: Name of the clock; None where it is not known.
    """

    label: str
    spec: Mapping[str, Any]
    environment: Mapping[str, Any]
    exact: Mapping[str, int | None]
    output: Mapping[str, Any] | None = None
    reference: str | None = None
    ratio: stats.Ratio | None = None
    noise_floor: float | None = None
    latency_s: float | None = None
    sources: Mapping[str, str] | None = None
    incomplete: str | None = None
    over_passes: bool = False
    allocator: str | None = None
    clock: str | None = None

    @property
    def identity(self) -> str:
        """The identity of its spec, see `identity`."""
        return identity(self.spec)

    @property
    def settings(self) -> str:
        """The identity without params; with the label, which names the params that were set, it says what a user wrote."""
        return identity({**self.spec, "params": {}})


def identity(spec: Mapping[str, Any]) -> str:
    """Return what makes two records the same cell on any machine: the part of a spec that changes a result, as JSON.

    Device and threads are left out, since the environment holds their actual values, and the time budget of sampling.
    """
    whole = RunSpecData.model_validate(dict(spec)).model_dump(mode="json")
    whole["measure"] = {k: v for k, v in whole["measure"].items() if k not in ("device", "threads", "budget")}
    return json.dumps(whole, sort_keys=True)


def from_records(records: Sequence[Record], reference: Record | None = None) -> list[Measured]:
    """Take what comparisons need from the records of one comparison or results file; those that are not "ok" are left out.

    Args:
        records: The records.
        reference: The record that latency ratios are taken to; None in a results file.
    """
    by_identity: dict[str, Measured] = {}
    for record in records:
        if record.status != "ok":
            continue
        ratio, beside = None, None
        if reference is not None and record is not reference and record.latency and reference.latency:
            per_round = reference.latency.samples_per_round
            ratio = rounds.paired(record.latency.samples_s, reference.latency.samples_s, per_round)
            beside = identity(reference.settings.given())
        elif passed := _of_passes(record):
            ratio, beside = passed
        measured = Measured(
            label=record.label,
            spec=record.settings.given(),
            environment={key: record.environment.value(key) for key in _WHERE},
            exact={name: metric.read(record) for name, metric in metrics.compared().items()},
            output=record.output.model_dump() if record.output else None,
            reference=beside,
            ratio=ratio,
            noise_floor=record.noise_floor,
            latency_s=summary.median if (summary := metrics.latency_summary(record)) else None,
            sources=record.sources,
            incomplete=record.incomplete,
            over_passes=bool(record.latency and record.latency.passes),
            allocator=record.latency.memory_kept if record.latency else None,
            clock=record.latency.clock if record.latency else None,
        )
        by_identity[measured.identity] = measured
    return list(by_identity.values())


def _of_passes(record: Record) -> tuple[stats.Ratio, str] | None:
    """Return a cell's ratio to the reference of its sweep, and that reference; None without an interval over passes."""
    passes = record.latency.passes if record.latency else None
    if passes is None or passes.ratio is None or passes.ratio.low is None or passes.ratio.high is None:
        return None
    ratio = stats.Ratio(passes.ratio.value, passes.ratio.low, passes.ratio.high, len(passes.numbers))
    return ratio, " ".join(passes.reference)
