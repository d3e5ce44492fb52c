"""A record: one spec, where it ran, and all that was measured. Raw numbers in SI base units; schema 1.

Written as one JSON object a line. Fields that were not measured are null, never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from upbench import source_files
from upbench.conventions import Breakdown
from upbench.errors import StoreError

SCHEMA = 1

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


class Routes(_Part):
    """MACs of one call by class (conv, gather) on the two routes besides the counter's, and what torch did not charge.

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
    resolution: the smallest difference of latencies, as a part of 1, that the machine could tell from none just then.
    floor_s: the least time a forward can take on this machine, see `floor`; null where it is not calibrated.
    """

    schema_version: int = SCHEMA
    label: str
    spec: dict[str, Any]
    axes: dict[str, Any] = {}
    sweep: SweepInfo | None = None
    status: Status = "ok"
    error: str | None = None
    started: str
    comparison: str | None = None
    resolution: float | None = None
    floor_s: float | None = None
    environment: dict[str, Any]
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
    routes: Routes | None = None
    breakdown: Breakdown | None = None
    op_count: int | None = None
    output: Output | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    warnings: list[str] = []

    @property
    def key(self) -> str:
        """What makes two records the same measurement: spec, device, versions, and the code of a user's module."""
        return key(self.spec, self.environment, self.sources)

    @property
    def place(self) -> str:
        """The key without the code: of a cell that was measured before and after an edit, the later record counts."""
        return key(self.spec, self.environment)

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
        data = self.model_dump(mode="json")
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
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise StoreError(f"{source} has schema {found}, but this version of upbench reads schema {SCHEMA}")
    try:
        return Record.model_validate({"schema_version": SCHEMA, **{k: v for k, v in data.items() if k != "schema"}})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{source} is not a record of upbench ({where}: {first['msg'].lower()})") from None


def key(spec: Mapping[str, Any], environment: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> str:
    """Hash of a spec with the parts of the environment that change a measurement, and with a user's source files."""
    same = {name: environment.get(name) for name in ("device", "threads", "torch", "upbench", "kernels", "cuda")}
    code = source_files.digest(sources)
    text = json.dumps([spec, same, *([code] if code else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
