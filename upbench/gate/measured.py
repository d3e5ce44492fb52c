"""What one side of a comparison knows of an upsampler: exact metrics, its output, its latency as a ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upbench import metrics
from upbench.analysis import stats
from upbench.metrics import MACHINE, SOFTWARE
from upbench.records.record import Record, RunSpecData

_WHERE = tuple(dict.fromkeys((*MACHINE, *SOFTWARE)))


@dataclass(frozen=True)
class Measured:
    """exact: by metric, None when unknown. output: digest and statistics of the output, None when not taken.

    reference: identity of the upsampler that `ratio` of latencies was taken to in the same rounds; both None where
    there is none. latency_s: the median, known only from full records. environment: the keys that comparisons need.
    sources: hashes of the files of a user's module, None where they were not taken.
    incomplete: why the MACs are not those of the whole call, where they are not.
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

    @property
    def identity(self) -> str:
        return identity(self.spec)

    @property
    def settings(self) -> str:
        """The identity without the params: with the label, which names those that were chosen, what a user asked for."""
        return identity({**self.spec, "params": {}})


def identity(spec: Mapping[str, Any]) -> str:
    """What makes two records the same cell whatever machine and versions they are of: all that changes a result.

    Left out: device and threads, which the environment tells as they really were, and the budget of sampling.
    """
    whole = RunSpecData.model_validate(dict(spec)).model_dump(mode="json")
    whole["measure"] = {k: v for k, v in whole["measure"].items() if k not in ("device", "threads", "budget")}
    return json.dumps(whole, sort_keys=True)


def from_records(records: Sequence[Record], reference: Record | None = None) -> list[Measured]:
    """Of the records of one comparison, or of a results file (no reference). Records that are not "ok" are left out."""
    found: dict[str, Measured] = {}
    for record in records:
        if record.status != "ok":
            continue
        ratio = None
        if reference is not None and record is not reference and record.latency and reference.latency:
            per_round = reference.latency.samples_per_round
            ratio = stats.paired_ratio(record.latency.samples_s, reference.latency.samples_s, per_round)
        one = Measured(
            label=record.label,
            spec=record.settings.given(),
            environment={key: record.environment.value(key) for key in _WHERE},
            exact={name: metric.read(record) for name, metric in metrics.compared().items()},
            output=record.output.model_dump() if record.output else None,
            reference=identity(reference.settings.given()) if reference is not None and ratio else None,
            ratio=ratio,
            noise_floor=record.noise_floor,
            latency_s=stats.summarise(record.latency.samples_s).median if record.latency else None,
            sources=record.sources,
            incomplete=record.incomplete,
        )
        found[one.identity] = one
    return list(found.values())
