"""Lines of passes files: what each holds, as JSON. Their index and what records take from it are in `pass_store`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from upbench.errors import StoreError
from upbench.records import json_lines
from upbench.records.record import Record, from_dict

SCHEMA = "pass 1"
COUNTED_SCHEMA = "counted 1"
PER_ROUND = 2
DIGITS = 10
"""Decimals of a time in seconds that are written: a tenth of a nanosecond."""

Role = Literal["cell", "twin", "bridge"]
"""twin: a second build of the reference; bridge: a cell of an earlier run, timed again to compare the two runs."""
Clock = Literal["cpu", "wall"]
CLOCKS: tuple[Clock, ...] = ("cpu", "wall")
Identity = tuple[str, str]
"""What tells cells apart, as in `store`: the key of the record and its axes as text."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Timed(_Part):
    """What a block took of one cell. Times are seconds a call, PER_ROUND samples to a round, in the order taken.

    clock: the time that is this cell's latency, as its samples show; clock_reason: why it is wall time. faults: page
    faults a call, null where they are not counted. status: "ok", or why the cell left the block, with no samples.
    """

    key: str
    axes: dict[str, Any] = {}
    role: Role = "cell"
    status: str = "ok"
    error: str | None = None
    calls: int = 1
    clock: Clock = "wall"
    clock_reason: str | None = None
    cpu_s: list[float] | None = None
    wall_s: list[float] = []
    faults: float | None = None

    @property
    def identity(self) -> Identity:
        """Return what the cell is known by: the key of its record and its axes."""
        return identity(self.key, self.axes)

    def seconds(self, clock: Clock) -> list[float]:
        """Return the samples by a clock; wall time where there is no CPU time."""
        return self.cpu_s if clock == "cpu" and self.cpu_s is not None else self.wall_s


class BlockLine(_Part):
    """One block of a pass. run: names the process that wrote it. load: of the machine, as in a record's environment."""

    run: str
    pass_number: int
    block: int
    started: str
    allocator: str
    load: float | None = None
    reference: Timed
    cells: list[Timed]

    def to_json(self) -> str:
        """Return the block as one line of JSON."""
        data = self.model_dump(mode="json")
        for timed in (data["reference"], *data["cells"]):
            for name in ("cpu_s", "wall_s"):
                timed[name] = timed[name] and [round(value, DIGITS) for value in timed[name]]
        data["pass"] = data.pop("pass_number")
        return json.dumps({"schema": SCHEMA, **data}, separators=(",", ":"))


class Counted(_Part):
    """A cell that was counted: the next that is asked of it is to be timed.

    call_s: about what a call takes, first_call_s: the first one; held_bytes: what is kept between calls. record: the
    record without latency, as `Record.to_dict` gives it; it goes to the results file once the cell is timed.
    """

    key: str
    axes: dict[str, Any] = {}
    call_s: float
    first_call_s: float
    held_bytes: int
    record: dict[str, Any]

    @property
    def identity(self) -> Identity:
        """Return what the cell is known by: the key of its record and its axes."""
        return identity(self.key, self.axes)

    def to_json(self) -> str:
        """Return the cell as one line of JSON."""
        return json.dumps({"schema": COUNTED_SCHEMA, **self.model_dump(mode="json")}, separators=(",", ":"))

    def measured(self, source: str) -> Record:
        """Return the record without latency.

        Raises:
            StoreError: It is none of this version; `source` names the line.
        """
        return from_dict(self.record, source)


Line = BlockLine | Counted


def from_json(text: str, source: str) -> Line:
    """Return the block, or the cell that was counted, in a line of JSON.

    Raises:
        StoreError: The line is torn, or of another schema; `source` names it.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError(f"{source} is torn (not a complete JSON value)") from None
    schema = data.pop("schema", None) if isinstance(data, dict) else None
    if schema not in (SCHEMA, COUNTED_SCHEMA):
        raise StoreError(f"{source} is not of schema {SCHEMA!r}, which this version of upbench reads")
    try:
        if schema == COUNTED_SCHEMA:
            return Counted.model_validate(data)
        return BlockLine.model_validate({"pass_number": data.pop("pass", None), **data})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{source} is not a block of upbench ({where}: {first['msg'].lower()})") from None


def append(path: Path, line: Line) -> None:
    """Add one line and force it to disk."""
    json_lines.append(path, line.to_json())


def identity(key: str, axes: Mapping[str, Any]) -> Identity:
    """Return the identity of a cell: what is measured, and the point of the grid that it stands for.

    Args:
        key: The key of its record.
        axes: The value of each axis.
    """
    return key, json.dumps(axes, sort_keys=True)
