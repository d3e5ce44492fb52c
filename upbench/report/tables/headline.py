"""The sentence above a comparison: which upsampler is how much faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from upbench import units
from upbench.analysis.stats import Verdict
from upbench.records.record import Record
from upbench.report.tables import columns

MOST = 3
"""Up to how many upsamplers besides the reference each has its own clause."""


def comparison(records: Sequence[Record], reference: Record) -> str:
    """Return the sentence of a comparison; empty where nothing was timed, or nothing is compared.

    Args:
        records: One record for each upsampler, timed in the same rounds.
        reference: The record that latencies are divided by.
    """
    others = [r for r in records if r is not reference and r.latency and reference.latency]
    if not others:
        return ""
    if len(others) <= MOST:
        return f"{'; '.join(_clause(record, reference) for record in others)}."
    counts = Counter(columns.verdict(record, reference) for record in others)
    words = (
        (Verdict.FASTER, "faster"),
        (Verdict.SLOWER, "slower"),
        (Verdict.SAME, "the same"),
        (Verdict.UNSURE, "unsure"),
    )
    listed = ", ".join(f"{counts[str(said)]} {word}" for said, word in words if counts[str(said)])
    fastest = min(others, key=lambda record: columns.paired(record, reference).value)
    return f"Of {len(others)} against {reference.label}: {listed}; {_clause(fastest, reference)}."


def _clause(record: Record, reference: Record) -> str:
    """Say what a verdict says, with the factor that a reader can use and its 95 % interval."""
    pair, said = columns.paired(record, reference), columns.verdict(record, reference)
    between = f"{units.factor(pair.low)} to {units.factor(pair.high)}"
    if said == Verdict.FASTER:
        inverse = [1 / part for part in (pair.value, pair.high, pair.low)]
        fast, low, high = map(units.factor, inverse)
        return f"{record.label} is {fast}x ({low} to {high}) as fast as {reference.label}"
    if said == Verdict.SLOWER:
        return f"{record.label} takes {units.factor(pair.value)}x ({between}) the time of {reference.label}"
    if said == Verdict.SAME:
        return f"{record.label} is as fast as {reference.label} ({between} of its time)"
    if not pair.low <= 1 <= pair.high:
        took = f"{units.factor(pair.value)}x ({between}) the time of {reference.label}"
        return f"{record.label} took {took}, in too few rounds or too unsteadily for a verdict"
    return f"{record.label} and {reference.label} are not told apart ({between} of its time)"
