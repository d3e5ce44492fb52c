"""Baselines: what a comparison measured, small enough to commit; schema 2, and schema 1 is read as well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from upbench import metrics
from upbench.analysis import stats
from upbench.errors import StoreError
from upbench.gate.measured import Measured
from upbench.records.record import Output, with_measurement_version

SCHEMA = 2
"""Version of the format of baseline files."""
KIND = "upbench baseline"
"""The text under `kind` by which a baseline file is recognised."""
KEYS = {
    "macs": "macs",
    "peak-memory": "peak_memory",
    "training-peak-memory": "training_peak",
    "workspace": "workspace",
}
"""Name of a metric -> its key in baselines, where that is not the key of the metric: those of schema 1 stay."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LatencyRatio(_Part):
    """The ratio of a latency to that of the reference in the same rounds, with its 95 % interval."""

    value: float = Field(gt=0)
    low: float = Field(gt=0)
    high: float = Field(gt=0)
    rounds: int


class Entry(_Part):
    """What a baseline holds of one upsampler.

    Args:
        label: Label of the upsampler.
        spec: The spec that was measured.
        exact: Counts and bytes by key of the metric; null when unknown.
        output: Digest and statistics of the output; null when they were not taken.
        latency_ratio: Latency over that of the reference; null for the reference and without timing.
        noise_floor: Smallest difference of latency, as a part of 1, that the machine could tell from none.
        sources: Path -> hash of the files of a user's module; null for built-in upsamplers.
        allocator: What malloc did while it was timed; null without timing.
        clock: Name of the clock; null without timing.
    """

    label: str
    spec: dict[str, Any]
    exact: dict[str, int | None]
    output: Output | None
    latency_ratio: LatencyRatio | None
    noise_floor: float | None
    sources: dict[str, str] | None = None
    allocator: str | None = None
    clock: str | None = None


class Baseline(_Part):
    """The content of a baseline file.

    Args:
        kind: The text of KIND, by which the file is recognised.
        reference: Identity (a spec as JSON) of the upsampler that latency ratios are to; null without timing.
        environment: Machine and software, as far as comparisons need them.
        upsamplers: One entry for each.
    """

    kind: str
    reference: str | None
    environment: dict[str, Any]
    upsamplers: list[Entry]


def to_text(measured: Sequence[Measured]) -> str:
    """Write the baseline of one run as JSON.

    Args:
        measured: The upsamplers of the run, which share environment and reference.
    """
    reference = next((m.reference for m in measured if m.reference), None)
    whole = Baseline(
        kind=KIND,
        reference=reference,
        environment=dict(measured[0].environment),
        upsamplers=[
            Entry(
                label=m.label,
                spec=dict(m.spec),
                exact={_key(name): value for name, value in m.exact.items()},
                output=Output.model_validate(m.output) if m.output else None,
                latency_ratio=LatencyRatio(**vars(m.ratio)) if m.ratio else None,
                noise_floor=m.noise_floor,
                sources=dict(m.sources) if m.sources is not None else None,
                allocator=m.allocator,
                clock=m.clock,
            )
            for m in measured
        ],
    )
    return json.dumps({"schema": SCHEMA, **whole.model_dump(mode="json")}, indent=2) + "\n"


def _key(name: str) -> str:
    return KEYS.get(name) or metrics.METRICS[name].key


def _by_name(exact: Mapping[str, int | None]) -> dict[str, int | None]:
    """Metric -> value; what this version does not measure is left out."""
    return {name: exact[key] for name in metrics.compared() if (key := _key(name)) in exact}


def _migrated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a baseline of schema 1 under the names of schema 2."""
    migrated = dict(fields)
    migrated["environment"] = with_measurement_version(fields["environment"])
    migrated["upsamplers"] = [
        {("noise_floor" if name == "resolution" else name): value for name, value in entry.items()}
        for entry in fields["upsamplers"]
    ]
    return migrated


def is_baseline(data: object) -> bool:
    """Return whether the content of a JSON file is a baseline."""
    return isinstance(data, Mapping) and data.get("kind") == KIND


def from_data(data: object, source: str) -> list[Measured]:
    """Read the content of a baseline file.

    Args:
        data: The parsed JSON.
        source: Name of the file for messages.

    Raises:
        StoreError: If it is no baseline, is damaged, or has an unknown schema.
    """
    if not isinstance(data, Mapping) or not is_baseline(data):
        raise StoreError(f"baseline {source} was not written by `upbench compare --save`; write one with --save")
    if data.get("schema") not in (1, SCHEMA):
        raise StoreError(
            f"baseline {source} has schema {data.get('schema')}, but this version of upbench reads schemas 1 and "
            f"{SCHEMA}; write a new one with --save"
        )
    try:
        fields = {key: value for key, value in data.items() if key != "schema"}
        whole = Baseline.model_validate(_migrated(fields) if data["schema"] == 1 else fields)
        return [
            Measured(
                label=entry.label,
                spec=entry.spec,
                environment=whole.environment,
                exact=_by_name(entry.exact),
                output=entry.output.model_dump() if entry.output else None,
                reference=whole.reference if entry.latency_ratio else None,
                ratio=stats.Ratio(**entry.latency_ratio.model_dump()) if entry.latency_ratio else None,
                noise_floor=entry.noise_floor,
                sources=entry.sources,
                allocator=entry.allocator,
                clock=entry.clock,
            )
            for entry in whole.upsamplers
            if entry.spec["measure"] is not None
        ]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"baseline {source} is damaged ({where}: {first['msg'].lower()}); write a new one") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StoreError(f"baseline {source} is damaged (a spec without `measure`); write a new one") from None
