"""A record: one spec, where it ran, and all that was measured. Raw numbers in SI base units; schema 2.

Written as one JSON object a line. Fields that were not measured are null, never 0. Records of schema 1 are read as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from upbench.conventions import Breakdown
from upbench.errors import StoreError
from upbench.records.accuracy import Accuracy as Accuracy
from upbench.records.latency import Latency as Latency
from upbench.records.latency import Part
from upbench.records.latency import PassedRatio as PassedRatio
from upbench.records.latency import Passes as Passes
from upbench.records.origin import Environment as Environment
from upbench.records.origin import RunSpecData as RunSpecData
from upbench.records.origin import of_key
from upbench.user_code import source_files

SCHEMA = 2
"""Version of the fields of a record."""
RENAMED = {"resolution": "noise_floor", "floor_s": "roofline_s", "routes": "cross_check"}
"""Name of a field in schema 1 -> its name in schema 2."""
FIRST_VERSION = {"0.1.0": 1}
"""Version of upbench that wrote a record of schema 1 -> its measurement version, which such records do not hold."""

Status = Literal["ok", "error", "oom", "timeout", "crashed", "impossible"]
STATUSES: tuple[str, ...] = get_args(Status)
"""Statuses of a record. error: it raised; oom: out of memory; crashed: its process died; impossible: it breaks a rule."""
FAILED: tuple[Status, ...] = ("error", "oom", "timeout", "crashed")
"""Statuses of cells whose measurement was attempted and failed."""


class Macs(Part):
    """Multiply-accumulates of one call, by class: convolutions and linear layers, gathers, norms, element-wise; `total` is their sum."""

    conv: int
    gather: int
    norm: int
    elementwise: int

    total: int


class CrossCheck(Part):
    """MACs of one call by class (conv, gather) as other counters have them.

    Args:
        closed: The card's closed form; null where none is declared.
        torch: The count of torch's own counter.
        torch_uncounted: Operators that torch's counter did not charge, with how often each ran.
    """

    closed: dict[str, int] | None
    torch: dict[str, int]
    torch_uncounted: dict[str, int]


class Memory(Part):
    """Memory of one call in bytes, without its inputs, weights and the gradient of the output where it says peak.

    Args:
        method: How the peaks were measured.
        input_bytes: Bytes of the inputs.
        weight_bytes: Bytes of parameters and buffers.
        output_bytes: Bytes of the output.
        forward_peak_bytes: Peak of a forward without autograd.
        training_peak_bytes: Peak of forward and backward, gradients included; null when it was not measured.
        saved_bytes: Bytes that autograd keeps from forward for backward, without inputs and weights; null when not measured.
        workspace_bytes: The forward peak without the output.
    """

    method: str
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    forward_peak_bytes: int
    training_peak_bytes: int | None
    saved_bytes: int | None
    workspace_bytes: int


class Output(Part):
    """Digest and statistics of the output of one forward; mean, std, lowest, highest are null where a value is not finite.

    Args:
        digest: SHA-256 of its bytes; null where a second call returned other bytes.
        mean: Mean of all values.
        std: Standard deviation of all values.
        lowest: The smallest value.
        highest: The largest value.
    """

    digest: str | None
    mean: float | None
    std: float | None
    lowest: float | None
    highest: float | None


class Execution(Part):
    """What ran a module that was exported for another runtime. Errors are parts of the largest value, from eager float64.

    Args:
        version: Version of the runtime.
        precision_asked: The precision that it was asked for; "default" where it was left to the runtime.
        precision: The precision in effect, as the runtime says it.
        error: Error of its output.
        limit: Largest accepted error.
        eager_error: Error of the plain form in the dtype of the inputs.
    """

    version: str
    precision_asked: str
    precision: str
    error: float
    limit: float
    eager_error: float


class SweepInfo(Part):
    """The sweep that a record belongs to.

    Args:
        name: Name of the sweep.
        title: Its title; empty where it has none.
        published: Id of the published table that its cells belong to; null where there is none.
        cell: Position of the record's cell in the order of the sweep.
    """

    name: str
    title: str = ""
    published: str | None = None
    cell: int


class Record(BaseModel):
    """One measured cell. Quantities that were not measured are null.

    Attributes:
        schema_version: Version of these fields; written as `schema`.
        label: Name of the upsampler with the params that were set.
        spec: The spec; null for a module instance, which no spec describes.
        axes: Axis -> value of the cell in its sweep.
        sweep: The sweep of the cell; null outside of one.
        status: One of STATUSES. Unless it is "ok" the measurements are null.
        error: Why the status is not "ok".
        started: UTC time at which the measurement began.
        comparison: Id that all records of the same interleaved rounds share.
        noise_floor: Smallest difference of latency, as a part of 1, that the machine could tell from none at that time.
        roofline_s: Least seconds that a forward can take on this machine, see `machine.roofline`; null where it is not calibrated.
        environment: Machine and software.
        sources: Path -> hash of the files of a user's module, see `user_code.source_files`; null for a built-in upsampler.
        runtime: Name of the runtime that ran the module, see `runtimes`; null in records of earlier versions.
        execution: How another runtime than torch ran it; null for torch and torch.compile.
        backends: Op -> the backend that ran it, for every op that has a choice.
        backend_reasons: Op -> why the automatic choice took its eager form although a backend can compute it; null where it
            did not.
        params: Number of parameters.
        params_trainable: Number of parameters that require a gradient.
        buffers: Number of elements of persistent and other buffers.
        macs: Multiply-accumulates by class.
        macs_by_op: Multiply-accumulates of each operator that the counter charged.
        uncounted: Operators that the counter did not know, with how often they occur.
        missing: Those of them whose arithmetic is in no number here, so that the MACs are too small; null in records of
            earlier versions.
        cross_check: The MACs as other counters have them.
        breakdown: The parts that counting conventions add up.
        op_count: Number of operators that torch dispatches in a forward, views included.
        output: Digest and statistics of the output.
        latency: Time of one call.
        memory: Memory of one call.
        accuracy: Name -> accuracy that a user gives or a paper printed for this cell; null in results files.
        warnings: Sentences on what a reader should know of the measurement.
    """

    model_config = Part.model_config

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
    execution: Execution | None = None
    backends: dict[str, str] | None = None
    backend_reasons: dict[str, str] | None = None
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
    accuracy: dict[str, Accuracy] | None = None
    warnings: list[str] = []

    @property
    def key(self) -> str:
        """Hash of what makes two records the same measurement: spec, device, versions, and the code of a user's module."""
        return key(self.settings, self.environment, self.sources)

    @property
    def place(self) -> str:
        """The key without the code: of a cell that was measured before and after an edit, the later record replaces the earlier."""
        return key(self.settings, self.environment)

    @property
    def settings(self) -> RunSpecData:
        """The spec; an empty one for a module instance."""
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
        """Return the record as one line of JSON."""
        return json.dumps(self.to_dict(), separators=(", ", ": "))

    def to_dict(self) -> dict[str, Any]:
        """Return the record with plain values; its spec and environment have the keys that they were written with."""
        data = self.model_dump(mode="json")
        data |= {"spec": self.spec and self.spec.given(), "environment": self.environment.given()}
        return {"schema": data.pop("schema_version"), **data}


def from_json(line: str, source: str) -> Record:
    """Read the record in a line of JSON.

    Args:
        line: The line.
        source: Name of the file and line for messages.

    Raises:
        StoreError: If the line is torn, no record, or of an unknown schema.
    """
    return from_dict(parse(line, source), source)


def parse(line: str, source: str) -> Any:
    """Return the JSON value of a line; `source` names it in the StoreError of a torn one."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise StoreError(f"{source} is torn (not a complete JSON record)") from None


def from_dict(data: object, source: str) -> Record:
    """Read the record in a mapping as `Record.to_dict` returns it, of schema 1 or 2.

    Args:
        data: The mapping.
        source: Name of the file and line for messages.

    Raises:
        StoreError: If it is no record, or of an unknown schema.
    """
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
    """Return the fields of a record of schema 1 under the names of schema 2."""
    found = {RENAMED.get(name, name): value for name, value in fields.items()}
    if isinstance(where := found.get("environment"), dict):
        found["environment"] = with_measurement_version(where)
    return found


def with_measurement_version(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Add the measurement version to an environment of schema 1, where it is known which the writing upbench had."""
    version = FIRST_VERSION.get(str(environment.get("upbench")))
    return dict(environment) if version is None else {"measurement_version": version, **environment}


def key(
    spec: RunSpecData | Mapping[str, Any],
    environment: Environment | Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
) -> str:
    """Return a hash of everything that changes a measurement.

    Args:
        spec: The spec.
        environment: Machine and software, of which only the parts of `origin.KEY` count.
        sources: Path -> hash of the files of a user's module; None for a built-in upsampler.

    Returns:
        16 hexadecimal digits.
    """
    code = source_files.digest(sources)
    text = json.dumps([*of_key(spec, environment), *([code] if code else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
