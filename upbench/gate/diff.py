"""Two sides of a change: exact metrics compared exactly, latency only where two runs can be compared at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from upbench import metrics, units
from upbench.analysis import passes, rounds, stats
from upbench.gate import reference
from upbench.gate.measured import Measured
from upbench.gate.outcome import Finding, Result
from upbench.metrics import METRICS, Metric
from upbench.user_code import source_files

DIGEST = "output-digest"
"""Name of the metric that is the hash of the output."""
MIN_ROUNDS = 10
"""Rounds that each of two separate runs must have before a slowdown between them fails."""


@dataclass(frozen=True)
class Rules:
    """How two sides of a change are compared.

    Args:
        gate: The word that names these gates, as "baseline", "diff" or "against".
        old: Name of the old side in sentences.
        new: Name of the new side in sentences.
        tolerance: By name of a metric, the part of the old value that it may grow by; None where it is not compared.
        threshold: Slowdown, as a part of 1, that fails.
        interval_threshold: Slowdown, as a part of 1, that the whole interval must exceed to fail.
    """

    gate: str
    old: str
    new: str
    tolerance: Mapping[str, Fraction | None] = field(default_factory=dict)
    threshold: float = 0.05
    interval_threshold: float = 0.02


def compare(old: Sequence[Measured], new: Sequence[Measured], rules: Rules) -> list[Finding]:
    """Compare every upsampler of the new side with its counterpart on the old side.

    Counterparts have the same spec. What is left is matched by label and settings, since the code may give params other
    defaults than before.

    Args:
        old: The upsamplers of the old side.
        new: The upsamplers of the new side.
        rules: Tolerances, thresholds, and the names of the sides.

    Returns:
        Findings on everything of the new side, and a note on each upsampler that only the old side has.
    """
    before = {m.identity: m for m in old}
    matches = {after.identity: before.pop(after.identity, None) for after in new}
    findings: list[Finding] = []
    pairs: list[tuple[Measured, Measured]] = []
    for after in new:
        match = matches[after.identity]
        if match is None:
            named = [m for m in before.values() if m.label == after.label]
            match = next((m for m in named if m.settings == after.settings), None)
            if match is None:
                other = (
                    f" with the same settings ({_changed(json.loads(named[0].settings), json.loads(after.settings), rules)})"
                    if named
                    else ""
                )
                sentence = f"is not in {rules.old}{other}; nothing to compare it with"
                findings.append(Finding(rules.gate, after.label, Result.unsure, sentence))
                continue
            del before[match.identity]
            differences = _changed(match.spec.get("params", {}), after.spec.get("params", {}), rules)
            findings.append(Finding(rules.gate, after.label, Result.note, f"its defaults are others: {differences}"))
        findings += pair(match, after, rules)
        pairs.append((match, after))
    if rules.gate == "baseline":
        findings = reference.judged(findings, pairs, "baseline latency", lambda one, other: _latency(one, other, rules))
    findings += [
        Finding(rules.gate, left.label, Result.note, f"is in {rules.old}, but not in {rules.new}")
        for left in before.values()
    ]
    return findings


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], rules: Rules) -> str:
    """List what differs between two mappings, as "theta 11 in OLD, 9 in NEW"; inner mappings are laid flat."""
    before, after = ({**side, **side.get("input", {}), **side.get("measure", {})} for side in (old, new))
    return "; ".join(
        f"{key} {before.get(key, 'absent')} in {rules.old}, {after.get(key, 'absent')} in {rules.new}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key) and key not in ("input", "measure")
    )


def pair(old: Measured, new: Measured, rules: Rules) -> list[Finding]:
    """Compare one upsampler on both sides: its code, exact metrics, output and latency.

    Args:
        old: The side that is the base.
        new: The side that is judged.
        rules: The tolerances.

    Returns:
        What differs, without entries for what is not compared.
    """
    findings = [_code(old, new, rules)]
    findings += [exact(metric, old, new, rules) for metric in metrics.compared().values()]
    findings += [_digest(old, new, rules)]
    if old.ratio or new.ratio or old.latency_s or new.latency_s:
        findings += [_latency(old, new, rules)]
    return [f for f in findings if f is not None]


def _code(old: Measured, new: Measured, rules: Rules) -> Finding | None:
    """A word on a module that was edited: edited code is what a baseline is there to judge."""
    files = source_files.changed(old.sources, new.sources)
    sentence = f"{', '.join(files)} changed since {rules.old}"
    return Finding(f"{rules.gate} code", new.label, Result.note, sentence) if files else None


def exact(metric: Metric, old: Measured, new: Measured, rules: Rules) -> Finding | None:
    """Compare an exact metric: any growth beyond its tolerance fails.

    Args:
        metric: The metric.
        old: The old side.
        new: The new side.
        rules: Tolerances, and the names of the sides.

    Returns:
        The finding; None where neither side knows the metric.
    """
    gate = f"{rules.gate} {metric.name}"
    if metric.name not in old.exact:
        return Finding(gate, new.label, Result.note, f"not compared: {rules.old} was written without it")
    before, after = old.exact[metric.name], new.exact.get(metric.name)
    tolerance = rules.tolerance.get(metric.name, Fraction(0))
    incomplete = new.incomplete if metric.name.startswith("macs") else None
    if before is None and after is None and not incomplete:
        return None
    if tolerance is None:
        return Finding(gate, new.label, Result.note, "not compared; its tolerance is off", after, before)
    if incomplete:
        sentence = f"{incomplete}; nothing can be said of a change, and --tolerance {metric.name}=off leaves it out"
        return Finding(gate, new.label, Result.failed, sentence, after, before)
    if before is None or after is None:
        side = rules.old if before is None else rules.new
        return Finding(gate, new.label, Result.unsure, f"is not known in {side}", after, before)
    if why := _apart(metric, old, new, rules):
        return Finding(gate, new.label, Result.note, f"not compared: {why}", after, before)
    shown, was = metric.unit.in_full(after), metric.unit.in_full(before)
    slack = f" (tolerance {float(100 * tolerance):g} %)" if tolerance else ""
    if after == before:
        return Finding(gate, new.label, Result.passed, f"{shown}, as in {rules.old}; exact", after, before)
    part = f", {units.percent(abs(after - before) / before)}" if before else ""
    change = f"by {metric.unit.in_full(abs(after - before))}{part}"
    sentence = f"{shown} {'<' if after < before else '>'} {was} of {rules.old} ({change}){slack}; exact"
    result = Result.failed if after > before * (1 + tolerance) else Result.passed
    return Finding(gate, new.label, result, sentence, after, before)


def _digest(old: Measured, new: Measured, rules: Rules) -> Finding | None:
    gate = f"{rules.gate} {DIGEST}"
    if old.output is None or new.output is None:
        return None
    before, after = old.output["digest"], new.output["digest"]
    if rules.tolerance.get(DIGEST, Fraction(0)) is None:
        return Finding(gate, new.label, Result.note, "not compared; its tolerance is off", after, before)
    if before == after:
        return Finding(gate, new.label, Result.passed, f"bit for bit as in {rules.old}", after, before)
    if before is None or after is None:
        side = rules.old if before is None else rules.new
        return Finding(
            gate, new.label, Result.note, f"not compared: the output does not repeat in {side}", after, before
        )
    statistics = _statistics(old.output, new.output, rules)
    if why := _apart(METRICS[DIGEST], old, new, rules):
        return Finding(gate, new.label, Result.note, f"not compared: {why}; {statistics}", after, before)
    sentence = f"the output is not that of {rules.old}, bit for bit; {statistics}"
    return Finding(gate, new.label, Result.failed, sentence, after, before)


def _statistics(old: Mapping[str, Any], new: Mapping[str, Any], rules: Rules) -> str:
    """Say whether rounding explains another digest, from mean and extremes relative to the standard deviation of the output."""
    if old["std"] is None or new["std"] is None:
        return "it has no statistics (no values, or some that are not finite)"
    spread = max(float(old["std"]), 1e-30)
    apart = max(abs(float(new[k]) - float(old[k])) for k in ("mean", "std", "lowest", "highest")) / spread
    if apart < 1e-4:
        return (
            f"its mean, spread and extremes agree to {apart:.1g} of the spread, as rounding would leave them "
            f"(--tolerance {DIGEST}=off accepts that)"
        )
    return f"its mean, spread and extremes differ by up to {apart:.2g} of the spread, which is no rounding"


def _latency(old: Measured, new: Measured, rules: Rules) -> Finding | None:
    gate = f"{rules.gate} latency"
    if (old.ratio is None and old.latency_s is None) or (new.ratio is None and new.latency_s is None):
        return None
    if why := _apart(METRICS["latency"], old, new, rules):
        return Finding(gate, new.label, Result.note, f"not compared: {why}; --against GIT_REF compares on one machine")
    if why := _timed_apart(old, new, rules):
        # A module that waits now is timed by the wall: that is a change of the code, and may be the slowdown.
        unsure = rules.gate == "baseline" and new.sources is not None and old.clock != new.clock
        sentence = f"not compared: {why}" + ("; --against GIT_REF decides" if unsure else "")
        return Finding(gate, new.label, Result.unsure if unsure else Result.note, sentence)
    if old.ratio is None or new.ratio is None or old.reference != new.reference:
        if old.reference != new.reference:
            return Finding(
                gate, new.label, Result.note, "not compared: the two were not measured beside the same reference"
            )
        if old.latency_s and new.latency_s:
            times = f"{units.seconds(old.latency_s)} in {rules.old}, {units.seconds(new.latency_s)} in {rules.new}"
            change = units.ratio(new.latency_s / old.latency_s)
            sentence = f"not judged: {times} ({change}), but from two runs without a common reference"
            return Finding(gate, new.label, Result.note, sentence, new.latency_s, old.latency_s)
        return None
    change_ratio = stats.Ratio(
        new.ratio.value / old.ratio.value,
        new.ratio.low / old.ratio.high,
        new.ratio.high / old.ratio.low,
        min(new.ratio.rounds, old.ratio.rounds),
    )
    then = f"{units.ratio(new.ratio.value)} of the reference, {units.ratio(old.ratio.value)} in {rules.old}"
    noise_floor = max(old.noise_floor or 0.0, new.noise_floor or 0.0)
    finding = latency(gate, new.label, change_ratio, noise_floor, rules, then, new.over_passes and old.over_passes)
    least = passes.ENOUGH_PASSES if new.over_passes and old.over_passes else MIN_ROUNDS
    if finding.result is Result.failed and (noise_floor > rules.threshold or change_ratio.rounds < least):
        # What disturbed one of two runs is no change of the code; only --against meets both sides alike.
        why = f"{change_ratio.rounds} rounds at a noise floor of {units.percent(noise_floor)} are no evidence between runs"
        return replace(finding, result=Result.unsure, sentence=f"{finding.sentence}; {why}, --against GIT_REF decides")
    return finding


def latency(
    gate: str,
    label: str,
    change: stats.Ratio,
    noise_floor: float,
    rules: Rules,
    then: str | None = None,
    over_passes: bool = False,
) -> Finding:
    """Judge a ratio of new to old latency: it fails only when point estimate and interval both show a slowdown.

    Args:
        gate: Name of the gate.
        label: Label of the upsampler.
        change: New latency over old latency, with its 95 % interval.
        noise_floor: Smallest difference, as a part of 1, that can be told from none.
        rules: Thresholds, and the names of the sides.
        then: A clause on where the ratio comes from, for the sentence.
        over_passes: Whether the interval is over the passes of sweeps, and not over rounds.
    """
    judge = stats.verdict if over_passes else rounds.judged
    verdict = judge(change, noise_floor, rules.threshold, rules.interval_threshold)
    threshold, floor = max(rules.threshold, noise_floor), max(rules.interval_threshold, noise_floor)
    of = "passes" if over_passes else "rounds"
    shown = (
        f"{units.ratio(change.value)} (95 % interval {units.interval(change.low, change.high)}, {change.rounds} {of})"
    )
    shown += f" of the time of {rules.old}" + (f" ({then})" if then else "")
    bounds = f"threshold {units.percent(threshold)}, interval threshold {units.percent(floor)}, noise floor {units.percent(noise_floor)}"
    if verdict is stats.Verdict.UNSURE and noise_floor > rules.threshold:
        bounds = f"{bounds}: too coarse for {units.percent(rules.threshold)}"
    if not over_passes and verdict is stats.Verdict.UNSURE and change.rounds < rounds.T_FROM:
        bounds = f"{bounds}; a verdict takes {rounds.T_FROM} rounds, raise --budget"
    result = {
        stats.Verdict.SLOWER: Result.failed,
        stats.Verdict.UNSURE: Result.unsure,
    }.get(verdict, Result.passed)
    sentence = f"{shown}; {bounds}" if result is Result.unsure else f"{verdict}: {shown}; {bounds}"
    return Finding(gate, label, result, sentence, change.value, 1 + threshold, change.low, change.high)


def _apart(metric: Metric, old: Measured, new: Measured, rules: Rules) -> str | None:
    """Return why values of the two sides cannot be compared: what differs of machines and versions; None where they can."""
    differing = [
        f"{key.replace('_', ' ')} {old.environment.get(key)} in {rules.old}, {new.environment.get(key)} in {rules.new}"
        for key in (
            *metric.comparable_on,
            *(metric.comparable_on_gpu if new.environment.get("device_type") == "cuda" else ()),
        )
        if old.environment.get(key) != new.environment.get(key)
    ]
    return "; ".join(differing) or None


def _timed_apart(old: Measured, new: Measured, rules: Rules) -> str | None:
    """Return what differs in how two latencies were taken; None where they compare."""
    differing = [
        f"{what} {before or 'unknown'} in {rules.old}, {after or 'unknown'} in {rules.new}"
        for what, before, after in (
            ("allocator", old.allocator, new.allocator),
            ("clock", old.clock, new.clock),
        )
        if before != after
    ]
    return "; ".join(differing) or None
