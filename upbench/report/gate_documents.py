"""What `upbench compare --against` and `upbench diff` print with --format json, as models; and all JSON Schemas.

Within one version of the schema keys stay and keep their meaning; new ones may be added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from upbench.gate import Finding
from upbench.gate.outcome import exit_code
from upbench.record import Record
from upbench.report.document import SCHEMA, Comparison, Found, Ratio


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Turns(_Part):
    """Seconds per call of every sample of every turn, two turns a round, of each of the three processes."""

    new: list[list[float]]
    old: list[list[float]]
    old_twin: list[list[float]]


class Times(_Part):
    """ratio: new over old, round by round. resolution: what two processes of the old version differ by.

    stopped: why sampling ended, "precise", "plateau" or "budget".
    """

    ratio: Ratio
    resolution: float
    stopped: str
    calls_per_sample: int
    turns_s: Turns


class BothVersions(_Part):
    """One upsampler. old, new: without latency; null where that upbench cannot count alone. latency: null untimed."""

    upsampler: str
    old: Record | None
    new: Record | None
    latency: Times | None


class _Outcome(_Part):
    schema_version: int = Field(SCHEMA, serialization_alias="schema")
    outcome: Literal["passed", "failed"]
    strict: bool
    findings: list[Found]


class Against(_Outcome):
    """One run of `upbench compare --against`. against: the old version. versions: empty after a failed check."""

    against: str
    versions: list[BothVersions]


class Difference(_Outcome):
    """One run of `upbench diff`. old, new: the files."""

    old: str
    new: str


def against(old: str, findings: Sequence[Finding], strict: bool, versions: Sequence[Mapping[str, Any]]) -> str:
    """The document of two versions as text. versions: the keys of `BothVersions`, records as mappings."""
    whole = Against(**_outcome(findings, strict), against=old, versions=[])
    return json.dumps({**whole.model_dump(mode="json", by_alias=True), "versions": list(versions)}, indent=2)


def difference(old: str, new: str, findings: Sequence[Finding], strict: bool) -> str:
    """The document of two files as text."""
    whole = Difference(**_outcome(findings, strict), old=old, new=new)
    return json.dumps(whole.model_dump(mode="json", by_alias=True), indent=2)


def _outcome(findings: Sequence[Finding], strict: bool) -> dict[str, Any]:
    return {
        "outcome": "failed" if exit_code(findings, strict) else "passed",
        "strict": strict,
        "findings": [Found.model_validate({**vars(f), "result": str(f.result)}) for f in findings],
    }


def of_compare() -> str:
    """The JSON Schema of `upbench compare`: a comparison, or with --against two versions."""
    return _schema(TypeAdapter(Comparison | Against))


def of_diff() -> str:
    """The JSON Schema of `upbench diff`."""
    return _schema(TypeAdapter(Difference))


def _schema(model: TypeAdapter[Any]) -> str:
    found = model.json_schema(mode="serialization", by_alias=True)
    if record := found["$defs"].get("Record"):
        # A record calls it schema_version in Python, where `schema` is a method of the model.
        record["properties"] = {"schema": record["properties"].pop("schema_version"), **record["properties"]}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=2)
