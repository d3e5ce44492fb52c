"""What a gate found, and what that means for the exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

BOTH = re.compile(r"\d+( bytes)? [<>] \d+( bytes)?(?= )")
"""Two exact values at the beginning of a sentence, as "2560 > 512"."""


class Result(StrEnum):
    """The result of a gate: passed, failed, unsure (the evidence allows neither) or note (not judged; its sentence says why)."""

    passed = "passed"
    failed = "failed"
    unsure = "unsure"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """The result of one gate on one upsampler.

    Args:
        gate: Name of the gate, as "max params", "baseline macs", "check finite" or "against latency".
        upsampler: Label of the upsampler.
        result: Passed, failed, unsure or note.
        sentence: What was measured, by how much it differs, and how sure that is.
        measured: The value in SI base units, or a ratio for gates on ratios; None where there is none.
        limit: The bound in the same unit; None where there is none.
        low: Lower end of the 95 % interval of `measured`; None when it is exact.
        high: Upper end of the same interval.
    """

    gate: str
    upsampler: str
    result: Result
    sentence: str
    measured: float | int | str | None = None
    limit: float | int | str | None = None
    low: float | None = None
    high: float | None = None


def result_of(finding: Finding, strict: bool) -> Result:
    """Return the result as it counts: with `strict`, unsure counts as failed."""
    return Result.failed if strict and finding.result is Result.unsure else finding.result


def exit_code(findings: Sequence[Finding], strict: bool) -> int:
    """Return the exit code: 1 when a gate failed, else 0."""
    return int(any(result_of(f, strict) is Result.failed for f in findings))


def lines(findings: Sequence[Finding], strict: bool, whole: bool = False) -> list[str]:
    """Return the lines for stderr: of every upsampler one on what failed, one on each that is unsure or was not judged, and the counts.

    A change of a module shows in many quantities at once: the first is told in full, the others by what they are now.

    Args:
        findings: What the gates found.
        strict: Whether what is unsure counts as failed.
        whole: Whether every finding has a line of its own.
    """
    if not findings:
        return []
    shown = [f for r in (Result.note, Result.unsure) for f in findings if f.result is r]
    texts = [_told(f, strict) for f in shown]
    failed: dict[str, list[Finding]] = {}
    for n, finding in enumerate(f for f in findings if f.result is Result.failed):
        failed.setdefault(f"{n}" if whole else finding.upsampler, []).append(finding)
    for first, *others in failed.values():
        also = f". Also failed: {', '.join(map(_in_short, others))}" if others else ""
        texts.append(f"{_told(first, strict)}{also}")
    return [*(" ".join(line.split()) for line in texts), counts(findings, strict)]


def _told(finding: Finding, strict: bool) -> str:
    return f"{word(finding, strict)} {finding.upsampler}, {finding.gate}: {finding.sentence}"


def _in_short(finding: Finding) -> str:
    """Return the gate, without the file that all are of, and both values where its sentence begins with them."""
    side, _, name = finding.gate.partition(" ")
    gate = name if side in ("baseline", "against", "diff") else finding.gate
    both = BOTH.match(finding.sentence)
    return f"{gate} {both.group()}" if both else gate


def word(finding: Finding, strict: bool) -> str:
    """Return FAILED, UNSURE, NOTE or PASSED, and whether only --strict makes it a failure."""
    strictly = " (unsure, --strict)" if strict and finding.result is Result.unsure else ""
    return f"{result_of(finding, strict).value.upper()}{strictly}"


def counts(findings: Sequence[Finding], strict: bool) -> str:
    """Return the number of gates by result, as "gates: 5 passed, 1 failed"; notes are no gates."""
    number = {r: sum(result_of(f, strict) is r for f in findings) for r in Result}
    parts = [f"{number[r]} {r.value}" for r in (Result.passed, Result.failed, Result.unsure) if number[r]]
    notes = f"; {number[Result.note]} not judged" if number[Result.note] else ""
    return f"gates: {', '.join(parts) or 'none judged'}{notes}"
