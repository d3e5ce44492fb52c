"""The results file of a study: a line for every run, appended and forced to disk as soon as it is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from upbench.errors import OutputError
from upbench.quality.protocol import VERSION, Protocol, Run
from upbench.records import json_lines
from upbench.specs.strict import Strict

KIND: Literal["quality"] = "quality"
"""What tells such a line from those of other results files."""


class Row(Strict):
    """One run and what became of it.

    Args:
        kind: Says what sort of line this is.
        version: VERSION of the protocol's code.
        protocol: What of the protocol decides the scores.
        data: Checksum of the pictures.
        about: What the pictures are.
        planned: How many seeds the study was to have when this was run.
        upsampler: The upsampler.
        params: Its params.
        label: What a table calls it.
        key: The upsampler with its params, as one text.
        repeat: 0, or 1 for the A/A.
        seed: The seed.
        together: The seeds that were trained in one batched call.
        status: ok, diverged, or error.
        error: Why there are no scores; null where there are.
        scores: Name of a score -> its value.
        first_loss: Loss of the first step.
        last_loss: Mean loss of the last steps.
        cpu_s: Processor seconds.
        backend: Which backend computed the ops of the upsampler.
        sources: Hashes of a user's source files; null for a built-in upsampler.
        torch: Version of torch.
        device: Type of the device.
        date: When it ended, UTC.
    """

    kind: Literal["quality"] = KIND
    version: int
    protocol: dict[str, Any]
    data: str
    about: str
    planned: int
    upsampler: str
    params: dict[str, Any]
    label: str
    key: str
    repeat: int
    seed: int
    together: tuple[int, ...] = Field(strict=False)
    status: Literal["ok", "diverged", "error"]
    error: str | None = None
    scores: dict[str, float]
    first_loss: float | None = None
    last_loss: float | None = None
    cpu_s: float
    backend: str
    sources: dict[str, str] | None = None
    torch: str
    device: str
    date: str

    @property
    def run_key(self) -> tuple[str, int, int]:
        """What tells its run from others of a protocol."""
        return self.key, self.repeat, self.seed


class Known:
    """The rows of a results file that belong to a study, the last of each run.

    Args:
        rows: The rows of the file.
        protocol: The protocol of the study.
        data: Checksum of its pictures.
        torch: Version of torch that runs it; None for any.
        device: Type of the device that runs it; None for any.
    """

    def __init__(
        self, rows: Iterable[Row], protocol: Protocol, data: str, torch: str | None = None, device: str | None = None
    ) -> None:
        identity = protocol.identity()
        self.rows = {
            row.run_key: row
            for row in rows
            if row.version == VERSION
            and row.protocol == identity
            and row.data == data
            and torch in (None, row.torch)
            and device in (None, row.device)
        }

    def has(self, run: Run, together: Sequence[int], sources: dict[str, str] | None) -> bool:
        """Return whether a run is done, with the same seeds in its batched call; one that failed is not.

        Args:
            run: The run.
            together: Seeds that are trained in one call with it.
            sources: Hashes of a user's source files as they are now.
        """
        row = self.rows.get(run.key)
        return row is not None and row.status != "error" and row.together == tuple(together) and row.sources == sources


def read(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a results file, none where there is no file, and a sentence for each line that is not one.

    Raises:
        OutputError: If the file holds something else, so that it must not be written to.
    """
    found, said, foreign = [], [], 0
    for line in json_lines.scan(path):
        try:
            data = json.loads(line.text)
            if not isinstance(data, dict) or data.get("kind") != KIND:
                foreign += 1
                continue
            found.append(Row.model_validate(data))
        except (ValueError, ValidationError):
            said.append(f"{path}, line {line.number}: is not a whole row and is left as it is; its run is done again")
    if foreign:
        raise OutputError(f"{path} holds other results than those of `upbench quality`; choose another with --output")
    return found, said


def append(path: Path, row: Row) -> None:
    """Add a row to a results file and force it to disk."""
    json_lines.append(path, json.dumps(row.model_dump(mode="json", exclude_none=True)))
