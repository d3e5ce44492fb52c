"""What `upbench diff` says of latencies: by passes where the records have them, and nothing across allocators or clocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import record_builder
from tests.command_line import upbench
from upbench.records.record import PassedRatio, Passes, Record


def cell(theta: int, value: float | None, half: float = 0.02, kept: str = "kept", reference: str = "a") -> Record:
    """A cell of a sweep at a ratio to the reference, or the reference itself."""
    made = record_builder.record(axes={"theta": theta}, cell=theta, theta=theta)
    ratio = None if value is None else PassedRatio(value=value, low=value * (1 - half), high=value * (1 + half))
    passes = Passes(
        reference=[reference, "{}"],
        reference_s=0.01,
        reference_low_s=0.009,
        reference_high_s=0.011,
        planned=5,
        numbers=[0, 1, 2, 3, 4],
        blocks=[0, 0, 0, 0, 0],
        levels=None if value is None else [0.0] * 5,
        rounds=[5] * 5,
        ratio=ratio,
        clock="cpu",
        share=0.5,
        faults=0.0,
        allocator=kept,
    )
    assert made.latency is not None
    return made.model_copy(update={"latency": made.latency.model_copy(update={"passes": passes})})


def found(tmp_path: Path, before: list[Record], after: list[Record]) -> dict[str, Any]:
    """The finding on the latency of the cell that is not the reference."""
    files = [
        record_builder.file(tmp_path / name, records) for name, records in (("a.jsonl", before), ("b.jsonl", after))
    ]
    result = upbench("diff", *files, "--format", "json")
    findings = [f for f in json.loads(result.stdout)["findings"] if f["gate"] == "diff latency"]
    return next(f for f in findings if "theta=5" in f["upsampler"])


@pytest.mark.parametrize(("value", "said"), [(0.5, "SAME"), (0.6, "SLOWER"), (0.4, "FASTER")])
def test_cells_of_two_sweeps_are_compared_by_their_ratios_to_the_same_reference(
    value: float, said: str, tmp_path: Path
) -> None:
    one = found(tmp_path, [cell(5, 0.5), cell(11, None)], [cell(5, value), cell(11, None)])
    assert one["sentence"].startswith(f"{said}: ")
    assert "5 passes" in one["sentence"]
    assert one["result"] == ("failed" if said == "SLOWER" else "passed")


def test_another_reference_is_said_and_not_judged(tmp_path: Path) -> None:
    one = found(tmp_path, [cell(5, 0.5)], [cell(5, 0.9, reference="b")])
    assert one["result"] == "note"
    assert "not measured beside the same reference" in one["sentence"]


@pytest.mark.parametrize("other", ["returned", "unpinned"])
def test_nothing_is_said_of_times_with_another_allocator(other: str, tmp_path: Path) -> None:
    one = found(tmp_path, [cell(5, 0.5)], [cell(5, 0.9, kept=other)])
    assert one["result"] == "note"
    assert f"allocator kept in a.jsonl, {other} in b.jsonl" in one["sentence"]


def test_nothing_is_said_of_times_by_another_clock(tmp_path: Path) -> None:
    before, after = record_builder.record(theta=5), record_builder.record(theta=5, latency_s=0.5)
    assert after.latency is not None
    by_cpu = after.latency.model_copy(update={"clock": "thread CPU time, warm caches"})
    one = found(tmp_path, [before], [after.model_copy(update={"latency": by_cpu})])
    assert one["result"] == "note"
    assert "clock wall in a.jsonl, thread CPU time, warm caches in b.jsonl" in one["sentence"]
