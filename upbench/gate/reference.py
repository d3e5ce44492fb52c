"""The latency of a comparison's reference, which has no ratio of its own: it is judged by what is unchanged beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from upbench.analysis.stats import Ratio
from upbench.gate.measured import Measured
from upbench.gate.outcome import Finding, Result
from upbench.user_code import source_files

Pair = tuple[Measured, Measured]
"""One upsampler on the old and on the new side."""
Judge = Callable[[Measured, Measured], Finding | None]


def judged(findings: Sequence[Finding], pairs: Sequence[Pair], gate: str, judge: Judge) -> list[Finding]:
    """Add what became of the reference's time, where the reference is a module of the user's.

    Ratios are to the first upsampler, so that one which became slower shows in those of the others alone, as if they had
    become faster. What is unchanged beside it (built in, or with the code that it had) is taken as its measure.

    Args:
        findings: What was found of all of them.
        pairs: The upsamplers that both sides have.
        gate: Name of the gate of latency.
        judge: Judges the latency of one of them by the ratios of both sides.

    Returns:
        The findings. Where the reference's code changed, those on the time of what is unchanged are left out.
    """
    reference = next((pair for pair in pairs if _is_reference(pair[1], pairs)), None)
    if reference is None:
        return list(findings)
    before, after = reference
    own = [f for f in findings if f.gate == gate and f.upsampler == after.label]
    findings = [f for f in findings if f not in own]
    changed = source_files.changed(before.sources, after.sources)
    for one, other in pairs:
        if other is after or source_files.changed(one.sources, other.sources):
            continue
        ratios = _ratio(before, one), _ratio(after, other)
        if None in ratios:
            continue
        sides = [replace(m, ratio=r, reference=other.identity) for m, r in zip(reference, ratios, strict=True)]
        found = judge(*sides)
        if found is None:
            continue
        kept = [f for f in findings if not (changed and f.gate == gate and _is_unchanged(f.upsampler, pairs))]
        return [*kept, replace(found, sentence=found.sentence.replace("of the reference", f"of {other.label}"))]
    if any(f.sentence.startswith("not compared") for f in own):  # of another machine, say
        return [*findings, *own]
    sentence = (
        "is not judged: times are ratios to the first upsampler, which this is, and nothing unchanged stands beside it; "
        f"name another first in both runs, as `compare bilinear {after.label}`, or use --against GIT_REF"
    )
    return [*findings, Finding(gate, after.label, Result.unsure if changed else Result.note, sentence)]


def alone(measured: Sequence[Measured], baseline: str) -> str | None:
    """Return what to do where what was timed is one module of the user's own alone, whose times no gate can judge later.

    Args:
        measured: What is in the baseline.
        baseline: Its file.
    """
    if len(measured) != 1 or measured[0].clock is None or measured[0].sources is None:
        return None
    return (
        f"no gate can judge the latency of {measured[0].label} by {baseline}: times are ratios to the first upsampler, which it is; "
        f"name another first, as `compare bilinear {measured[0].label} --save {baseline}`"
    )


def _is_reference(one: Measured, pairs: Sequence[Pair]) -> bool:
    """Whether it was timed without a ratio, and is the user's."""
    others = [new for _, new in pairs if new is not one]
    timed = one.clock is not None and one.ratio is None and one.sources is not None
    return timed and all(new.ratio is None or new.reference == one.identity for new in others)


def _is_unchanged(label: str, pairs: Sequence[Pair]) -> bool:
    return any(new.label == label and not source_files.changed(old.sources, new.sources) for old, new in pairs)


def _ratio(of: Measured, to: Measured) -> Ratio | None:
    """The ratio of two upsamplers of one side, of which one is the reference of the other."""
    if of.ratio is not None and of.reference == to.identity:
        return of.ratio
    if to.ratio is None or to.reference != of.identity:
        return None
    return Ratio(1 / to.ratio.value, 1 / to.ratio.high, 1 / to.ratio.low, to.ratio.rounds)
