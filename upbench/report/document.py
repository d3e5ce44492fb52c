"""What `upbench compare --format json` prints, as a model: it writes the document, and its own JSON Schema.

Within one version of the schema keys stay and keep their meaning; new ones may be added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from upbench.gate import Finding
from upbench.gate.outcome import exit_code
from upbench.record import Record
from upbench.report import columns

SCHEMA = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ratio(_Part):
    """Latency over that of the reference, round by round: median and 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    rounds: int


class CheckResult(_Part):
    """A check made before anything was timed."""

    upsampler: str
    name: str
    passed: bool
    detail: str


class Found(_Part):
    """One gate on one upsampler. measured, limit: SI base units, or ratios. low, high: null when exact."""

    gate: str
    upsampler: str
    result: Literal["passed", "failed", "unsure", "note"]
    sentence: str
    measured: float | int | str | None
    limit: float | int | str | None
    low: float | None
    high: float | None


class Comparison(_Part):
    """One run of `upbench compare`. latency_ratios, verdicts and records are in one order, that of the command line.

    outcome: failed when a check or a gate failed (exit code 1). After a failed check nothing was measured: records is
    empty and reference null. Ratios are null where nothing was timed; the reference has no verdict.
    """

    schema_version: int = Field(SCHEMA, serialization_alias="schema")
    outcome: Literal["passed", "failed"]
    strict: bool
    checks: list[CheckResult]
    findings: list[Found]
    reference: str | None
    latency_ratios: list[Ratio | None]
    verdicts: list[str | None]
    records: list[Record]


def comparison(
    records: Sequence[Record],
    reference: Record | None,
    checks: Sequence[Any],
    findings: Sequence[Finding],
    strict: bool,
) -> str:
    """The document as text."""
    timed = reference is not None and reference.latency is not None
    ratios = [columns.paired(r, reference) for r in records] if timed and reference else [None] * len(records)
    whole = Comparison(
        outcome="failed" if exit_code(findings, strict) else "passed",
        strict=strict,
        checks=[CheckResult(**vars(check)) for check in checks],
        findings=[Found.model_validate({**vars(f), "result": str(f.result)}) for f in findings],
        reference=reference.label if reference else None,
        latency_ratios=[Ratio(**vars(ratio)) if ratio else None for ratio in ratios],
        verdicts=[columns.verdict(r, reference) if reference else None for r in records],
        records=[],
    ).model_dump(mode="json", by_alias=True)
    return json.dumps({**whole, "records": [record.to_dict() for record in records]}, indent=2)
