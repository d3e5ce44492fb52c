"""What is read of a record that is not simply one of its fields: order statistics of the latency, the total of MACs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from upbench import conventions

if TYPE_CHECKING:
    from upbench.analysis import stats
    from upbench.records.record import Record

_SUMMARIES: dict[Hashable, stats.Summary] = {}
"""What tells samples from others -> their summary: a few numbers are kept of each latency, and never its samples."""


def _summary(samples: Sequence[float], interval: bool) -> stats.Summary:
    from upbench.analysis import stats
    from upbench.records.stored import identity_of

    key = identity_of(samples), interval
    if key not in _SUMMARIES:
        _SUMMARIES[key] = stats.summarise(samples, interval)
    return _SUMMARIES[key]


def latency_summary(record: Record) -> stats.Summary | None:
    """Return order statistics of a record's latency in seconds, with the interval that its measurement allows.

    In a sweep value and interval are those of the ratio to the reference, which times must not contradict; of an upsampler
    that was measured by itself those over the passes of its run; in a comparison those of the samples.

    Args:
        record: The record.

    Returns:
        The statistics; None when the latency was not measured.
    """
    if record.latency is None:
        return None
    passes = record.latency.passes
    found = _summary(record.latency.samples_s, interval=passes is None)
    if passes is not None:
        low, median, high = passes.latency_s
        return replace(found, low=low, median=median, high=high)
    if (samples_of_pass := record.latency.samples_of_pass) is None:
        return found
    from upbench.analysis import conclusions

    run = conclusions.within_run(samples_of_pass)
    if run.low_s is None or run.high_s is None:
        return found
    return replace(found, low=run.low_s, median=run.value_s, high=run.high_s)


def of_latency(statistic: str) -> Callable[[Record], float | None]:
    """Return the reader of one order statistic of the latency, as "median"."""
    return lambda record: getattr(found, statistic) if (found := latency_summary(record)) else None


def half_width(record: Record) -> float | None:
    """Return half the interval of the latency; None for what others are set against: its ratio to itself is no measurement."""
    alone = record.latency and record.latency.passes and not record.latency.passes.has_interval
    return None if alone else of_latency("half_width")(record)


def latency_samples(record: Record) -> Sequence[float] | None:
    """Return the samples of the latency in seconds; None when it was not measured."""
    return record.latency.samples_s if record.latency else None


def total_macs(record: Record) -> int | None:
    """Return the counter's total; where there is none, that of the breakdown, which is the same number."""
    if record.macs is not None:
        return record.macs.total
    return conventions.flops(record.breakdown) if record.breakdown else None
