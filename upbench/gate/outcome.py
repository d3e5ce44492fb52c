"""What a gate found, and what that means for the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """passed, failed; unsure: the evidence allows neither; note: not judged, and why."""

    passed = "passed"
    failed = "failed"
    unsure = "unsure"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """One gate on one upsampler. gate: "max params", "baseline macs", "check finite", "against latency", ...

    sentence: what was found, by how much and how sure. measured, limit: in SI base units (a ratio for latency gates
    that are ratios), None where the gate has none. low, high: the 95 % interval of `measured`, None when it is exact.
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
    """The result as it counts: under `strict`, unsure is failed."""
    return Result.failed if strict and finding.result is Result.unsure else finding.result


def exit_code(findings: Sequence[Finding], strict: bool) -> int:
    """1 when a gate failed, else 0."""
    return int(any(result_of(f, strict) is Result.failed for f in findings))


def lines(findings: Sequence[Finding], strict: bool) -> list[str]:
    """What stderr says: a line for every gate that failed, is unsure or was not judged, and one with the counts."""
    if not findings:
        return []
    shown = [f for r in (Result.note, Result.unsure, Result.failed) for f in findings if f.result is r]
    found = [f"{word(f, strict)} {f.upsampler}, {f.gate}: {f.sentence}" for f in shown]
    return [*(" ".join(line.split()) for line in found), counts(findings, strict)]


def word(finding: Finding, strict: bool) -> str:
    """FAILED, UNSURE, NOTE or PASSED; says where only --strict made a failure of it."""
    strictly = " (unsure, --strict)" if strict and finding.result is Result.unsure else ""
    return f"{result_of(finding, strict).value.upper()}{strictly}"


def counts(findings: Sequence[Finding], strict: bool) -> str:
    """'gates: 5 passed, 1 failed'; notes are not gates."""
    number = {r: sum(result_of(f, strict) is r for f in findings) for r in Result}
    parts = [f"{number[r]} {r.value}" for r in (Result.passed, Result.failed, Result.unsure) if number[r]]
    notes = f"; {number[Result.note]} not judged" if number[Result.note] else ""
    return f"gates: {', '.join(parts) or 'none judged'}{notes}"
