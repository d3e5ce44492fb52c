"""Sweeps by the command line for `sweep_protocol`, and what is read of their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from upbench.analysis.passes import PassRatio
from upbench.records import pass_store, store
from upbench.records.record import Record
from upbench.report.tables.pass_levels import PassLevels, passes_of
from upbench.report.tables.result_set import ResultSet

UPBENCH = (sys.executable, "-m", "upbench")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """A line of the table. held: None where the limit could not be looked at."""

    figure: str
    measured: str
    limit: str
    held: bool | None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The four texts of the line."""
        return self.figure, self.measured, self.limit, {True: "yes", False: "NO", None: "-"}[self.held]

    def __str__(self) -> str:
        return " | ".join(self.cells)


@dataclass
class Bench:
    """Where sweeps are run. folder: of their files; sweeps: of each kind; old: another build's command."""

    folder: Path
    sweeps: int = 5
    old: Path | None = None

    def sweep(self, data: Mapping[str, Any], name: str, *options: str) -> Sweep:
        """Measure a sweep as a user does, into a results file of this name."""
        spec = self.write(data, name)
        path = self.folder / f"{name}.jsonl"
        begun = time.monotonic()
        done = subprocess.run(self.command(spec, path, *options), capture_output=True, text=True, env=self.environment)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"the sweep {name} ended with {done.returncode}: {done.stderr}")
        return Sweep(path, time.monotonic() - begun, done.stdout, done.stderr)

    def command(self, spec: Path, path: Path, *options: str) -> list[str]:
        """The words of the command that measures a sweep."""
        return [*UPBENCH, "sweep", str(spec), "-o", str(path), *options]

    @property
    def environment(self) -> dict[str, str]:
        """That of this process, with modules of the folder to be found."""
        there = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(ROOT), str(self.folder), *filter(None, there)])),
        }

    def write(self, data: Mapping[str, Any], name: str) -> Path:
        """Write a sweep as YAML."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"name": name, **data}))
        return path


@dataclass(frozen=True)
class Sweep:
    """A results file that was written now. took_s: wall time of the command."""

    path: Path
    took_s: float
    stdout: str
    stderr: str

    @property
    def records(self) -> list[Record]:
        """The record of every cell."""
        return store.current(store.load(self.path).records)

    @property
    def results(self) -> ResultSet:
        """The records, as tables see them."""
        return ResultSet.of(self.records)

    def shown(self, *words: str) -> Any:
        """What another command of upbench prints of the file as JSON."""
        line = [*UPBENCH, *words, str(self.path), "--format", "json"]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def equal_cells(upsampler: str = "carafe", count: int = 8, **measure: Any) -> dict[str, Any]:
    """A sweep of cells that do the same: their seed differs."""
    return {
        "base": {"upsampler": upsampler, "scale": 2},
        "input": {"shape": "64x48x48"},
        "measure": {"threads": 1, "device": "cpu", **measure},
        "grid": {"seed": list(range(count))},
    }


def pairs(records: Sequence[Record]) -> Iterator[tuple[Record, Record, PassRatio]]:
    """Every two records with the ratio of their latencies over passes."""
    levels = PassLevels(records)
    for a, b in combinations(records, 2):
        if (found := levels.pair(b, a)) is not None:
            yield a, b, found


def noise(record: Record) -> float:
    """What the sweep of a record resolves."""
    return record.noise_floor or 0.0


def ratio(record: Record) -> float:
    """Latency over the reference's, as the record has it."""
    passes = passes_of(record)
    assert passes is not None, f"{record.label} was not timed in passes: {record.error}"
    return passes.ratio.value if passes.ratio else 1.0


def twin_of(file: Path) -> tuple[PassRatio, float] | None:
    """The ratio of the twin in a passes file to its reference, and the resolution that follows."""
    groups = pass_store.index(file).groups.values()
    if not groups:
        return None
    group = max(groups, key=lambda one: len(one.twin))
    levels = group.levels()
    found, resolution = levels.ratio(len(group.entries)), group.resolution(levels)
    return None if found is None or resolution is None else (found, resolution)
