"""What a gate found, and what that means for the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


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


def lines(findings: Sequence[Finding], strict: bool) -> list[str]:
    """Return the lines for stderr: one for every gate that failed, is unsure or was not judged, and one with the counts."""
    if not findings:
        return []
    shown = [f for r in (Result.note, Result.unsure, Result.failed) for f in findings if f.result is r]
    texts = [f"{word(f, strict)} {f.upsampler}, {f.gate}: {f.sentence}" for f in shown]
    return [*(" ".join(line.split()) for line in texts), counts(findings, strict)]


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
