"""Results files of thousands of cells, in the form that a sweep on this machine writes, without measuring them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.command_line import upbench
from upbench.analysis.passes import Levels

SIDE = 100
"""Values of the second axis; the first has as many as the number of cells asks for."""
PASSES, ROUNDS = 5, 40


def write(folder: Path, count: int, name: str = "many") -> Path:
    """Write a sweep and its results file with so many cells; all but the ratios and samples are of one that was measured.

    Returns:
        The results file; beside it is the sweep, `NAME.yaml`.
    """
    side = min(count, SIDE)
    grid = {"batch": list(range(1, count // side + 1)), "seed": list(range(side))}
    written = {
        "name": name,
        "base": {"upsampler": "bilinear"},
        "input": {"shape": "4x3x2"},
        "measure": {"device": "cpu", "threads": 1, "budget": 0.05},
        "grid": grid,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
    path = folder / f"{name}.jsonl"
    with path.open("w") as file:
        for line in _lines(_measured(folder, written), count, side):
            file.write(json.dumps(line, separators=(", ", ": ")) + "\n")
    return path


def _measured(folder: Path, written: dict[str, Any]) -> dict[str, Any]:
    """A record of the second cell, as a sweep of the first two writes it."""
    spec, path = folder / "two.yaml", folder / "two.jsonl"
    if not path.exists():
        spec.write_text(yaml.safe_dump({**written, "grid": {"batch": [1], "seed": [0, 1]}}, sort_keys=False))
        done = upbench("sweep", spec, "-o", path)
        assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text().splitlines()[1])
    return found


def _lines(template: dict[str, Any], count: int, side: int) -> Iterator[dict[str, Any]]:
    drawn = np.random.default_rng(0)
    levels = drawn.normal(0, 0.01, (count, PASSES)) + np.log(1 + np.arange(count) // side * 0.02)[:, None]
    blocks = np.tile(np.arange(PASSES), (count, 1)) * count + np.arange(count)[:, None] // 8
    ratios = Levels(levels[: min(count, 40)], blocks[: min(count, 40)])
    half = (ratios.ratio(1).half_width if count > 1 else None) or 0.01
    passes = template["latency"]["passes"]
    for n in range(count):
        batch, seed = n // side + 1, n % side
        value = float(np.exp(levels[n].mean()))
        ratio = None if n == 0 else {"value": value, "low": value * (1 - half), "high": value * (1 + half)}
        own = {
            **passes,
            "planned": PASSES,
            "numbers": list(range(PASSES)),
            "blocks": [] if n == 0 else blocks[n].tolist(),
            "levels": None if n == 0 else levels[n].tolist(),
            "rounds": [ROUNDS] * PASSES,
            "ratio": ratio,
        }
        samples = passes["reference_s"] * value * (1 + drawn.normal(0, 0.03, PASSES * ROUNDS * 2))
        yield {
            **template,
            "spec": {**template["spec"], "input": {**template["spec"]["input"], "batch": batch, "seed": seed}},
            "axes": {"batch": batch, "seed": seed},
            "sweep": {**template["sweep"], "name": "many", "cell": n},
            "environment": {**template["environment"], "load": round(float(drawn.uniform(1, 3)), 2)},
            "macs": {name: value * batch for name, value in template["macs"].items()},
            "memory": {
                name: value * batch if isinstance(value, int) else value for name, value in template["memory"].items()
            },
            "latency": {**template["latency"], "passes": own, "samples_s": np.round(samples, 10).tolist()},
        }


WARNINGS = (
    "no closed form is declared for this upsampler; its MACs rest on the counter alone",
    "not counted in the MACs: aten::grid_sampler (2x)",
    "an own warning of cell {n}",
)


def with_every_note(path: Path, alone: bool = False) -> Path:
    """Write the cells of a results file again, in such a way that the notes under a table have most to say.

    The cells have warnings, two torch versions, two allocators, two sweeps one after another, failures and an end before
    the last pass; the machine is too busy, and was never calibrated.

    Args:
        path: A file as `write` makes it.
        alone: Each cell was measured by itself, in an older way, by wall time.

    Returns:
        The other file, beside it.
    """
    found = path.with_name(f"{path.stem}-{'alone' if alone else 'noted'}.jsonl")
    with path.open() as lines, found.open("w") as file:
        for n, line in enumerate(lines):
            file.write(json.dumps(_noted(json.loads(line), n, alone)) + "\n")
    return found


def _noted(cell: dict[str, Any], n: int, alone: bool) -> dict[str, Any]:
    latency, where = cell["latency"], cell["environment"]
    allocator = "unpinned" if n % 5 == 4 else latency["passes"]["allocator"]
    passes: dict[str, Any] = {**latency["passes"], "allocator": allocator, "series": int(n % 3 == 2)}
    if passes["ratio"]:
        passes["ratio"] = {**passes["ratio"], "low": 0.5, "high": 2.0}
    own = {"passes": passes, "stopped": "interrupted"}
    if alone:
        own = {"passes": None, "clock": "wall", "clock_reason": f"a reason of {n % 7}", "allocator": allocator}
    told = {
        **cell,
        "warnings": [warning.format(n=n) for warning in WARNINGS],
        "roofline_s": None,
        "sweep": {**cell["sweep"], "published": "of-nobody/table1"},
        "environment": {
            **where,
            "torch": where["torch"] if n % 2 else "2.9.0",
            "measurement_version": 1 if alone else where["measurement_version"],
        },
        "latency": {**latency, **own},
    }
    failed = {"status": "error", "error": f"RuntimeError: in cell {n}", "latency": None, "memory": None, "macs": None}
    return {**told, **failed} if n % 20 == 19 else told
