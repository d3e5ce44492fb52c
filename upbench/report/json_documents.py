"""The documents of `--format json` of `upbench compare` and `upbench diff`, as models, and their JSON Schemas.

Within one version of the schema keys stay and keep their meaning; new ones may be added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter

from upbench.analysis.stats import Ratio
from upbench.gate import Finding
from upbench.gate.outcome import exit_code
from upbench.records.record import Record
from upbench.report.tables import columns
from upbench.specs import shapes
from upbench.specs.comparable import Work

SCHEMA = 2
"""The version of the documents, which each of them holds as `schema`."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class CheckResult(_Part):
    """A check made before anything was timed."""

    upsampler: str
    name: str
    passed: bool
    detail: str


class Group(_Part):
    """The rows of one work under --per-shape.

    `shape` is that of the low-resolution input. `records` is their number: the records of all groups follow one another in
    one list. `reference` is as in `Comparison`, for this group.
    """

    shape: str
    batch: int
    scale: float
    reference: str | None
    records: int


class Fit(_Part):
    """Whether a record keeps the bounds of --fit, and the quantities that are the reason where it does not."""

    fits: Literal["yes", "unsure", "no"]
    because: list[str]


class _Outcome(_Part):
    """What every document of gates begins with."""

    schema_version: int = Field(SCHEMA, serialization_alias="schema")
    outcome: Literal["passed", "failed"]
    strict: bool


class Comparison(_Outcome):
    """One run of `upbench compare`.

    `latency_ratios`, `verdicts`, `fits` and `records` are in one order: that of the command line, or of --sort and --fit.
    `fits` is null without --fit. `outcome` is failed when a check
    or a gate failed (exit code 1). After a failed check nothing was measured: `records` is empty and `reference` null.
    Ratios are null where nothing was timed; the reference has no verdict. `groups` is null without --per-shape; with it,
    ratios and verdicts are to the reference of the group, and `reference` is null.
    """

    checks: list[CheckResult]
    findings: list[Finding]
    reference: str | None
    latency_ratios: list[Ratio | None]
    verdicts: list[str | None]
    fits: list[Fit] | None = None
    groups: list[Group] | None = None
    records: list[Record]


class Turns(_Part):
    """Seconds per call of every sample of every turn, two turns a round, of each of the three processes."""

    new: list[list[float]]
    old: list[list[float]]
    old_twin: list[list[float]]


class Times(_Part):
    """The latency of two versions of one upsampler.

    `ratio` is new over old, round by round. `noise_floor` (`resolution` in earlier documents) is the difference between two
    processes of the old version, as a part of 1. `stopped` says why sampling ended: "precise", "plateau" or "budget".
    `clock` is "cpu" for CPU time of the threads, or "wall".
    """

    ratio: Ratio
    noise_floor: float = Field(validation_alias=AliasChoices("noise_floor", "resolution"))
    stopped: str
    calls_per_sample: int
    clock: str = "wall"
    turns_s: Turns


class BothVersions(_Part):
    """One upsampler in its two versions.

    `old` and `new` are records without latency, null where that upbench cannot count alone. `latency` is null where nothing
    was timed.
    """

    upsampler: str
    old: Record | None
    new: Record | None
    latency: Times | None


class Against(_Outcome):
    """One run of `upbench compare --against`.

    `against` is the name of the old version. `versions` is empty after a failed check.
    """

    findings: list[Finding]
    against: str
    versions: list[BothVersions]


class Difference(_Outcome):
    """One run of `upbench diff`; `old` and `new` are the names of the files."""

    findings: list[Finding]
    old: str
    new: str


@dataclass(frozen=True)
class WorkResult:
    """Hold what was measured of one work, as `Comparison` and `Group` need it.

    Args:
        work: The work that all records do.
        records: One record for each upsampler, in the order in which they are shown.
        reference: The record that latencies are divided by; None after a failed check.
        checks: What was checked before anything was timed, with the fields of `CheckResult`.
        fits: For each record "yes", "unsure" or "no", and the names of the quantities that are the reason; None without bounds.
    """

    work: Work
    records: Sequence[Record]
    reference: Record | None
    checks: Sequence[Any]
    fits: Sequence[tuple[str, list[str]]] | None = None

    def ratios(self) -> list[Ratio | None]:
        """Return the latency of each record over that of the reference; None where nothing was timed."""
        base = self.reference
        if base is None or base.latency is None:
            return [None] * len(self.records)
        return [columns.paired(record, base) for record in self.records]

    def verdicts(self) -> list[str | None]:
        """Return the verdict on each record against the reference; None for the reference itself."""
        return [columns.verdict(record, self.reference) if self.reference else None for record in self.records]

    def group(self) -> Group:
        """Return the entry of this work in `Comparison.groups`."""
        return Group(
            shape=shapes.text(self.work.shape),
            batch=self.work.batch,
            scale=self.work.scale,
            reference=self.reference.label if self.reference else None,
            records=len(self.records),
        )


def comparison(results: Sequence[WorkResult], findings: Sequence[Finding], strict: bool, per_shape: bool) -> str:
    """Write the document of `upbench compare` as JSON text.

    Args:
        results: What was measured, one result for each work; exactly one without `per_shape`.
        findings: The findings of all works.
        strict: Whether what is unsure fails.
        per_shape: Whether several works were allowed.
    """
    reference = None if per_shape else results[0].reference
    document = Comparison(
        **_outcome(findings, strict),
        checks=[CheckResult(**vars(check)) for result in results for check in result.checks],
        reference=reference.label if reference else None,
        latency_ratios=[ratio for result in results for ratio in result.ratios()],
        verdicts=[verdict for result in results for verdict in result.verdicts()],
        fits=None
        if any(result.fits is None for result in results)
        else [Fit.model_validate({"fits": w, "because": why}) for result in results for w, why in result.fits or ()],
        groups=[result.group() for result in results] if per_shape else None,
        records=[],
    )
    return _text(document, records=[record.to_dict() for result in results for record in result.records])


def against(old: str, findings: Sequence[Finding], strict: bool, versions: Sequence[Mapping[str, Any]]) -> str:
    """Write the document of `upbench compare --against` as JSON text.

    Args:
        old: The name of the old version.
        findings: The findings on all upsamplers.
        strict: Whether what is unsure fails.
        versions: A mapping with the keys of `BothVersions` for each upsampler, its records as mappings.
    """
    return _text(Against(**_outcome(findings, strict), against=old, versions=[]), versions=list(versions))


def difference(old: str, new: str, findings: Sequence[Finding], strict: bool) -> str:
    """Write the document of `upbench diff` as JSON text.

    Args:
        old: The name of the old file.
        new: The name of the new file.
        findings: What the comparison of the files found.
        strict: Whether what is unsure fails.
    """
    return _text(Difference(**_outcome(findings, strict), old=old, new=new))


def compare_schema() -> str:
    """Return the JSON Schema of `upbench compare`: a comparison, or with --against two versions."""
    return _schema(TypeAdapter(Comparison | Against))


def diff_schema() -> str:
    """Return the JSON Schema of `upbench diff`."""
    return _schema(TypeAdapter(Difference))


def _outcome(findings: Sequence[Finding], strict: bool) -> dict[str, Any]:
    """The fields of `_Outcome`, and the findings."""
    outcome = "failed" if exit_code(findings, strict) else "passed"
    return {"outcome": outcome, "strict": strict, "findings": list(findings)}


def _text(document: _Outcome, **written: Any) -> str:
    """A document as JSON text. written: keys whose values are written already, as records write themselves."""
    return json.dumps({**document.model_dump(mode="json", by_alias=True), **written}, indent=2)


def _schema(model: TypeAdapter[Any]) -> str:
    schema = model.json_schema(mode="serialization", by_alias=True)
    if record := schema["$defs"].get("Record"):
        # A record calls it schema_version in Python, where `schema` is a method of the model.
        record["properties"] = {"schema": record["properties"].pop("schema_version"), **record["properties"]}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)
