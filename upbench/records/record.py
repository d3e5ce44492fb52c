"""A record: one spec, where it ran, and all that was measured. Raw numbers in SI base units; schema 2.

Written as one JSON object a line. Fields that were not measured are null, never 0. Records of schema 1 are read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from upbench.conventions import Breakdown
from upbench.errors import StoreError
from upbench.records.origin import Environment as Environment
from upbench.records.origin import RunSpecData as RunSpecData
from upbench.records.origin import of_key
from upbench.user_code import source_files

SCHEMA = 2
RENAMED = {"resolution": "noise_floor", "floor_s": "roofline_s", "routes": "cross_check"}
"""Fields of schema 1 -> of schema 2."""
FIRST_VERSION = {"0.1.0": 1}
"""Version of upbench that wrote a record of schema 1 -> its measurement version, which such records do not hold."""

Status = Literal["ok", "error", "oom", "timeout", "crashed", "impossible"]
STATUSES: tuple[str, ...] = get_args(Status)
"""error: it raised; oom: out of memory; crashed: its process died; impossible: it breaks a rule of the upsampler."""
FAILED: tuple[Status, ...] = ("error", "oom", "timeout", "crashed")
"""Those of cells that were tried."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Macs(_Part):
    """Multiply-accumulates of one call, by class. total: their sum."""

    conv: int
    gather: int
    norm: int
    elementwise: int

    total: int


class CrossCheck(_Part):
    """MACs of one call by class (conv, gather) from two other counters, and what torch's did not charge.

    closed: the card's closed form, null where none is declared. torch_uncounted: operators that ran, how often.
    """

    closed: dict[str, int] | None
    torch: dict[str, int]
    torch_uncounted: dict[str, int]


class Latency(_Part):
    """Time of one call. samples_s: seconds per call, in the order taken, `samples_per_round` of them to a round.

    first_call_s: the very first call, a forward, with compilation where there is one. stopped: why sampling ended,
    "precise", "plateau", "budget" or "interrupted". discarded_rounds: taken again because the device had slowed down.
    host_s: wall time of a call and its end, graph_s: of its replay as a CUDA graph; medians, null on a CPU.
    """

    mode: str
    clock: str
    first_call_s: float
    warmup_calls: int
    stable: bool
    calls_per_sample: int
    samples_per_round: int
    stopped: str
    discarded_rounds: int
    host_s: float | None = None
    graph_s: float | None = None
    samples_s: list[float]


class Memory(_Part):
    """Bytes. The peaks count what one call allocates beyond its inputs, weights and the gradient of the output.

    forward_peak_bytes: without autograd. training_peak_bytes: forward and backward, gradients included.
    saved_bytes: what autograd keeps from forward for backward, inputs and weights not counted.
    workspace_bytes: the forward peak without the output.
    """

    method: str
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    forward_peak_bytes: int
    training_peak_bytes: int | None
    saved_bytes: int | None
    workspace_bytes: int


class Output(_Part):
    """What one forward returned. digest: SHA-256 of its bytes, null where a second call returned other bytes.

    mean, std, lowest, highest: null where a value is not finite.
    """

    digest: str | None
    mean: float | None
    std: float | None
    lowest: float | None
    highest: float | None


class SweepInfo(_Part):
    """The sweep that a record belongs to. cell: place in the order of its cells. published: id of a published table."""

    name: str
    title: str = ""
    published: str | None = None
    cell: int


class Record(_Part):
    """One measured cell. sources: path -> hash of the files of a user's module, see `source_files`; null for a built-in one.

    status: one of STATUSES; unless it is "ok", `error` says why and the measurements are null.

    runtime: what ran the module, see `runtimes`; null in records that do not tell. backends: op -> the backend that
    ran it, for every op that has a choice.

    params: all parameters; params_trainable: those that require a gradient; buffers: elements of persistent and
    other buffers. macs_by_op: MACs of each operator the counter charged. uncounted: operators that it did not know,
    with how often they occur. missing: those of them whose arithmetic is in no number here, so that the MACs are too
    small; null in records that do not tell. op_count: operators that torch dispatches in a forward, views included.
    comparison: shared by the records measured in the same interleaved rounds.
    noise_floor: the smallest difference of latencies, as a part of 1, that the machine could tell from none just then.
    roofline_s: the least time a forward can take on this machine, see `floor`; null where it is not calibrated.
    cross_check: the MACs as other counters have them. spec: null for a module that was handed in as it is.
    """

    schema_version: int = SCHEMA
    label: str
    spec: RunSpecData | None = None
    axes: dict[str, Any] = {}
    sweep: SweepInfo | None = None
    status: Status = "ok"
    error: str | None = None
    started: str
    comparison: str | None = None
    noise_floor: float | None = None
    roofline_s: float | None = None
    environment: Environment
    sources: dict[str, str] | None = None
    runtime: str | None = None
    backends: dict[str, str] | None = None
    params: int | None = None
    params_trainable: int | None = None
    buffers: int | None = None
    macs: Macs | None = None
    macs_by_op: dict[str, int] | None = None
    uncounted: dict[str, int] | None = None
    missing: dict[str, int] | None = None
    cross_check: CrossCheck | None = None
    breakdown: Breakdown | None = None
    op_count: int | None = None
    output: Output | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    warnings: list[str] = []

    @property
    def key(self) -> str:
        """What makes two records the same measurement: spec, device, versions, and the code of a user's module."""
        return key(self.settings, self.environment, self.sources)

    @property
    def place(self) -> str:
        """The key without the code: of a cell that was measured before and after an edit, the later record counts."""
        return key(self.settings, self.environment)

    @property
    def settings(self) -> RunSpecData:
        """The spec; an empty one for a module that was handed in."""
        return self.spec or RunSpecData()

    @property
    def incomplete(self) -> str | None:
        """A clause that says why the MACs are not those of the whole call; None where they are."""
        if self.status != "ok":
            return None
        if self.missing:
            listed = ", ".join(f"{name} ({n}x)" for name, n in self.missing.items())
            return f"the MACs are incomplete: {listed} is not counted"
        return "the MACs could not be counted" if self.macs is None else None

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), separators=(", ", ": "))

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON has it; its spec and environment with the keys that they were given."""
        data = self.model_dump(mode="json")
        data |= {"spec": self.spec and self.spec.given(), "environment": self.environment.given()}
        return {"schema": data.pop("schema_version"), **data}


def from_json(line: str, source: str) -> Record:
    """The record in a line of JSON. Raises StoreError naming `source` when it is torn or of another schema."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise StoreError(f"{source} is torn (not a complete JSON record)") from None
    return from_dict(data, source)


def from_dict(data: object, source: str) -> Record:
    """The record in a mapping as `Record.to_dict` gives it. Raises StoreError naming `source` when it is none."""
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(data, dict) or schema not in (1, SCHEMA):
        raise StoreError(f"{source} has schema {schema}, but this version of upbench reads schemas 1 and {SCHEMA}")
    fields = {name: value for name, value in data.items() if name != "schema"}
    try:
        return Record.model_validate({"schema_version": SCHEMA, **(_migrated(fields) if schema == 1 else fields)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{source} is not a record of upbench ({where}: {first['msg'].lower()})") from None


def _migrated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record of schema 1 under the names of schema 2."""
    found = {RENAMED.get(name, name): value for name, value in fields.items()}
    if isinstance(where := found.get("environment"), dict):
        found["environment"] = with_measurement_version(where)
    return found


def with_measurement_version(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment of schema 1 with the measurement version of the upbench that wrote it, where that is known."""
    version = FIRST_VERSION.get(str(environment.get("upbench")))
    return dict(environment) if version is None else {"measurement_version": version, **environment}


def key(
    spec: RunSpecData | Mapping[str, Any],
    environment: Environment | Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
) -> str:
    """Hash of a spec with the parts of the environment that change a measurement, and with a user's source files."""
    code = source_files.digest(sources)
    text = json.dumps([*of_key(spec, environment), *([code] if code else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
