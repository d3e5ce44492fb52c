"""Percentiles of few samples are unknown; what is said of them under a table, and in a profile."""

from __future__ import annotations

from collections.abc import Sequence

from upbench import units
from upbench.metrics import Metric
from upbench.records.derived import PERCENTILES, least_samples
from upbench.records.record import Record
from upbench.report.tables import facts
from upbench.report.tables.columns import Column


def note(records: Sequence[Record], shown: Sequence[Column]) -> list[str]:
    """Return from how many samples on percentiles are known, where a column shows one that is unknown for want of them.

    Args:
        records: The rows of a table.
        shown: Its columns.
    """
    parts = {c.metric.head: PERCENTILES[c.metric.name] for c in shown if c.metric and c.metric.name in PERCENTILES}
    taken = [found.samples for record in records if (found := facts.timing(record))] if parts else []
    few = {head: least for head, part in parts.items() if min(taken, default=0) < (least := least_samples(part))}
    return [f"{', '.join(f'{head} takes {least}' for head, least in few.items())} samples"] if few and taken else []


def in_words(metric: Metric, record: Record) -> str | None:
    """Return the dash of a percentile in a profile, and how many samples it takes; None where there is nothing to say.

    Args:
        metric: Any quantity.
        record: The record.
    """
    if metric.name not in PERCENTILES or record.latency is None or metric.read(record) is not None:
        return None
    return f"{units.DASH} (takes {least_samples(PERCENTILES[metric.name])} samples)"
