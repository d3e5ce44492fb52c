"""What `upbench compare --format json` prints, as a model: it writes the document, and its own JSON Schema.

Within one version of the schema keys stay and keep their meaning; new ones may be added.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from upbench import shapes
from upbench.comparable import Work
from upbench.gate import Finding
from upbench.gate.outcome import exit_code
from upbench.record import Record
from upbench.report.tables import columns

SCHEMA = 2


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


class Group(_Part):
    """The rows of one work under --per-shape. shape: of the low-resolution input. records: how many there are.

    The records of all groups follow one another in one list. reference: as in `Comparison`, of this group.
    """

    shape: str
    batch: int
    scale: float
    reference: str | None
    records: int


class Comparison(_Part):
    """One run of `upbench compare`. latency_ratios, verdicts and records are in one order, that of the command line.

    outcome: failed when a check or a gate failed (exit code 1). After a failed check nothing was measured: records is
    empty and reference null. Ratios are null where nothing was timed; the reference has no verdict. groups: null
    without --per-shape; with it, ratios and verdicts are to the reference of the group, and `reference` is null.
    """

    schema_version: int = Field(SCHEMA, serialization_alias="schema")
    outcome: Literal["passed", "failed"]
    strict: bool
    checks: list[CheckResult]
    findings: list[Found]
    reference: str | None
    latency_ratios: list[Ratio | None]
    verdicts: list[str | None]
    groups: list[Group] | None = None
    records: list[Record]


@dataclass(frozen=True)
class Part:
    """What was measured of one work, as `Comparison` and `Group` have it."""

    work: Work
    records: Sequence[Record]
    reference: Record | None
    checks: Sequence[Any]

    def ratios(self) -> list[Ratio | None]:
        """The latency of each record over that of the reference; None where nothing was timed."""
        base = self.reference
        if base is None or base.latency is None:
            return [None] * len(self.records)
        pairs = [columns.paired(record, base) for record in self.records]
        return [Ratio(**vars(pair)) if pair else None for pair in pairs]

    def verdicts(self) -> list[str | None]:
        return [columns.verdict(record, self.reference) if self.reference else None for record in self.records]

    def group(self) -> Group:
        return Group(
            shape=shapes.text(self.work.shape),
            batch=self.work.batch,
            scale=self.work.scale,
            reference=self.reference.label if self.reference else None,
            records=len(self.records),
        )


def comparison(parts: Sequence[Part], findings: Sequence[Finding], strict: bool, per_shape: bool) -> str:
    """The document as text.

    Args:
        parts: what was measured, a part for each work; one without `per_shape`.
        findings: of all parts.
        strict: whether what is unsure fails.
        per_shape: whether several works were allowed.
    """
    reference = None if per_shape else parts[0].reference
    whole = Comparison(
        outcome="failed" if exit_code(findings, strict) else "passed",
        strict=strict,
        checks=[CheckResult(**vars(check)) for part in parts for check in part.checks],
        findings=[Found.model_validate({**vars(f), "result": str(f.result)}) for f in findings],
        reference=reference.label if reference else None,
        latency_ratios=[ratio for part in parts for ratio in part.ratios()],
        verdicts=[verdict for part in parts for verdict in part.verdicts()],
        groups=[part.group() for part in parts] if per_shape else None,
        records=[],
    ).model_dump(mode="json", by_alias=True)
    return json.dumps({**whole, "records": [r.to_dict() for part in parts for r in part.records]}, indent=2)
